//! Requests to `/dev/zfs` that libzfs_core has no function for, or answers less exactly than the
//! kernel does.

use super::apart::run_apart;
use crate::error::{Errno, Error, FailureList, Operation};
use crate::nv::{self, NvMap};
use std::ffi::{CStr, CString, c_char, c_ulong};
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use zeroize::Zeroizing;
use zfs_core_sys::ioctl::{ZFS_IOC_ERROR_LOG, dmu_objset_stats, zfs_cmd, zfs_share};

/// Room for an answer. A dataset's properties take some 6 KiB, and the kernel tells when an answer
/// needs more.
const ANSWER_LEN: usize = 64 * 1024;

/// The length of a record that `ZFS_IOC_ERROR_LOG` answers with: a `zbookmark_phys_t`.
pub(crate) const ERROR_LOG_RECORD: usize = 32;

/// An open `/dev/zfs`.
#[derive(Debug)]
pub(crate) struct Device(OwnedFd);

impl Device {
    pub(crate) fn open() -> Result<Self, Errno> {
        std::fs::OpenOptions::new()
            .read(true)
            .write(true)
            .open("/dev/zfs")
            .map(|file| Self(file.into()))
            .map_err(|error| Errno::from_io(&error))
    }

    /// The descriptor's number, for requests that tie something's life to it.
    pub(crate) fn number(&self) -> i32 {
        self.0.as_raw_fd()
    }
}

/// Why a request brought no usable answer.
#[derive(Clone, Debug)]
pub(crate) enum Refusal {
    /// The kernel said no.
    Errno(Errno),
    /// The kernel's answer is not one that this crate understands.
    Answer(String),
}

impl From<Errno> for Refusal {
    fn from(errno: Errno) -> Self {
        Self::Errno(errno)
    }
}

impl Refusal {
    pub(crate) fn into_error(self, operation: Operation, object: impl Into<String>) -> Error {
        match self {
            Self::Errno(errno) => Error::new(operation, object, errno),
            Self::Answer(detail) => Error::protocol(operation, object, detail),
        }
    }
}

/// One request, and the buffers it points to.
///
/// The addresses are written into the command immediately before each call, from buffers that the
/// request owns, so that none can dangle. Buffers that held a request's input are wiped.
pub(crate) struct Request<'d> {
    device: &'d Device,
    number: c_ulong,
    cmd: Box<zfs_cmd>,
    source: Zeroizing<Vec<u8>>,
    /// How much of `source` is input.
    source_len: usize,
    answer: Vec<u8>,
    answer_place: AnswerPlace,
    /// The second input list: a tree of vdevs.
    configuration: Vec<u8>,
    /// A line for the pool's history, or room for what is there.
    history: Vec<u8>,
}

/// Where the kernel writes its answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AnswerPlace {
    Apart,
    OverInput,
}

impl<'d> Request<'d> {
    /// A request about the object `name`. Names are checked ([`crate::name`]) and so always fit.
    pub(crate) fn new(device: &'d Device, number: c_ulong, name: &CStr) -> Self {
        let mut request = Self {
            device,
            number,
            cmd: zfs_cmd::zeroed(),
            source: Zeroizing::new(Vec::new()),
            source_len: 0,
            answer: Vec::new(),
            answer_place: AnswerPlace::Apart,
            configuration: Vec::new(),
            history: Vec::new(),
        };
        request.set_name(name);
        request
    }

    pub(crate) fn set_name(&mut self, name: &CStr) {
        write_str(&mut self.cmd.zc_name, name);
    }

    /// `zc_value`: false when it does not fit, which a name always does.
    pub(crate) fn set_value(&mut self, value: &CStr) -> bool {
        write_str(&mut self.cmd.zc_value, value)
    }

    /// `zc_string`: false when it does not fit, which a name always does.
    pub(crate) fn set_string(&mut self, text: &CStr) -> bool {
        write_str(&mut self.cmd.zc_string, text)
    }

    pub(crate) fn cmd(&mut self) -> &mut zfs_cmd {
        &mut self.cmd
    }

    /// The input list.
    pub(crate) fn input(mut self, list: &NvMap) -> Result<Self, Refusal> {
        nv::encode_native_into(list, &mut self.source)
            .map_err(|error| Refusal::Answer(error.to_string()))?;
        self.source_len = self.source.len();
        Ok(self)
    }

    /// The second input list, which describes vdevs.
    pub(crate) fn configuration(mut self, list: &NvMap) -> Result<Self, Refusal> {
        self.configuration =
            nv::encode_native(list).map_err(|error| Refusal::Answer(error.to_string()))?;
        Ok(self)
    }

    /// A line for the history of a pool that is gone after the request, and could not be given it
    /// then.
    pub(crate) fn history_line(mut self, line: &CStr) -> Self {
        self.history = line.to_bytes_with_nul().to_vec();
        self
    }

    /// Room for history that is read: `zc_history_len` of it is filled.
    pub(crate) fn history_room(mut self, len: usize) -> Self {
        self.history.clear();
        self.history.resize(len, 0);
        self
    }

    /// What was read into the room for history.
    pub(crate) fn history(&self) -> &[u8] {
        usize::try_from(self.cmd.zc_history_len)
            .ok()
            .and_then(|len| self.history.get(..len))
            .unwrap_or_default()
    }

    /// Asks for an answer of up to `len` bytes, be it a list or not.
    pub(crate) fn answered_raw(mut self, len: usize) -> Self {
        // So that what is not answered of a large room takes no memory.
        self.answer = vec![0; len];
        self
    }

    /// Asks for an answer in a list.
    pub(crate) fn answered(mut self) -> Self {
        self.answer.resize(ANSWER_LEN, 0);
        self
    }

    /// Asks for an answer that is written over the input, so that the request cannot be carried
    /// out twice.
    ///
    /// A request that reads or writes a pipe returns `ERESTARTSYS` from a wait that a signal ends,
    /// be it a `SIGSTOP`, which no thread can block. When the process goes on, the kernel restarts
    /// the system call behind the caller's back: a second stream would follow the beginning of the
    /// first. It writes the answer even then, and so finds an input that it refuses, which
    /// [`was_interrupted`](Self::was_interrupted) tells.
    pub(crate) fn answered_over_input(mut self) -> Self {
        let len = self.source_len.max(ANSWER_LEN);
        // A buffer that grows leaves its old place unwiped.
        let mut source = Zeroizing::new(Vec::with_capacity(len));
        source.extend_from_slice(&self.source);
        source.resize(len, 0);
        self.source = source;
        self.answer_place = AnswerPlace::OverInput;
        self
    }

    /// Issues the request once.
    pub(crate) fn run(&mut self) -> Result<(), Errno> {
        let source = address(&mut self.source);
        let (answer, answer_len) = match self.answer_place {
            AnswerPlace::Apart => (address(&mut self.answer), self.answer.len()),
            AnswerPlace::OverInput => (source, self.source.len()),
        };
        self.cmd.zc_nvlist_src = source;
        self.cmd.zc_nvlist_src_size = self.source_len as u64;
        self.cmd.zc_nvlist_conf = address(&mut self.configuration);
        self.cmd.zc_nvlist_conf_size = self.configuration.len() as u64;
        self.cmd.zc_history = address(&mut self.history);
        self.cmd.zc_history_len = self.history.len() as u64;
        self.cmd.zc_share = zfs_share::default();
        self.cmd.zc_nvlist_dst = answer;
        self.cmd.zc_nvlist_dst_size = match self.number {
            // The one request that counts its room in records.
            ZFS_IOC_ERROR_LOG => (answer_len / ERROR_LOG_RECORD) as u64,
            _ => answer_len as u64,
        };
        self.cmd.zc_nvlist_dst_filled = 0;
        let cmd: *mut zfs_cmd = &mut *self.cmd;
        // SAFETY: `cmd` is a live, exclusively borrowed `zfs_cmd` of the kernel's layout. Its four
        // addresses, just set whatever they were before, belong to buffers of this request and are
        // stated with their lengths; the kernel writes to no other than the answer's and the
        // history's, which are borrowed exclusively too. Where that is the input's as well, the kernel has copied the
        // input before it writes. The descriptor is open for as long as the device is borrowed.
        let status =
            unsafe { zfs_core_sys::ioctl::zfs_ioctl(self.device.0.as_raw_fd(), self.number, cmd) };
        match status {
            0 => Ok(()),
            errno => Err(Errno::from_raw(errno)),
        }
    }

    /// Issues the request once, from a thread that has no descriptor but that of the device and
    /// `number`: see [`run_apart`]. After a success, `note` is issued from the same thread.
    pub(crate) fn run_apart(&mut self, number: RawFd, note: Option<Self>) -> Result<(), Errno> {
        let kept = [self.device.number(), number];
        run_apart(&kept, || {
            self.run()?;
            if let Some(mut note) = note {
                let _ = note.run();
            }
            Ok(())
        })
        .unwrap_or(Err(Errno::ENOMEM))
    }

    /// Whether `errno`, the error of the last run, means that a signal ended it in the middle.
    ///
    /// The kernel's own number for that is for itself, but gets out when the signal is gone before
    /// the call returns. An answer beside a complaint about the input is that of a first run, and
    /// the complaint is about it.
    pub(crate) fn was_interrupted(&self, errno: Errno) -> bool {
        match errno {
            Errno::EINTR | Errno::ERESTARTSYS => true,
            Errno::ZFS_ERR_IOC_ARG_REQUIRED | Errno::ZFS_ERR_IOC_ARG_UNAVAIL => {
                self.answer_place == AnswerPlace::OverInput && self.cmd.zc_nvlist_dst_filled != 0
            }
            _ => false,
        }
    }

    /// Issues a request that only reads, again with a larger buffer while the answer does not fit.
    ///
    /// List requests move the name and the cursor even when the answer did not fit, so both are
    /// put back.
    pub(crate) fn read(&mut self) -> Result<(), Errno> {
        let name = self.cmd.zc_name;
        let (cookie, object) = (self.cmd.zc_cookie, self.cmd.zc_obj);
        loop {
            match self.run() {
                Err(Errno::ENOMEM) if self.cmd.zc_nvlist_dst_size > self.answer.len() as u64 => {
                    let Ok(needed) = usize::try_from(self.cmd.zc_nvlist_dst_size) else {
                        return Err(Errno::ENOMEM);
                    };
                    // What is read can grow between two calls.
                    self.answer.clear();
                    self.answer.resize(needed.saturating_add(needed / 4), 0);
                }
                Err(Errno::EINTR) => {}
                outcome => return outcome,
            }
            self.cmd.zc_name = name;
            (self.cmd.zc_cookie, self.cmd.zc_obj) = (cookie, object);
        }
    }

    /// The list that the kernel answered with, also after an error. Empty when it wrote none.
    pub(crate) fn answer(&self) -> Result<NvMap, Refusal> {
        if self.cmd.zc_nvlist_dst_filled == 0 {
            return Ok(NvMap::new());
        }
        // The size is that of the packed list even if it did not fit and nothing was written.
        let list = usize::try_from(self.cmd.zc_nvlist_dst_size)
            .ok()
            .and_then(|len| self.answer_buffer().get(..len));
        match list {
            Some(list) => nv::decode(list).map_err(|error| Refusal::Answer(error.to_string())),
            None => Ok(NvMap::new()),
        }
    }

    /// The per-item errors of a request that failed, as far as the kernel named them.
    pub(crate) fn failures(&self, operation: Operation) -> FailureList {
        self.answer()
            .map(|list| FailureList::read(operation, &list))
            .unwrap_or_default()
    }

    /// The records of `ZFS_IOC_ERROR_LOG`, which fills its room from the end and says how much is
    /// left.
    pub(crate) fn error_log(&self) -> &[u8] {
        usize::try_from(self.cmd.zc_nvlist_dst_size)
            .ok()
            .and_then(|free| self.answer.get(free.checked_mul(ERROR_LOG_RECORD)?..))
            .unwrap_or_default()
    }

    /// The raw bytes of an answer that is not a list.
    pub(crate) fn answer_bytes(&self) -> &[u8] {
        usize::try_from(self.cmd.zc_nvlist_dst_size)
            .ok()
            .and_then(|len| self.answer_buffer().get(..len))
            .unwrap_or_default()
    }

    fn answer_buffer(&self) -> &[u8] {
        match self.answer_place {
            AnswerPlace::Apart => &self.answer,
            AnswerPlace::OverInput => &self.source,
        }
    }

    /// `zc_name`, which list requests move on.
    pub(crate) fn name(&self) -> String {
        read_str(&self.cmd.zc_name)
    }

    pub(crate) fn stats(&self) -> &dmu_objset_stats {
        &self.cmd.zc_objset_stats
    }

    pub(crate) fn cookie(&self) -> u64 {
        self.cmd.zc_cookie
    }
}

/// An address for the kernel, which may write there.
fn address(buffer: &mut [u8]) -> u64 {
    if buffer.is_empty() {
        0
    } else {
        buffer.as_mut_ptr().expose_provenance() as u64
    }
}

/// Copies a C string with its terminator, if it fits.
fn write_str(field: &mut [c_char], text: &CStr) -> bool {
    let bytes = text.to_bytes_with_nul();
    let Some(target) = field.get_mut(..bytes.len()) else {
        return false;
    };
    for (to, from) in target.iter_mut().zip(bytes) {
        // `c_char` is signed on some platforms and unsigned on others.
        *to = c_char::from_ne_bytes([*from]);
    }
    true
}

/// Reads up to the terminator, or all of a field that has none.
pub(crate) fn read_bytes(field: &[c_char]) -> CString {
    let bytes: Vec<u8> = field
        .iter()
        .take_while(|&&c| c != 0)
        .map(|&c| u8::from_ne_bytes(c.to_ne_bytes()))
        .collect();
    CString::new(bytes).unwrap_or_default()
}

/// The same as text.
pub(crate) fn read_str(field: &[c_char]) -> String {
    read_bytes(field).to_string_lossy().into_owned()
}
