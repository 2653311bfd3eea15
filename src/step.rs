use std::fmt;

/// A moment in an operation that makes several changes, one after the other.
///
/// Such an operation tells its observer before and after each change. The observer can show progress
/// or keep a record; what it does cannot change the outcome. A process that dies between any two of
/// these moments leaves nothing that the next run of the operation does not finish.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Step<'a, T> {
    /// The change is about to be made.
    Starting(&'a T),
    /// The change was made.
    Done(&'a T),
    /// The change could not be made. The outcome of the operation says why.
    Failed(&'a T),
}

impl<T: fmt::Display> fmt::Display for Step<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Starting(change) => write!(f, "{change} ..."),
            Self::Done(change) => write!(f, "{change}: done"),
            Self::Failed(change) => write!(f, "{change}: failed"),
        }
    }
}
