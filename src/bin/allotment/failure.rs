//! Why the program ends without an answer, and what it says then: one line on stderr, and an exit code.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use allotment::Error;

/// The result of every step of a command.
pub(crate) type Outcome<T> = Result<T, Failure>;

/// Why a command ends without an answer.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The command line asks for what this input cannot give: exit code 2.
    Usage(String),
    /// The work failed: exit code 1. `input` is what was worked on, for errors that do not name it themselves.
    Failed { input: Option<PathBuf>, error: Error },
    /// Ctrl-C: exit code 130, as shells expect of a program that a signal ended.
    Interrupted,
    /// Whoever read stdout is gone: nothing is left to say, and nothing went wrong.
    ReaderGone,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Failed { input: None, error }
    }
}

impl Failure {
    /// Names the input in errors that do not name it themselves.
    pub(crate) fn about(self, file: &Path) -> Self {
        match self {
            Failure::Failed { input: None, error } => Failure::Failed { input: Some(file.into()), error },
            other => other,
        }
    }

    /// Returns the code that the process ends with.
    pub(crate) fn exit_code(&self) -> ExitCode {
        ExitCode::from(match self {
            Failure::Usage(_) => 2,
            Failure::Failed { error: Error::BadSetting { .. }, .. } => 2,
            Failure::Failed { .. } => 1,
            Failure::Interrupted => 130,
            Failure::ReaderGone => 0,
        })
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Usage(message) => write!(f, "{}", one_line(message)),
            Failure::Failed { input, error } => {
                let message = one_line(&error.to_string());
                match input {
                    Some(path) if !message.contains(&*path.to_string_lossy()) => {
                        write!(f, "{}: {message}", one_line(&path.to_string_lossy()))
                    }
                    _ => write!(f, "{message}"),
                }
            }
            Failure::Interrupted => write!(f, "interrupted; nothing was written"),
            Failure::ReaderGone => write!(f, "the reader of stdout is gone"),
        }
    }
}

/// Joins lines into one, because scripts read errors line by line and a file name may hold a line break.
pub(crate) fn one_line(text: &str) -> String {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    lines.join(" ").replace(|c: char| c.is_control(), " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(failure: Failure) -> String {
        failure.about(Path::new("a/cells.h5ad")).to_string()
    }

    #[test]
    fn an_error_names_its_file_exactly_once() {
        let silent = Error::bad_argument("pca", "components", 9, "at most 4");
        assert_eq!(shown(silent.into()), "a/cells.h5ad: pca: components is 9 but must be at most 4");
        let naming = Error::bad_input(Path::new("a/cells.h5ad"), "X", "a matrix", "a group");
        assert_eq!(shown(naming.into()).matches("cells.h5ad").count(), 1);
    }

    #[test]
    fn a_message_is_one_line_whatever_it_quotes() {
        let error = Error::bad_argument("pca", "genes", "two\nlines\r\n\tand a tab", "one");
        assert_eq!(shown(error.into()).lines().count(), 1);
    }

    #[test]
    fn exit_codes_tell_usage_from_failure() {
        let code = |failure: Failure| format!("{:?}", failure.exit_code());
        let expected = |n: u8| format!("{:?}", ExitCode::from(n));
        assert_eq!(code(Failure::Usage(String::new())), expected(2));
        assert_eq!(code(Error::bad_argument("a", "b", 1, "c").into()), expected(1));
        assert_eq!(code(Failure::Interrupted), expected(130));
    }
}
