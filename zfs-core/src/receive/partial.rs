//! What an interrupted receive left behind.

use crate::dataset::Dataset;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::history::Line;
use std::ffi::CString;

const OPERATION: Operation = Operation::AbortReceive;

impl Dataset {
    /// Discards what an interrupted resumable receive into this dataset has left.
    ///
    /// A dataset that was to be made by the receive is destroyed; one that existed before keeps its
    /// contents and its snapshots, and loses only the hidden state.
    ///
    /// # Errors
    ///
    /// | kind | when |
    /// |---|---|
    /// | `NotFound` | the dataset does not exist, or no such state does |
    /// | `Busy` | the receive still runs |
    /// | `PermissionDenied` | neither root nor delegated |
    /// | `ReadOnlyPool`, `PoolSuspended` | as they say |
    ///
    /// # Privileges
    ///
    /// Root, or the delegated permissions `destroy` and `mount`.
    ///
    /// `zfs receive -A`, `zfs-receive(8)`.
    #[doc(alias = "zfs receive -A")]
    pub fn abort_receive(&self) -> Result<()> {
        let object = self.name.as_str();
        let error = |errno| Error::new(OPERATION, object, errno);
        // A name that this crate's own names do not admit; an object of it cannot be made by
        // others.
        let hidden = [self.name.as_c_str().to_bytes(), b"/%recv"].concat();
        let hidden = CString::new(hidden).map_err(|nul| {
            Error::refused(OPERATION, object, ErrorKind::InvalidName, nul.to_string())
        })?;
        if self.zfs.exists(&hidden).map_err(|e| e.during(OPERATION))? {
            self.zfs.lzc().destroy(&hidden).map_err(error)?;
            self.record_abort();
            return Ok(());
        }
        let partial = self.stat().map_err(|e| e.during(OPERATION))?.inconsistent
            && self
                .properties()
                .map_err(|e| e.during(OPERATION))?
                .receive_resume_token()
                .is_some();
        if !partial {
            return Err(Error::refused(
                OPERATION,
                object,
                ErrorKind::NotFound,
                "no receive was interrupted here",
            ));
        }
        // If the receive was resumed and completed in between, the dataset has a snapshot, and the
        // kernel does not destroy it.
        self.zfs
            .lzc()
            .destroy(self.name.as_c_str())
            .map_err(error)?;
        self.record_abort();
        Ok(())
    }

    fn record_abort(&self) {
        self.zfs
            .record(|| Line::new("zfs receive").arg("-A").arg(&self.name));
    }
}
