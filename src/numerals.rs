//! Numbers of things in words.

use std::fmt::Display;

/// The word that agrees with a number.
pub fn agreeing<'w, N: PartialEq + From<u8>>(count: N, one: &'w str, many: &'w str) -> &'w str {
    if count == N::from(1) { one } else { many }
}

/// "1 file", "7 files".
pub fn counted<N: Display + Copy + PartialEq + From<u8>>(
    count: N,
    one: &str,
    many: &str,
) -> String {
    format!("{count} {}", agreeing(count, one, many))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_one_and_all_else_is_many() {
        let files = [0_u64, 1, 2].map(|count| counted(count, "file", "files"));

        assert_eq!(files, ["0 files", "1 file", "2 files"]);
    }
}
