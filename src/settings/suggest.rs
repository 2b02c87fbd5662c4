//! Suggests the known word for a misspelt one.

/// Advice for an unknown word: the nearest known one, then all of them after `lead`.
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

/// The known word that is one typing error away, or two or three for a long one.
pub(super) fn closest<'a>(word: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let allowed = (word.chars().count() / 3).clamp(1, 3);
    known
        .map(|k| (strsim::damerau_levenshtein(word, k), k))
        .filter(|(distance, _)| *distance <= allowed)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, k)| k)
}
