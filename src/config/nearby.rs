//! Suggests files near the expected path if there is no rules file.

use std::path::{Path, PathBuf};

/// Files of a directory that are examined.
const MOST_FILES: usize = 10_000;

/// A file near `path` that is probably meant: the same name with another ending or case, or a name like "rules";
/// inside `path` if that is a directory.
pub(super) fn meant(path: &Path) -> Option<PathBuf> {
    let (directory, stem) = if path.is_dir() {
        (path.to_owned(), "rules".to_owned())
    } else {
        let stem = path.file_stem()?.to_string_lossy().to_lowercase();
        (path.parent().unwrap_or(Path::new("")).to_owned(), stem)
    };
    let place = if directory.as_os_str().is_empty() {
        Path::new(".")
    } else {
        &directory
    };
    let mut found: Vec<(usize, String)> = std::fs::read_dir(place)
        .ok()?
        .take(MOST_FILES)
        .filter_map(|entry| {
            let entry = entry.ok().filter(|entry| entry.path().is_file())?;
            let name = entry.file_name().into_string().ok()?;
            let lower = name.to_lowercase();
            let (own, ending) = lower.rsplit_once('.')?;
            let is_yaml = matches!(ending, "yml" | "yaml");
            let rank = match own {
                _ if !is_yaml => return None,
                own if own == stem => 0,
                own if strsim::damerau_levenshtein(own, &stem) <= 1 => 1,
                "rules" => 2,
                "purgehook" => 3,
                own if own.contains("rules") || own.contains("purgehook") => 4,
                _ => return None,
            };
            Some((rank, name))
        })
        .collect();
    found.sort();
    found
        .into_iter()
        .next()
        .map(|(_, name)| directory.join(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_called_like_the_file_is_found() {
        for (there, asked, expected) in [
            (&["rules.yml"][..], "rules.yaml", Some("rules.yml")),
            (&["rules.yaml"], "rules.yml", Some("rules.yaml")),
            (&["Rules.yaml"], "rules.yaml", Some("Rules.yaml")),
            (&["rule.yaml"], "rules.yaml", Some("rule.yaml")),
            (
                &["purgehook.yml", "docker-compose.yml"],
                "rules.yaml",
                Some("purgehook.yml"),
            ),
            (&["rules.yaml", "other.yml"], "", Some("rules.yaml")),
            (&["docker-compose.yml", "rules.txt"], "rules.yaml", None),
            (&[], "no/such/rules.yaml", None),
        ] {
            let folder = tempfile::tempdir().unwrap();
            for name in there {
                std::fs::write(folder.path().join(name), "").unwrap();
            }
            let found = meant(&folder.path().join(asked));
            let expected = expected.map(|name| folder.path().join(name));
            assert_eq!(found, expected, "{asked} {there:?}");
        }
    }
}
