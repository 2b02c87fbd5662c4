//! Numbers with their nouns.

use std::fmt::Display;

/// The singular or plural that agrees with a number.
pub fn agreeing<'w, N: PartialEq + From<u8>>(count: N, one: &'w str, many: &'w str) -> &'w str {
    if count == N::from(1) { one } else { many }
}

/// "1 file", "7 files", "25,000 files".
pub fn counted<N: Display + Copy + PartialEq + From<u8>>(
    count: N,
    one: &str,
    many: &str,
) -> String {
    format!("{} {}", grouped(count), agreeing(count, one, many))
}

/// A whole number with separators: "1,234,567".
pub fn grouped(number: impl Display) -> String {
    let digits = number.to_string();
    let mut grouped = String::with_capacity(digits.len() + digits.len() / 3);
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_is_one_and_all_else_is_many() {
        let files = [0_u64, 1, 2].map(|count| counted(count, "file", "files"));

        assert_eq!(files, ["0 files", "1 file", "2 files"]);
    }

    #[test]
    fn large_numbers_are_grouped() {
        let grouped = [1_234_567_u64, 25_000, 999].map(grouped);

        assert_eq!(grouped, ["1,234,567", "25,000", "999"]);
    }
}
