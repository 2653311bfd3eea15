//! The request that receives one stream.

use super::options::{Reach, ReceiveOptions};
use super::source::stream_error;
use crate::dataset::Dataset;
use crate::error::{Errno, Error, ErrorKind, Failure, FailureList, Operation, Result};
use crate::ffi::device::Request;
use crate::ffi::signal::AllBlocked;
use crate::history::Line;
use crate::key;
use crate::name::{DatasetName, SnapshotName};
use crate::nv::{NvMap, Value};
use crate::stream::{Begin, BeginFlags, HEADER_LEN, HeaderKind, StreamFeatures};
use std::os::fd::{AsFd, AsRawFd};
use std::thread::{Scope, ScopedJoinHandle};
use zfs_core_sys::ioctl::ZFS_IOC_RECV_NEW;

pub(super) const OPERATION: Operation = Operation::Receive;

/// A longer payload is refused. OpenZFS sends none that is longer unless told to, and takes as much
/// kernel memory as the stream says.
const MAX_BEGIN_PAYLOAD: u32 = 64 << 20;

/// Properties could not be cleared before they were received anew.
const NOT_CLEARED: u64 = 1;
/// Properties could not be put back after the failure.
const NOT_RESTORED: u64 = 2;

/// One stream, and where it goes.
#[derive(Debug)]
pub(super) struct Receive<'a> {
    pub(super) dataset: &'a Dataset,
    pub(super) snapshot: SnapshotName,
    pub(super) begin: Begin,
    pub(super) header: &'a [u8; HEADER_LEN],
    pub(super) options: &'a ReceiveOptions,
    pub(super) origin: Option<SnapshotName>,
    /// Properties to be set as received.
    pub(super) received: NvMap,
    /// Properties to be set, or flagged as excluded.
    pub(super) local: NvMap,
    /// The dataset is new and gets the key of the options.
    pub(super) encrypt: bool,
}

/// What the kernel tells of a receive that succeeded.
#[derive(Debug)]
pub(super) struct Answer {
    /// Bytes read after the header.
    pub(super) bytes: u64,
    pub(super) property_errors: Vec<Failure>,
    pub(super) kept_properties: bool,
}

impl<'a> Receive<'a> {
    /// A receive of the stream with this header, as the options say.
    pub(super) fn new(
        dataset: &'a Dataset,
        header: &'a [u8; HEADER_LEN],
        options: &'a ReceiveOptions,
    ) -> Result<Self> {
        let begin = parse(dataset.name(), header)?;
        let short = match &options.snapshot_name {
            Some(short) => short.as_str(),
            None => begin.to_name.split_once('@').map_or("", |(_, short)| short),
        };
        let encrypt = options.key().is_some();
        let reach = Reach { top: true, encrypt };
        let (received, local) = options.lists(&NvMap::new(), reach)?;
        let receive = Self {
            dataset,
            snapshot: dataset.name().snapshot(short)?,
            begin,
            header,
            options,
            origin: options.origin.clone(),
            received,
            local,
            encrypt,
        };
        receive.check_expected()?;
        receive.check()?;
        Ok(receive)
    }

    /// Is it the stream that is expected?
    fn check_expected(&self) -> Result<()> {
        let begin = &self.begin;
        let other = |what: &str, is: u64, expected: u64| {
            let detail = format!("the stream {what} {is:#x}, and {expected:#x} was expected");
            Err(self.error(ErrorKind::UnexpectedStream, detail))
        };
        match self.options.expect_guid {
            Some(guid) if guid != begin.to_guid => return other("is of", begin.to_guid, guid),
            _ => {}
        }
        match self.options.expect_from {
            Some(guid) if guid != begin.from_guid => other("builds on", begin.from_guid, guid),
            _ => Ok(()),
        }
    }

    /// Refuses what the kernel would refuse with a number that says little, or carry out though it
    /// should not.
    pub(super) fn check(&self) -> Result<()> {
        let begin = &self.begin;
        let full = begin.from_guid == 0;
        if self.encrypt && (!full || begin.features.contains(StreamFeatures::RAW)) {
            return Err(self.error(
                ErrorKind::InvalidArgument,
                "only a full stream that is not raw can be encrypted with a new key",
            ));
        }
        let clone = begin.flags.contains(BeginFlags::CLONE);
        if let Some(origin) = &self.origin {
            let zfs = self.dataset.zfs();
            zfs.snapshot(origin.as_str())?
                .check_clone_to(self.dataset.name())?;
        }
        if clone && self.origin.is_none() && !self.is_resuming() {
            return Err(self.error(
                ErrorKind::InvalidArgument,
                "the stream is that of a clone, whose origin has to be named",
            ));
        }
        if full && self.options.force && !self.is_resuming() {
            self.check_replacement()?;
        }
        Ok(())
    }

    /// A full stream that is forced replaces an existing dataset. What the `zfs` command does not
    /// replace is not replaced here either.
    fn check_replacement(&self) -> Result<()> {
        let during = |error: Error| error.during(OPERATION);
        if !self.dataset.exists().map_err(during)? {
            return Ok(());
        }
        let entry = self.dataset.stat().map_err(during)?;
        if entry.kind != self.begin.dataset_kind {
            return Err(self.error(
                ErrorKind::WrongKind,
                "it cannot replace what is of another kind",
            ));
        }
        if entry.origin.is_some() {
            return Err(self.error(ErrorKind::AlreadyExists, "a clone is not replaced"));
        }
        if self.dataset.has_snapshots().map_err(during)? {
            return Err(self.error(
                ErrorKind::AlreadyExists,
                "a dataset that has snapshots is not replaced",
            ));
        }
        Ok(())
    }

    pub(super) fn error(&self, kind: ErrorKind, detail: impl Into<String>) -> Error {
        Error::refused(OPERATION, self.snapshot.as_str(), kind, detail)
    }

    pub(super) fn is_resuming(&self) -> bool {
        self.begin.features.contains(StreamFeatures::RESUMING)
    }

    /// Lets the kernel receive from `input`, on a thread of its own where no signal can interrupt
    /// it.
    pub(super) fn spawn<'scope, 'env, F>(
        &'scope self,
        scope: &'scope Scope<'scope, 'env>,
        input: F,
    ) -> Result<ScopedJoinHandle<'scope, Result<Answer>>>
    where
        F: AsFd + Send + 'scope,
    {
        std::thread::Builder::new()
            .name(String::from("zfs-receive"))
            .spawn_scoped(scope, move || {
                let _blocked = AllBlocked::new();
                // `input` closes with the end of this thread, so that whoever writes learns that
                // the kernel has refused.
                self.run(&input)
            })
            .map_err(|error| self.error(ErrorKind::Other, format!("no thread: {error}")))
    }

    fn run(&self, input: &impl AsFd) -> Result<Answer> {
        let mut args = NvMap::new();
        args.insert(c"snapname", Value::from(self.snapshot.as_c_str()));
        args.insert(c"begin_record", Value::ByteArray(self.header.to_vec()));
        args.insert(c"input_fd", input.as_fd().as_raw_fd());
        for (name, list) in [(c"props", &self.received), (c"localprops", &self.local)] {
            if !list.is_empty() {
                args.insert(name, list.clone());
            }
        }
        if let Some(origin) = &self.origin {
            args.insert(c"origin", Value::from(origin.as_c_str()));
        }
        // Else a second failure would throw away what the first had kept.
        let resumable = self.options.resumable || self.is_resuming();
        for (name, wanted) in [
            (c"force", self.options.force),
            (c"heal", self.options.heal),
            (c"resumable", resumable),
        ] {
            if wanted {
                args.insert(name, Value::Boolean);
            }
        }
        let object = || self.snapshot.to_string();
        let place = self.place()?;
        let request = self.dataset.zfs.request(ZFS_IOC_RECV_NEW, place.as_c_str());
        let request = match self.options.key().filter(|_| self.encrypt) {
            Some(key) => key::input_with_key(request, args, key),
            None => request.input(&args),
        };
        let mut request = request
            .map_err(|refusal| refusal.into_error(OPERATION, object()))?
            .answered_over_input();
        let note = self.dataset.zfs.note(|| {
            let line = Line::new("zfs receive")
                .arg("-u")
                .flag("-F", self.options.force)
                .flag("-s", resumable)
                .flag("-c", self.options.heal)
                .properties(Some("-o"), &self.local);
            match &self.origin {
                Some(origin) => line.arg("-o").arg(format_args!("origin={origin}")),
                None => line,
            }
            .arg(&self.snapshot)
            .into()
        });
        match request.run_apart(input.as_fd().as_raw_fd(), note) {
            Ok(()) => {
                let answer = request
                    .answer()
                    .map_err(|refusal| refusal.into_error(OPERATION, object()))?;
                let flags = answer.u64("error_flags").unwrap_or_default();
                Ok(Answer {
                    bytes: answer.u64("read_bytes").unwrap_or_default(),
                    property_errors: property_errors(&answer).failures,
                    kept_properties: flags & NOT_CLEARED != 0,
                })
            }
            Err(errno) => Err(self.failed(errno, &request)),
        }
    }

    /// The dataset whose permissions the kernel looks at: itself, or the parent of a new one.
    fn place(&self) -> Result<DatasetName> {
        let name = self.dataset.name();
        let parent = name.parent();
        match parent {
            Some(parent) if !self.dataset.exists().map_err(|e| e.during(OPERATION))? => Ok(parent),
            _ => Ok(name.clone()),
        }
    }

    fn failed(&self, errno: Errno, request: &Request<'_>) -> Error {
        if request.was_interrupted(errno) {
            return Error::new(OPERATION, self.snapshot.as_str(), Errno::EINTR);
        }
        let answer = request.answer().unwrap_or_default();
        let flags = answer.u64("error_flags").unwrap_or_default();
        let error = Error::new(OPERATION, self.snapshot.as_str(), errno);
        let kind = error.kind();
        let error = error
            .with_failures(property_errors(&answer))
            .with_kind(kind);
        let error = match flags & NOT_RESTORED {
            0 => error,
            _ => error.with_detail("its properties could not be put back"),
        };
        self.explain(error)
    }

    /// The kernel has few words for many reasons.
    fn explain(&self, error: Error) -> Error {
        let raw = self.begin.features.contains(StreamFeatures::RAW);
        match error.kind() {
            ErrorKind::Busy if self.has_partial_state() => {
                error.with_kind(ErrorKind::PartialReceive)
            }
            ErrorKind::InvalidArgument if self.is_resuming() => {
                error.with_detail("there is no state of a receive that this stream resumes")
            }
            ErrorKind::KeyNotLoaded if raw => error.with_kind(ErrorKind::WrongKey),
            _ => error,
        }
    }

    fn has_partial_state(&self) -> bool {
        self.dataset
            .properties()
            .is_ok_and(|properties| properties.receive_resume_token().is_some())
    }
}

/// The header's contents, if it is that of one stream of which the kernel can make something.
pub(super) fn parse(dataset: &DatasetName, header: &[u8; HEADER_LEN]) -> Result<Begin> {
    let object = dataset.as_str();
    let begin = Begin::parse(header).map_err(|error| stream_error(object, error))?;
    let refuse = |kind, detail: String| Err(Error::refused(OPERATION, object, kind, detail));
    if begin.kind != HeaderKind::Substream {
        return refuse(
            ErrorKind::InvalidStream,
            String::from("it is a stream of several streams, as zfs send -R, -I and -p make it"),
        );
    }
    let unknown = begin
        .features
        .iter_names()
        .fold(begin.features, |rest, (_, known)| rest.difference(known));
    if !unknown.is_empty() {
        return refuse(
            ErrorKind::Unsupported,
            format!("unknown features {:#x}", unknown.bits()),
        );
    }
    if begin
        .features
        .intersects(StreamFeatures::DEDUP | StreamFeatures::DEDUPPROPS)
    {
        return refuse(
            ErrorKind::Unsupported,
            String::from("it is deduplicated, which zstream redup converts"),
        );
    }
    if begin.payload_len > MAX_BEGIN_PAYLOAD {
        return refuse(
            ErrorKind::InvalidStream,
            format!("its first record has {} bytes", begin.payload_len),
        );
    }
    Ok(begin)
}

/// Per-property errors have the codes of setting a property.
fn property_errors(answer: &NvMap) -> FailureList {
    answer
        .list("errors")
        .map(|list| FailureList::read(Operation::SetProperties, list))
        .unwrap_or_default()
}
