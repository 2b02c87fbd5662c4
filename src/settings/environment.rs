//! Looks up the variables that a settings file names.

use std::collections::HashMap;
use std::rc::Rc;

type Lookup = dyn Fn(&str) -> Option<String>;

/// The source of `${NAME}` values.
#[derive(Clone)]
pub struct Environment(Rc<Lookup>);

impl Environment {
    /// The variables of the process. One that is not UTF-8 counts as unset.
    pub fn of_process() -> Self {
        Self(Rc::new(|name| std::env::var(name).ok()))
    }

    /// Only these variables.
    pub fn of<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let variables: HashMap<String, String> = variables
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Self(Rc::new(move |name| variables.get(name).cloned()))
    }

    /// The value of a variable.
    pub fn get(&self, name: &str) -> Option<String> {
        (self.0)(name)
    }
}
