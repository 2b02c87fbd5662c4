//! A line of shell, taken apart as far as examples need it.

/// The commands of a script, each as its words. Assignments and comments are left out.
pub(super) fn commands(script: &str) -> Vec<Vec<String>> {
    let joined = script.replace("\\\n", " ");
    let mut commands = Vec::new();
    for line in joined.lines() {
        let mut command = Vec::new();
        for word in words(line) {
            match word.as_str() {
                "|" | "||" | "&&" | ";" => commands.push(std::mem::take(&mut command)),
                _ if command.is_empty() && is_assignment(&word) => {}
                _ => command.push(word),
            }
        }
        commands.push(command);
    }
    commands.retain(|command| !command.is_empty());
    commands
}

/// `NAME=value` before a command.
fn is_assignment(word: &str) -> bool {
    let name = word.split_once('=').map_or("", |(name, _)| name);
    !name.is_empty() && name.chars().all(|c| c.is_ascii_uppercase() || c == '_')
}

/// Words as a shell reads them: quotes, and comments from `#` on.
fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    for c in line.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '#') if word.is_none() => break,
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    words.extend(word);
    words
}

#[test]
fn lines_are_taken_apart_as_a_shell_does() {
    let script = "A=1 git diff \"a b\" | purgehook plan \\\n  --files -   # what\n\n# no\nls '#'\n";

    assert_eq!(
        commands(script),
        [
            vec!["git", "diff", "a b"],
            vec!["purgehook", "plan", "--files", "-"],
            vec!["ls", "#"],
        ]
    );
}
