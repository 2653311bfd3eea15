//! Channel programs: Lua that the kernel runs, in one go, on the datasets of a pool.
//!
//! A program sees and changes many datasets at one moment: nothing happens between its steps. It
//! lists and reads with `zfs.list`, `zfs.get_prop` and `zfs.exists`, and changes with `zfs.sync`:
//! snapshots, bookmarks, destruction, rollback, promotion, user properties. `zfs-program(8)` has
//! the list of functions. `zfs.sync.rename_snapshot` is there since 2.2, `zfs.sync.clone` since
//! 2.4.
//!
//! ```no_run
//! use zfs_core::Zfs;
//! use zfs_core::program::ChannelProgram;
//!
//! let count = ChannelProgram::new(
//!     "args = ...
//!      n = 0
//!      for _ in zfs.list.snapshots(args.dataset) do n = n + 1 end
//!      return n",
//! )
//! .argument("dataset", "tank/tenants/acme");
//! let result = Zfs::open()?.pool("tank")?.run_program_read_only(&count)?;
//! assert!(result.number().is_some());
//! # Ok::<(), zfs_core::Error>(())
//! ```

mod argument;
mod exists;
mod result;

pub use argument::Argument;
pub use result::ProgramResult;

use crate::error::{Errno, Error, ErrorKind, Operation, Result};
use crate::ffi::device::Request;
use crate::history::Line;
use crate::nv::{NvMap, Value};
use crate::pool::Pool;
use std::ffi::CString;
use zfs_core_sys::ioctl::ZFS_IOC_CHANNEL_PROGRAM;

const OPERATION: Operation = Operation::RunProgram;

/// What the kernel answers beside the result itself.
const ANSWER_FRAME: usize = 64 * 1024;

/// A program in Lua, its arguments and its limits.
///
/// The program gets its arguments as one table, in `...`. What it returns is the result: one value,
/// or none.
///
/// The kernel's Lua is 5.2 with the libraries `coroutine`, `string` and `table`. Its numbers are
/// `i64`.
#[derive(Clone, Debug)]
pub struct ChannelProgram {
    source: String,
    arguments: Vec<(String, Argument)>,
    instructions: u64,
    memory: usize,
}

impl ChannelProgram {
    /// How many instructions a program may execute if [nothing else](Self::instruction_limit) is
    /// said.
    pub const DEFAULT_INSTRUCTIONS: u64 = 10_000_000;
    /// How many bytes a program may use if [nothing else](Self::memory_limit) is said.
    pub const DEFAULT_MEMORY: usize = 10 << 20;

    /// A program with the text `lua`, without arguments.
    #[must_use]
    pub fn new(lua: impl Into<String>) -> Self {
        Self {
            source: lua.into(),
            arguments: Vec::new(),
            instructions: Self::DEFAULT_INSTRUCTIONS,
            memory: Self::DEFAULT_MEMORY,
        }
    }

    /// Adds an argument, or gives it another value: the program finds it in the table `...` under
    /// `name`.
    #[must_use]
    pub fn argument(mut self, name: impl Into<String>, value: impl Into<Argument>) -> Self {
        let name = name.into();
        self.arguments.retain(|(known, _)| *known != name);
        self.arguments.push((name, value.into()));
        self
    }

    /// Adds every field of a struct, or every entry of a map, as an argument.
    ///
    /// Structs and maps become tables, sequences become arrays. A sequence whose items are neither
    /// all numbers nor all texts becomes a table with the keys `"1"`, `"2"` and so on, which are
    /// texts in Lua: so the kernel passes lists. What is `None` is left out.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for what has no place in the kernel's Lua: floating-point numbers, numbers
    /// over `i64::MAX`, texts with a NUL; and for a value that is neither a struct nor a map.
    #[cfg(feature = "serde")]
    pub fn arguments<T: serde::Serialize + ?Sized>(mut self, arguments: &T) -> Result<Self> {
        let refused =
            |what: String| Error::refused(OPERATION, "", ErrorKind::InvalidArgument, what);
        let map = crate::nv::to_map(arguments).map_err(|error| refused(error.to_string()))?;
        for (name, value) in map {
            let argument = Argument::from(value);
            argument.value().map_err(|error| refused(error.clone()))?;
            self = self.argument(name.to_string_lossy(), argument);
        }
        Ok(self)
    }

    /// How many Lua instructions it may execute, 1 to 100,000,000. The kernel looks every hundred
    /// instructions.
    #[must_use]
    pub fn instruction_limit(mut self, instructions: u64) -> Self {
        self.instructions = instructions;
        self
    }

    /// How many bytes it may use, its arguments and its result included: 1 to 104,857,600. The
    /// answer's buffer has as much room.
    #[must_use]
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.memory = bytes;
        self
    }

    fn input(&self, sync: bool) -> Result<NvMap, String> {
        let text = |what: &str, text: &str| {
            CString::new(text).map_err(|_| format!("{what} contains a NUL character"))
        };
        let mut arguments = Vec::with_capacity(self.arguments.len());
        for (name, argument) in &self.arguments {
            let value = argument
                .value()
                .map_err(|error| format!("argument {name}: {error}"))?;
            arguments.push((text("an argument's name", name)?, value.clone()));
        }
        let mut input = NvMap::new();
        input.insert(c"program", text("the program", &self.source)?);
        input.insert(c"arg", arguments.into_iter().collect::<NvMap>());
        input.insert(c"sync", sync);
        input.insert(c"instrlimit", self.instructions);
        input.insert(c"memlimit", self.memory as u64);
        Ok(input)
    }
}

impl Pool {
    /// Runs a program that may change datasets of the pool, within one transaction group.
    ///
    /// What a program did before it failed stays done: there is no rolling back. A program is
    /// never run a second time by this crate.
    ///
    /// # Errors
    ///
    /// [`Error::detail`] has Lua's words, with where in the program it was. Their first line is part
    /// of the error's `Display`.
    ///
    /// | kind | when |
    /// |---|---|
    /// | `InvalidProgram` | it is no valid Lua; nothing ran |
    /// | `InvalidArgument` | an argument cannot be passed to Lua, or a limit is 0 or over the kernel's |
    /// | `ProgramFailed` | Lua stopped: `error(…)`, a wrong argument, a dataset of another pool, a result that is not one value of what can be returned; or the kernel could not start, on a full pool for example |
    /// | `InstructionLimit` | it ran for too long |
    /// | `MemoryLimit` | it used too much memory |
    /// | `TooBig` | it ran to its end, and its result does not fit [the limit](ChannelProgram::memory_limit) |
    /// | `Interrupted` | a signal stopped it |
    /// | `NotFound` | no pool of that name is imported |
    /// | `PermissionDenied` | not root |
    /// | `ReadOnlyPool`, `PoolSuspended` | as they say |
    ///
    /// What a function of `zfs.sync` refuses is no error of the program: the function returns the
    /// error number, for the program to act on.
    ///
    /// # Privileges
    ///
    /// Root.
    ///
    /// `zfs-program(8)`. Uses the request behind `lzc_channel_program` itself, which issues it
    /// again, and so runs the program again, when the kernel is short of memory.
    #[doc(alias = "lzc_channel_program")]
    pub fn run_program(&self, program: &ChannelProgram) -> Result<ProgramResult> {
        let result = self.execute(program, true);
        if result.is_ok() {
            self.zfs()
                .record(|| Line::new("zfs program").arg(self.name()).arg("-"));
        }
        result
    }

    /// Runs a program that changes nothing, without waiting for a transaction group. Its functions
    /// of `zfs.sync` fail, those of `zfs.check` tell what they would have said.
    ///
    /// # Errors
    ///
    /// As [`run_program`](Self::run_program); `ProgramFailed` also for a call of `zfs.sync`. On a pool
    /// that was imported read-only, `ReadOnlyPool` here too.
    ///
    /// # Privileges
    ///
    /// Root.
    ///
    /// `zfs-program(8)` with `-n`, request of `lzc_channel_program_nosync`.
    #[doc(alias = "lzc_channel_program_nosync")]
    pub fn run_program_read_only(&self, program: &ChannelProgram) -> Result<ProgramResult> {
        self.execute(program, false)
    }

    fn execute(&self, program: &ChannelProgram, sync: bool) -> Result<ProgramResult> {
        let pool = self.name().as_str();
        let input = program
            .input(sync)
            .map_err(|what| Error::refused(OPERATION, pool, ErrorKind::InvalidArgument, what))?;
        // More than the kernel allows is refused by it: it must not be tried here.
        let room = program.memory.min(128 << 20) + ANSWER_FRAME;
        let mut request = self
            .zfs()
            .request(ZFS_IOC_CHANNEL_PROGRAM, self.name().as_c_str())
            .input(&input)
            .map_err(|refusal| refusal.into_error(OPERATION, pool))?
            .answered_raw(room);
        match request.run() {
            Ok(()) => finish(pool, &request),
            Err(errno) => Err(failed(pool, errno, &request)),
        }
    }
}

fn finish(pool: &str, request: &Request<'_>) -> Result<ProgramResult> {
    let mut answer = request
        .answer()
        .map_err(|refusal| refusal.into_error(OPERATION, pool))?;
    if answer.get("N_MORE_ERRORS").is_some() {
        return Err(Error::refused(
            OPERATION,
            pool,
            ErrorKind::TooBig,
            "the program is done, but its result does not fit its memory limit",
        ));
    }
    Ok(ProgramResult::new(pool, answer.remove("return")))
}

fn failed(pool: &str, errno: Errno, request: &Request<'_>) -> Error {
    let error = Error::new(OPERATION, pool, errno);
    let answer = request.answer().unwrap_or_default();
    let text = match answer.get("error") {
        Some(Value::String(text)) => Some(text.to_string_lossy().into_owned()),
        _ => None,
    };
    match text {
        // Without a text it is a limit that the kernel does not take.
        Some(text) if errno == Errno::EINVAL => {
            error.with_kind(ErrorKind::InvalidProgram).with_detail(text)
        }
        Some(text) => error.with_detail(text),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_passed_is_named() {
        let input = |program: ChannelProgram| program.input(true).map(|_| ());
        assert_eq!(input(ChannelProgram::new("return 1")), Ok(()));
        for (program, what) in [
            (ChannelProgram::new("return 1\0"), "the program contains"),
            (ChannelProgram::new("").argument("a\0", 1), "name contains"),
            (ChannelProgram::new("").argument("a", "b\0"), "argument a: "),
            (
                ChannelProgram::new("").argument("a", u64::MAX),
                "argument a: ",
            ),
            (
                ChannelProgram::new("").argument("a", Value::Double(1.0)),
                "argument a: ",
            ),
        ] {
            let error = input(program).unwrap_err();
            assert!(error.contains(what), "{error}");
        }
    }

    #[test]
    fn the_last_value_of_an_argument_counts() {
        let program = ChannelProgram::new("")
            .argument("a", 1)
            .argument("a", "two");
        let input = program.input(false).unwrap();
        let arguments = input.list("arg").unwrap();
        assert_eq!((arguments.len(), arguments.str("a")), (1, Some("two")));
        assert_eq!(input.get("sync"), Some(&Value::BooleanValue(false)));
    }
}
