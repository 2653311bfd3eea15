//! What the kernel is asked to send, resolved from what the caller wants.

use super::options::{SendBase, SendOptions, Start};
use crate::dataset::Dataset;
use crate::error::{Error, ErrorKind, Operation, Result};
use crate::ffi::device::Refusal;
use crate::name::BookmarkName;
use crate::nv::{NvMap, Value};
use crate::snapshot::Snapshot;
use crate::stream::ResumeToken;
use crate::zfs::Zfs;
use std::ffi::{CStr, CString};
use zfs_core_sys::ioctl::ZFS_IOC_SEND_SPACE;

#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// What is sent.
    pub(super) name: CString,
    base: Option<SendBase>,
    flags: Vec<&'static CStr>,
    /// Of partial state: how many bytes there are.
    saved: Option<u64>,
    resume: Option<Resume>,
    /// The part of a bookmark's name after the `#`.
    redaction: Option<CString>,
    pub(super) estimated: bool,
}

#[derive(Clone, Debug)]
struct Resume {
    object: u64,
    offset: u64,
    bytes: u64,
}

impl Plan {
    pub(super) fn of_snapshot(snapshot: &Snapshot, options: &SendOptions) -> Result<Self> {
        let dataset = snapshot.dataset();
        let mut plan = Self {
            name: snapshot.name().as_c_str().to_owned(),
            base: None,
            flags: flags(options),
            saved: None,
            resume: None,
            redaction: None,
            estimated: options.estimated,
        };
        let redaction = match &options.start {
            Start::Full => options.redaction.clone(),
            Start::Incremental(base) => {
                plan.base = Some(base.clone());
                options.redaction.clone()
            }
            Start::Resumed(token) => {
                check_snapshot(snapshot, token)?;
                plan.base = dataset.base_of_token(token)?;
                plan.resume = Some(Resume {
                    object: token.object,
                    offset: token.offset,
                    bytes: token.bytes,
                });
                match &options.redaction {
                    None => dataset.redaction_of_token(token)?,
                    given => given.clone(),
                }
            }
        };
        plan.redaction = redaction
            .map(|bookmark| short_name(snapshot, &bookmark))
            .transpose()?;
        Ok(plan)
    }

    pub(super) fn resumed(snapshot: &Snapshot, token: &ResumeToken) -> Result<Self> {
        Self::of_snapshot(snapshot, &SendOptions::resume(token.clone()))
    }

    /// What an interrupted receive into `dataset` has left. The stream has the kind that the
    /// interrupted one had.
    pub(super) fn of_partial(dataset: &Dataset) -> Result<Self> {
        let token = dataset
            .resume_token()
            .map_err(|error| error.during(Operation::Send))?
            .ok_or_else(|| {
                Error::refused(
                    Operation::Send,
                    dataset.name().as_str(),
                    ErrorKind::NotFound,
                    "there is no partial receive that could be resumed",
                )
            })?;
        Ok(Self {
            name: dataset.name().as_c_str().to_owned(),
            base: dataset.base_of_token(&token)?,
            saved: Some(token.bytes),
            flags: flags(&SendOptions::resume(token)),
            resume: None,
            redaction: None,
            estimated: false,
        })
    }

    /// Whether the stream has blocks as they are on disk.
    pub(super) fn is_raw(&self) -> bool {
        self.flags.contains(&c"rawok")
    }

    /// What is sent, for an error.
    pub(super) fn object(&self) -> String {
        let name = self.name.to_string_lossy();
        match &self.base {
            None => name.into_owned(),
            Some(base) => format!("{name} from {base}"),
        }
    }

    /// The input of the request that sends, into the descriptor with the number `fd`.
    pub(super) fn send_args(&self, fd: i32) -> NvMap {
        let mut args = NvMap::new();
        args.insert(c"fd", fd);
        if let Some(base) = &self.base {
            args.insert(c"fromsnap", base.as_c_str());
        }
        if self.saved.is_some() {
            args.insert(c"savedok", Value::Boolean);
        }
        self.add_common(&mut args);
        args
    }

    fn add_common(&self, args: &mut NvMap) {
        for flag in &self.flags {
            args.insert(*flag, Value::Boolean);
        }
        // The kernel takes a resume point at the very beginning for none, and one without the
        // other for a mistake.
        if let Some(resume) = &self.resume {
            if resume.object != 0 || resume.offset != 0 {
                args.insert(c"resume_object", resume.object);
                args.insert(c"resume_offset", resume.offset);
            }
        }
        if let Some(bookmark) = &self.redaction {
            args.insert(c"redactbook", bookmark.as_c_str());
        }
    }

    pub(super) fn estimate(&self, zfs: &Zfs) -> Result<u64> {
        const OPERATION: Operation = Operation::EstimateSend;
        if let Some(bytes) = self.saved {
            return Ok(bytes);
        }
        let mut args = NvMap::new();
        if let Some(base) = &self.base {
            args.insert(c"from", base.as_c_str());
        }
        self.add_common(&mut args);
        if let Some(resume) = &self.resume {
            args.insert(c"bytes", resume.bytes);
        }
        let estimate = || -> Result<u64, Refusal> {
            let mut request = zfs
                .request(ZFS_IOC_SEND_SPACE, &self.name)
                .input(&args)?
                .answered();
            request.read()?;
            let space = request.answer()?.u64("space");
            space.ok_or_else(|| Refusal::Answer(String::from("no space")))
        };
        let space = estimate().map_err(|refusal| refusal.into_error(OPERATION, self.object()))?;
        // The kernel subtracts what was received, and does not look whether there is more of that
        // than it expects in all.
        Ok(i64::try_from(space).map_or(0, |_| space))
    }
}

fn flags(options: &SendOptions) -> Vec<&'static CStr> {
    [
        (c"rawok", options.raw),
        (c"compressok", options.compressed),
        (c"embedok", options.embedded),
        (c"largeblockok", options.large_blocks),
    ]
    .into_iter()
    .filter_map(|(flag, set)| set.then_some(flag))
    .collect()
}

/// The kernel would send whatever has the name.
fn check_snapshot(snapshot: &Snapshot, token: &ResumeToken) -> Result<()> {
    let guid = snapshot
        .stat()
        .map_err(|error| error.during(Operation::Send))?
        .guid;
    if guid == token.to_guid {
        return Ok(());
    }
    Err(Error::refused(
        Operation::Send,
        snapshot.name().as_str(),
        ErrorKind::UnexpectedStream,
        format!(
            "its GUID is {guid}, the interrupted stream's {}",
            token.to_guid
        ),
    ))
}

/// The kernel looks for a redaction bookmark in the snapshot's dataset, and takes the short name.
fn short_name(snapshot: &Snapshot, bookmark: &BookmarkName) -> Result<CString> {
    if bookmark.dataset_str() != snapshot.name().dataset_str() {
        return Err(Error::refused(
            Operation::Send,
            snapshot.name().as_str(),
            ErrorKind::InvalidArgument,
            format!("{bookmark} is of another dataset"),
        ));
    }
    crate::error::c_string(Operation::Send, "the bookmark's name", bookmark.short())
}
