//! Asks questions on a terminal, one line each.

use std::io::{self, BufRead, Write};

use anyhow::{Context, bail};

/// How many wrong answers to one question are accepted.
const MAX_TRIES: usize = 10;

/// The source of answers and the output of questions.
pub struct Asker<I, O> {
    /// The input for answers.
    pub input: I,
    /// The output for questions.
    pub output: O,
}

impl<I: BufRead, O: Write> Asker<I, O> {
    /// Asks until the answer is valid. An empty answer means the default, which is shown.
    ///
    /// # Errors
    ///
    /// The input ends, or too many answers in a row were invalid.
    pub fn ask<T>(
        &mut self,
        question: &str,
        default: Option<&str>,
        read: impl Fn(&str) -> Result<T, String>,
    ) -> anyhow::Result<T> {
        for _ in 0..MAX_TRIES {
            self.write(question, default)
                .context("cannot write to the terminal")?;
            let mut line = String::new();
            let bytes = self
                .input
                .read_line(&mut line)
                .context("cannot read from the terminal")?;
            if bytes == 0 {
                bail!("the input ended before the question was answered: {question}");
            }
            let answer = match (line.trim(), default) {
                ("", Some(default)) => default,
                (answer, _) => answer,
            };
            match read(answer) {
                Ok(answer) => return Ok(answer),
                Err(why) => {
                    writeln!(self.output, "  {why}").context("cannot write to the terminal")?
                }
            }
        }
        bail!("no answer that can be used: {question}")
    }

    fn write(&mut self, question: &str, default: Option<&str>) -> io::Result<()> {
        match default {
            Some("") => write!(self.output, "{question} [none]: ")?,
            Some(default) => write!(self.output, "{question} [{default}]: ")?,
            None => write!(self.output, "{question}: ")?,
        }
        self.output.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(text: &str) -> Result<u8, String> {
        text.parse().map_err(|_| format!("`{text}` is no number"))
    }

    fn asked(input: &str, default: Option<&str>) -> (anyhow::Result<u8>, String) {
        let mut output = Vec::new();
        let mut asker = Asker {
            input: input.as_bytes(),
            output: &mut output,
        };
        let answer = asker.ask("How many", default, number);
        (answer, String::from_utf8(output).unwrap())
    }

    #[test]
    fn an_empty_answer_is_the_default() {
        let (answer, shown) = asked("\n", Some("3"));
        assert_eq!(answer.unwrap(), 3);
        assert_eq!(shown, "How many [3]: ");
    }

    #[test]
    fn a_wrong_answer_is_asked_again_and_an_end_is_an_error() {
        let (answer, shown) = asked("x\n 7 \n", None);
        assert_eq!(answer.unwrap(), 7);
        assert_eq!(shown, "How many:   `x` is no number\nHow many: ");

        assert!(asked("", Some("3")).0.is_err());
        assert!(asked(&"x\n".repeat(20), None).0.is_err());
    }
}
