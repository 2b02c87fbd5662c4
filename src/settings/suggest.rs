//! Suggests the known word for a misspelt one.

/// Advice for a word that is not among the known ones: the nearest, then all of them behind `lead`.
pub fn did_you_mean<'a>(
    word: &str,
    known: impl Iterator<Item = &'a str> + Clone,
    lead: &str,
) -> String {
    let all: Vec<String> = known.clone().map(|k| format!("`{k}`")).collect();
    let all = if all.is_empty() {
        "there are none".to_owned()
    } else {
        format!("{lead} {}", all.join(", "))
    };
    match closest(word, known) {
        Some(meant) => format!("did you mean `{meant}`? {all}"),
        None => all,
    }
}

/// The known word that is one slip of the finger away, or two or three in a long one.
pub(super) fn closest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    known
        .map(|k| (strsim::damerau_levenshtein(word, k), k))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, k)| k)
}
