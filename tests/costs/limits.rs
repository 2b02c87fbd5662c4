//! What a push may cost: counts that do not depend on the machine or on who else uses it, and their limits.

/// Of what, by the way of a push, and how many there may be for each push on average: a tenth more than there
/// were, a quarter where it depends on what happened to share a commit.
const LIMITS: &[(&str, &[(&str, f64)])] = &[
    (
        "SQLite, accepted",
        &[
            ("statements", 11.0),
            ("transactions", 1.1),
            ("commits", 1.1),
        ],
    ),
    (
        "SQLite, live, to its end",
        &[
            ("statements", 121.0),
            ("transactions", 22.0),
            ("commits", 22.0),
        ],
    ),
    (
        "SQLite, dry-run, to its end",
        &[
            ("statements", 28.6),
            ("transactions", 2.5),
            ("commits", 2.5),
        ],
    ),
    (
        "SQLite, 64 at once, accepted",
        &[
            ("statements", 0.18),
            ("transactions", 0.05),
            ("commits", 0.05),
        ],
    ),
    (
        "SQLite, 64 at once, live, to their end",
        &[
            ("statements", 14.5),
            ("transactions", 2.1),
            ("commits", 2.1),
        ],
    ),
    (
        "SQLite, 64 at once, dry-run, to their end",
        &[
            ("statements", 3.9),
            ("transactions", 0.15),
            ("commits", 0.15),
        ],
    ),
    (
        "PostgreSQL, accepted",
        &[
            ("statements", 13.2),
            ("transactions", 1.1),
            ("commits", 1.1),
        ],
    ),
    (
        "PostgreSQL, live, to its end",
        &[
            ("statements", 135.0),
            ("transactions", 22.0),
            ("commits", 22.0),
        ],
    ),
    (
        "PostgreSQL, dry-run, to its end",
        &[
            ("statements", 30.8),
            ("transactions", 2.5),
            ("commits", 2.5),
        ],
    ),
    (
        "PostgreSQL, 64 at once, accepted",
        &[
            ("statements", 0.22),
            ("transactions", 0.05),
            ("commits", 0.05),
        ],
    ),
    (
        "PostgreSQL, 64 at once, live, to their end",
        &[
            ("statements", 15.9),
            ("transactions", 2.1),
            ("commits", 2.1),
        ],
    ),
    (
        "PostgreSQL, 64 at once, dry-run, to their end",
        &[
            ("statements", 4.1),
            ("transactions", 0.15),
            ("commits", 0.15),
        ],
    ),
    (
        "disk, live, accepted and to its end",
        &[
            ("fsyncs", 22.0),
            ("kB written", 480.0),
            ("temporary files", 0.0),
        ],
    ),
    (
        "disk, dry-run, accepted and to its end",
        &[
            ("fsyncs", 7.5),
            ("kB written", 240.0),
            ("temporary files", 0.0),
        ],
    ),
];

/// Holds what was counted to its limits, all of it at once.
pub fn hold(counted: &[(&str, &str, f64)]) {
    let mut over = Vec::new();
    for (way, what, count) in counted {
        let limits = LIMITS.iter().find(|(name, _)| name == way);
        let limit = limits.and_then(|(_, limits)| limits.iter().find(|(name, _)| name == what));
        let Some((_, limit)) = limit else {
            over.push(format!("{way}: {count:.2} {what}, and there is no limit"));
            continue;
        };
        println!("{way}: {count:.2} {what} for each push, of {limit}");
        if count > limit {
            over.push(format!(
                "{way}: {count:.2} {what}, and the limit is {limit}"
            ));
        }
    }
    assert!(
        over.is_empty(),
        "A push costs more than it may:\n  {}\n\
         What it was spent on is above. If the change is worth it, raise the limit in tests/costs/limits.rs and say \
         why in the commit; what it costs in time, `cargo bench --bench receiving` tells with PURGEHOOK_BIN_BASE.",
        over.join("\n  ")
    );
}
