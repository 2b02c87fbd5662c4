//! Looks up the variables that a settings file names.

use std::collections::HashMap;
use std::rc::Rc;

type Lookup = dyn Fn(&str) -> Option<String>;

/// Where `${NAME}` is looked up.
#[derive(Clone)]
pub struct Environment(Rc<Lookup>);

impl Environment {
    /// The variables that the program was started with. One that is not UTF-8 counts as unset.
    pub fn of_process() -> Self {
        Self(Rc::new(|name| std::env::var(name).ok()))
    }

    /// These variables and no others.
    pub fn of<'a>(variables: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let variables: HashMap<String, String> = variables
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        Self(Rc::new(move |name| variables.get(name).cloned()))
    }

    /// A variable's value.
    pub fn get(&self, name: &str) -> Option<String> {
        (self.0)(name)
    }
}
