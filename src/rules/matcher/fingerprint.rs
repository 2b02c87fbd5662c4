//! Fingerprints: three machine words of a text, which distinguish most texts.

/// The first eight bytes, the last eight and the length. For up to [`Fingerprint::WHOLE`] bytes, this is the whole
/// text.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Fingerprint {
    /// Little-endian, padded with zeros at the end.
    pub(super) head: u64,
    /// Little-endian, padded with zeros at the start.
    pub(super) tail: u64,
    /// In bytes.
    pub(super) length: usize,
}

impl Fingerprint {
    /// Texts up to this length have no byte outside both ends.
    pub(super) const WHOLE: usize = 16;

    /// The fingerprint of a text.
    pub(super) fn of(text: &[u8]) -> Self {
        Self::within(text, 0, text.len())
    }

    /// The fingerprint of the bytes of `text` from `start` to before `end`, which must be in range.
    #[inline]
    pub(super) fn within(text: &[u8], start: usize, end: usize) -> Self {
        let length = end.saturating_sub(start);
        Self {
            head: eight_from(text, start) & first(length),
            tail: eight_before(text, end) & last(length),
            length,
        }
    }

    /// The fingerprint of the text from its last `.`, if that is among its last eight bytes.
    #[inline]
    pub(super) fn extension(&self) -> Option<Self> {
        const LOW_BITS: u64 = 0x7F7F_7F7F_7F7F_7F7F;
        // A zero byte for each dot; then only the high bit of these.
        let other = self.tail ^ u64::from_le_bytes([b'.'; 8]);
        let dots = !(((other & LOW_BITS) + LOW_BITS) | other | LOW_BITS);
        if dots == 0 {
            return None;
        }
        let length = dots.leading_zeros() as usize / 8 + 1;
        let tail = self.tail & last(length);
        Some(Self {
            head: shift_right(tail, 8 - length),
            tail,
            length,
        })
    }
}

/// A mask for the first bytes of a word.
#[inline]
pub(super) fn first(bytes: usize) -> u64 {
    match bytes {
        0..8 => (1 << (8 * bytes)) - 1,
        _ => u64::MAX,
    }
}

/// A mask for the last bytes of a word.
#[inline]
pub(super) fn last(bytes: usize) -> u64 {
    match bytes {
        0..8 => !(u64::MAX >> (8 * bytes)),
        _ => u64::MAX,
    }
}

/// The eight bytes from `start`, padded with zeros after the text.
#[inline]
fn eight_from(text: &[u8], start: usize) -> u64 {
    let rest = text.get(start..).unwrap_or_default();
    match (rest.first_chunk(), text.last_chunk()) {
        (Some(eight), _) => u64::from_le_bytes(*eight),
        (None, Some(eight)) => shift_right(u64::from_le_bytes(*eight), 8 - rest.len()),
        (None, None) => u64::from_le_bytes(padded(rest, 0)),
    }
}

/// The eight bytes before `end`, padded with zeros before the text.
#[inline]
fn eight_before(text: &[u8], end: usize) -> u64 {
    let rest = text.get(..end).unwrap_or_default();
    match (rest.last_chunk(), text.first_chunk()) {
        (Some(eight), _) => u64::from_le_bytes(*eight),
        (None, Some(eight)) => shift_left(u64::from_le_bytes(*eight), 8 - rest.len()),
        (None, None) => u64::from_le_bytes(padded(rest, 8 - rest.len())),
    }
}

fn shift_right(word: u64, bytes: usize) -> u64 {
    word.checked_shr(8 * bytes as u32).unwrap_or(0)
}

fn shift_left(word: u64, bytes: usize) -> u64 {
    word.checked_shl(8 * bytes as u32).unwrap_or(0)
}

/// Less than eight bytes, placed among zeros.
fn padded(text: &[u8], at: usize) -> [u8; 8] {
    let mut eight = [0; 8];
    for (to, from) in eight.iter_mut().skip(at).zip(text) {
        *to = *from;
    }
    eight
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_fingerprint_has_both_ends_wherever_the_text_stands(
            before in proptest::collection::vec(any::<u8>(), 0..12),
            text in "[a./é]{0,20}",
            after in proptest::collection::vec(any::<u8>(), 0..12),
        ) {
            let text = text.as_bytes();
            let mut head = [0; 8];
            head.iter_mut().zip(text).for_each(|(to, from)| *to = *from);
            let mut tail = [0; 8];
            tail.iter_mut().rev().zip(text.iter().rev()).for_each(|(to, from)| *to = *from);

            let whole = [&before, text, &after].concat();
            let fingerprint = Fingerprint::within(&whole, before.len(), before.len() + text.len());

            prop_assert_eq!(fingerprint.head, u64::from_le_bytes(head));
            prop_assert_eq!(fingerprint.tail, u64::from_le_bytes(tail));
            prop_assert_eq!(fingerprint.length, text.len());
            prop_assert_eq!(fingerprint, Fingerprint::of(text));
            let dot = text.iter().rposition(|byte| *byte == b'.');
            let extension = dot.map(|dot| &text[dot..]).filter(|extension| extension.len() <= 8);
            prop_assert_eq!(fingerprint.extension(), extension.map(Fingerprint::of));
        }
    }
}
