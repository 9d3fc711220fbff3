//! Building errors from what is at hand where something fails.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::Error;
use crate::bytes::ByteSize;

impl Error {
    /// Wraps what a task's own code returned, keeping it readable through [`std::error::Error::source`].
    pub fn task_failed(task: &str, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        Error::TaskFailed { task: task.into(), item: None, source: Arc::new(source) }
    }

    /// Wraps a failed read or write with what was tried and on which file.
    pub fn io(what: &'static str, path: impl Into<PathBuf>, source: std::io::Error) -> Self {
        Error::Io { what, path: Arc::from(path.into()), source: Arc::new(source) }
    }

    /// Builds the error of a malformed file: where, what the format asks for, what is there.
    pub fn bad_input(path: &Path, place: impl AsRef<str>, expected: impl AsRef<str>, found: impl AsRef<str>) -> Self {
        Error::BadInput {
            path: Arc::from(path),
            place: place.as_ref().into(),
            expected: expected.as_ref().into(),
            found: found.as_ref().into(),
        }
    }

    /// Builds the error of an argument that makes no sense here.
    pub fn bad_argument(
        operation: &'static str,
        argument: &'static str,
        found: impl ToString,
        expected: impl AsRef<str>,
    ) -> Self {
        Error::BadArgument { operation, argument, found: found.to_string().into(), expected: expected.as_ref().into() }
    }

    /// Builds the error of a task that can never fit, where smaller pieces or a larger allowance would help.
    pub(crate) fn too_big(task: impl Into<Arc<str>>, need: u64, allowance: u64, largest: u64) -> Self {
        let least = ByteSize(need).rounded_up();
        let remedy = format!("use smaller chunks or an allowance of at least {least}").into();
        Error::TooBig { task: task.into(), need, allowance, largest, remedy }
    }

    /// Returns whether the task was cancelled.
    pub fn is_cancelled(&self) -> bool {
        matches!(self, Error::Cancelled { .. })
    }
}
