//! Where tasks run. A closed set: one program moves between them by changing one argument.

/// Where tasks run.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Scheduler {
    /// On the caller's thread, in order, at the call that submits them: for debugging, and the reference for the others.
    /// Deadlines and cancels never apply, because a task has ended before its future is there.
    Serial,
    /// On the lanes of this process.
    #[default]
    Threads,
}
