/// What keeps a node from a wrong step. The model check takes each away, and must find what that
/// leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Guard {
    /// A holder writes under a lease only.
    OwnLease,
    /// A replica takes over when the lease is over only.
    LeaseOver,
    /// It waits for the clock margin too.
    ClockMargin,
    /// It has a verified snapshot.
    Verified,
    /// It has what was acknowledged.
    Acknowledged,
    /// What it looked for is what is acknowledged now.
    SameAcknowledged,
    /// A report counts in the epoch that it was made in only.
    ReportEpoch,
    /// A snapshot is acknowledged when enough replicas have it.
    Enough,
    /// An undo gives back what nobody wrote to.
    Unwritten,
    /// The dataset is read-only while one looks whether it was written to.
    ReadOnlyLook,
    /// A replica keeps all that is newer than what it knows to be acknowledged.
    KeepsNewer,
    /// A source keeps what a replica has reported.
    KeepsReported,
    /// What is gone is not acknowledged any more.
    ForgetsPruned,
}
