//! Entries of a settings file as `purgehook init` writes them.

/// What stands below the `kind:` of an entry, for a start.
#[derive(Debug)]
pub struct Entry {
    /// Keys of YAML, a line each, with a `${NAME}` for each of the variables. Comments say what else is often needed.
    pub keys: &'static str,
    /// The variables that hold its secrets.
    pub variables: &'static [Variable],
}

/// A variable of the environment that holds a secret.
#[derive(Debug)]
pub struct Variable {
    /// Its name.
    pub name: &'static str,
    /// What it is, and where to get it.
    pub what: &'static str,
}

impl Entry {
    /// One without keys.
    pub const EMPTY: Self = Self {
        keys: "",
        variables: &[],
    };
}
