//! A glob as globset interprets it, with its braces expanded: a few plain sequences of atoms.
//!
//! globset exposes a glob only as text and as a regex, so this parses the text again, exactly as globset 0.4's
//! parser does.

use std::iter::Peekable;
use std::str::Chars;

/// The maximum size of a glob with expanded braces, over all lines, which limits its memory.
const MOST_ATOMS: usize = 4_096;

/// One element of a glob without braces.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Atom {
    /// This byte.
    Byte(u8),
    /// `?`: any byte but `/`.
    Any,
    /// One of these bytes, never `/`.
    Class(Box<ByteSet>),
    /// `*`: any number of bytes, none of them `/`.
    Star,
    /// `**/` at the start: nothing, or anything that ends in `/`.
    DeepStart,
    /// `/**/`: `/`, or anything that starts and ends in one.
    Deep,
    /// `/**` at the end: `/` and anything behind it.
    DeepEnd,
}

impl Atom {
    /// Whether it matches this byte, which is never `/`.
    pub(super) fn takes(&self, byte: u8) -> bool {
        match self {
            Self::Byte(own) => *own == byte,
            Self::Any => true,
            Self::Class(set) => set.contains(byte),
            Self::Star | Self::DeepStart | Self::Deep | Self::DeepEnd => false,
        }
    }
}

/// A set of bytes, one bit each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct ByteSet([u64; 4]);

impl ByteSet {
    fn insert(&mut self, byte: u8) {
        if let Some(word) = self.0.get_mut(usize::from(byte / 64)) {
            *word |= 1 << (byte % 64);
        }
    }

    fn contains(&self, byte: u8) -> bool {
        let word = self.0.get(usize::from(byte / 64)).copied().unwrap_or(0);
        word & (1 << (byte % 64)) != 0
    }

    fn negated(self) -> Self {
        Self(self.0.map(|word| !word))
    }
}

/// Expands a glob's braces: it matches what any of the lines matches. None if the result exceeds [`MOST_ATOMS`].
/// `glob` has been accepted by globset, and its classes are ASCII.
pub(super) fn lines(glob: &str) -> Option<Vec<Vec<Atom>>> {
    let tokens = Parser::new(glob).parse()?;
    match tokens.as_slice() {
        // globset's own exception: `**` alone matches every path, also one that does not end in `/`.
        [Token::Atom(Atom::DeepStart)] => Some(vec![vec![Atom::DeepStart, Atom::Star]]),
        tokens => written_out(tokens),
    }
}

/// The size of a glob with expanded braces; zero if it is too large.
pub(super) fn written_size(glob: &str) -> usize {
    lines(glob).map_or(0, |lines| size(&lines))
}

enum Token {
    Atom(Atom),
    /// `{a,b}`: one of these.
    Alternates(Vec<Vec<Token>>),
}

/// Every combination of alternatives.
fn written_out(tokens: &[Token]) -> Option<Vec<Vec<Atom>>> {
    let mut lines: Vec<Vec<Atom>> = vec![Vec::new()];
    for token in tokens {
        match token {
            Token::Atom(atom) => lines.iter_mut().for_each(|line| line.push(atom.clone())),
            Token::Alternates(branches) => {
                let mut choices = Vec::new();
                for branch in branches {
                    choices.extend(written_out(branch)?);
                    if size(&choices) > MOST_ATOMS {
                        return None;
                    }
                }
                let atoms = size(&lines) * choices.len() + size(&choices) * lines.len();
                if atoms > MOST_ATOMS {
                    return None;
                }
                lines = lines
                    .iter()
                    .flat_map(|line| choices.iter().map(|choice| [&line[..], choice].concat()))
                    .collect();
            }
        }
        if size(&lines) > MOST_ATOMS {
            return None;
        }
    }
    Some(lines)
}

/// The number of atoms in some lines, plus one per line, so that empty ones count too.
fn size(lines: &[Vec<Atom>]) -> usize {
    lines.iter().map(|line| line.len() + 1).sum()
}

/// globset's parser. It returns None for what globset would reject, which was rejected before.
struct Parser<'g> {
    chars: Peekable<Chars<'g>>,
    prev: Option<char>,
    cur: Option<char>,
    /// The start of each open brace in `branches`.
    open: Vec<usize>,
    /// The branches being parsed; the last one grows.
    branches: Vec<Vec<Token>>,
}

impl<'g> Parser<'g> {
    fn new(glob: &'g str) -> Self {
        Self {
            chars: glob.chars().peekable(),
            prev: None,
            cur: None,
            open: Vec::new(),
            branches: vec![Vec::new()],
        }
    }

    fn parse(mut self) -> Option<Vec<Token>> {
        while let Some(c) = self.bump() {
            match c {
                '?' => self.push(Atom::Any)?,
                '*' => self.star()?,
                '[' => self.class()?,
                '{' => {
                    self.open.push(self.branches.len());
                    self.branches.push(Vec::new());
                }
                '}' => {
                    let start = self.open.pop()?;
                    let branches = self.branches.drain(start..).collect();
                    self.branches.last_mut()?.push(Token::Alternates(branches));
                }
                ',' if !self.open.is_empty() => self.branches.push(Vec::new()),
                '\\' => {
                    let c = self.bump()?;
                    self.literal(c)?;
                }
                c => self.literal(c)?,
            }
        }
        let tokens = self.branches.pop()?;
        self.branches.is_empty().then_some(tokens)
    }

    /// `*`, or `**` in one of its meanings, which depend on its neighbours.
    fn star(&mut self) -> Option<()> {
        let prev = self.prev;
        if self.peek() != Some('*') {
            return self.push(Atom::Star);
        }
        self.bump();
        if self.branches.last()?.is_empty() {
            return match self.peek() {
                None | Some('/') => {
                    self.bump();
                    self.push(Atom::DeepStart)
                }
                Some(_) => self.push(Atom::Star),
            };
        }
        let inside = self.branches.len() > 1;
        if prev != Some('/') && !(inside && matches!(prev, Some(',' | '{'))) {
            return self.push(Atom::Star);
        }
        let atom = match self.peek() {
            None => Atom::DeepEnd,
            Some(',' | '}') if inside => Atom::DeepEnd,
            Some('/') => {
                self.bump();
                Atom::Deep
            }
            Some(_) => return self.push(Atom::Star),
        };
        // The `/` before it is part of it.
        match self.branches.last_mut()?.pop()? {
            Token::Atom(before @ (Atom::DeepStart | Atom::DeepEnd)) => self.push(before),
            Token::Atom(_) | Token::Alternates(_) => self.push(atom),
        }
    }

    fn class(&mut self) -> Option<()> {
        let negated = matches!(self.peek(), Some('!' | '^'));
        if negated {
            self.bump();
        }
        let mut ranges: Vec<(u8, u8)> = Vec::new();
        let mut in_range = false;
        loop {
            let byte = u8::try_from(self.bump()?).ok().filter(u8::is_ascii)?;
            match (byte, ranges.last_mut()) {
                (b']', Some(_)) => break,
                (b'-', Some(_)) if !in_range => in_range = true,
                (_, Some(last)) if in_range => {
                    last.1 = byte;
                    in_range = false;
                }
                (_, _) => ranges.push((byte, byte)),
            }
        }
        if in_range {
            ranges.push((b'-', b'-'));
        }
        let mut set = ByteSet::default();
        for (from, to) in ranges {
            (from..=to).for_each(|byte| set.insert(byte));
        }
        self.push(Atom::Class(Box::new(if negated {
            set.negated()
        } else {
            set
        })))
    }

    fn literal(&mut self, c: char) -> Option<()> {
        let mut buffer = [0; 4];
        for byte in c.encode_utf8(&mut buffer).bytes() {
            self.push(Atom::Byte(byte))?;
        }
        Some(())
    }

    fn push(&mut self, atom: Atom) -> Option<()> {
        self.branches.last_mut()?.push(Token::Atom(atom));
        Some(())
    }

    fn bump(&mut self) -> Option<char> {
        self.prev = self.cur;
        self.cur = self.chars.next();
        self.cur
    }

    fn peek(&mut self) -> Option<char> {
        self.chars.peek().copied()
    }
}
