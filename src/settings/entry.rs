//! Entries of a settings file as `purgehook init` writes them.

/// The initial content of an entry, below `kind:`.
#[derive(Debug)]
pub struct Entry {
    /// YAML keys, one per line, with a `${NAME}` for each of the variables. Comments show other common keys.
    pub keys: &'static str,
    /// The variables for its secrets.
    pub variables: &'static [Variable],
}

/// An environment variable for a secret.
#[derive(Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it is, and where to get it.
    pub what: &'static str,
}

impl Entry {
    /// An entry without keys.
    pub const EMPTY: Self = Self {
        keys: "",
        variables: &[],
    };
}
