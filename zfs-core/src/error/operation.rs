use std::fmt;

macro_rules! operations {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What was being done when an error came up.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[non_exhaustive]
        pub enum Operation {
            $($(#[$doc])* $name,)*
        }

        impl Operation {
            /// The operation in words, as in an error message.
            #[must_use]
            pub const fn description(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

operations! {
    /// Opening the control device.
    Open = "open ZFS",
    /// Checking a name.
    CheckName = "check name",
    /// Reading the version and the features of the module.
    ReadCapabilities = "read capabilities",
    /// Creating a filesystem or a volume.
    CreateDataset = "create",
    /// Destroying a filesystem or a volume.
    DestroyDataset = "destroy",
    /// Renaming a filesystem or a volume.
    RenameDataset = "rename",
    /// Cloning a snapshot.
    CloneSnapshot = "clone",
    /// Promoting a clone.
    PromoteDataset = "promote",
    /// Rolling back.
    Rollback = "roll back",
    /// Listing datasets.
    ListDatasets = "list datasets of",
    /// Asking whether something exists, and what it is.
    Stat = "stat",
    /// Creating snapshots.
    CreateSnapshots = "create snapshots",
    /// Destroying snapshots.
    DestroySnapshots = "destroy snapshots",
    /// Renaming snapshots.
    RenameSnapshots = "rename snapshot",
    /// Listing snapshots.
    ListSnapshots = "list snapshots of",
    /// Measuring the space of a range of snapshots.
    MeasureSpace = "measure space of",
    /// Creating bookmarks.
    CreateBookmarks = "create bookmarks",
    /// Listing bookmarks.
    ListBookmarks = "list bookmarks of",
    /// Destroying bookmarks.
    DestroyBookmarks = "destroy bookmarks",
    /// Holding snapshots.
    Hold = "hold",
    /// Releasing holds.
    Release = "release",
    /// Listing holds.
    ListHolds = "list holds of",
    /// Making a wrapping key.
    MakeKey = "make key",
    /// Loading a key.
    LoadKey = "load key of",
    /// Verifying a key.
    VerifyKey = "verify key of",
    /// Unloading a key.
    UnloadKey = "unload key of",
    /// Changing a key.
    ChangeKey = "change key of",
    /// Inheriting a key.
    InheritKey = "inherit key of",
    /// Reading properties.
    GetProperties = "get properties of",
    /// Setting properties.
    SetProperties = "set properties of",
    /// Inheriting a property.
    InheritProperty = "inherit property of",
    /// Reading per-user, per-group or per-project space and quotas.
    GetUserSpace = "get space by owner of",
    /// Setting a per-user, per-group or per-project quota.
    SetUserQuota = "set quota of an owner on",
    /// Sending.
    Send = "send",
    /// Estimating the size of a stream.
    EstimateSend = "estimate the stream of",
    /// Asking how far a send is.
    GetSendProgress = "get progress of sending",
    /// Receiving.
    Receive = "receive",
    /// Discarding a partial receive.
    AbortReceive = "abort receiving",
    /// Reading a stream, or what describes one.
    ReadStream = "read stream",
    /// Listing pools.
    ListPools = "list pools",
    /// Reading a pool's state.
    GetPoolStatus = "get status of pool",
    /// Reading a pool's properties.
    GetPoolProperties = "get properties of pool",
    /// Setting a pool's properties.
    SetPoolProperties = "set properties of pool",
    /// Reading a vdev's properties.
    GetVdevProperties = "get properties of vdev",
    /// Setting a vdev's properties.
    SetVdevProperties = "set properties of vdev",
    /// Syncing a pool.
    SyncPool = "sync pool",
    /// Reading a pool's record of damaged blocks.
    ReadErrorLog = "read error log of pool",
    /// Looking for pools that can be imported.
    FindPools = "find pools in",
    /// Reading the labels of a device.
    ReadLabel = "read label of",
    /// Creating a pool.
    CreatePool = "create pool",
    /// Destroying a pool.
    DestroyPool = "destroy pool",
    /// Exporting a pool.
    ExportPool = "export pool",
    /// Trying whether a pool can be imported, or importing it.
    ImportPool = "import pool",
    /// Giving a pool a new identity.
    ReguidPool = "change guid of pool",
    /// Raising a pool's version, or enabling its features.
    UpgradePool = "upgrade pool",
    /// Opening a pool's devices again.
    ReopenPool = "reopen pool",
    /// Clearing errors.
    ClearErrors = "clear errors of",
    /// Taking a device offline.
    OfflineVdev = "take offline",
    /// Bringing a device online.
    OnlineVdev = "bring online",
    /// Marking a device as faulted.
    FaultVdev = "fault",
    /// Attaching a device.
    AttachVdev = "attach",
    /// Replacing a device.
    ReplaceVdev = "replace",
    /// Detaching a device.
    DetachVdev = "detach",
    /// Adding vdevs.
    AddVdevs = "add vdevs to pool",
    /// Removing a vdev, or stopping that.
    RemoveVdev = "remove",
    /// Splitting a pool.
    SplitPool = "split pool",
    /// Changing the path of a device.
    SetVdevPath = "set path of",
    /// Starting, pausing or stopping a scrub.
    Scrub = "scrub",
    /// Starting, suspending, stopping or undoing an initialisation.
    Initialize = "initialize",
    /// Starting, suspending or stopping a trim.
    Trim = "trim",
    /// Taking a checkpoint.
    TakeCheckpoint = "take checkpoint of pool",
    /// Discarding a checkpoint.
    DiscardCheckpoint = "discard checkpoint of pool",
    /// Waiting for an activity.
    Wait = "wait for",
    /// Loading tables ahead of need.
    Prefetch = "prefetch tables of pool",
    /// Removing entries of the deduplication table.
    PruneDdt = "prune deduplication table of pool",
    /// Reading or writing the boot environment.
    BootEnvironment = "access boot environment of pool",
    /// Running a channel program.
    RunProgram = "run program on pool",
    /// Making a redaction bookmark.
    Redact = "redact",
    /// Reading events.
    ReadEvents = "read events",
    /// Dropping all events.
    ClearEvents = "clear events",
    /// Reading a pool's history.
    ReadHistory = "read history of pool",
    /// Writing a line of a pool's history.
    WriteHistory = "write history",
    /// Reading delegated permissions.
    GetPermissions = "get permissions of",
    /// Changing delegated permissions.
    SetPermissions = "set permissions of",
    /// Reading the kernel's statistics.
    ReadStatistics = "read statistics",
    /// Comparing two snapshots.
    Diff = "compare",
    /// Mounting.
    Mount = "mount",
    /// Unmounting.
    Unmount = "unmount",
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.description())
    }
}
