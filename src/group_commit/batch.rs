//! Batches in the kernel.

use std::collections::BTreeMap;
use std::ffi::CString;

use zfs_core::nv::NvMap;
use zfs_core::program::ChannelProgram;
use zfs_core::props::UserProps;
use zfs_core::{Errno, Error, ErrorKind, Result, SnapshotName, Zfs};

use super::queue::Request;

/// Takes each snapshot in one transaction group, with its own properties. What it returns is the
/// error number of each that was not taken.
const PROGRAM: &str = r#"
    local args = ...
    local failed = {}
    for name, props in pairs(args) do
        local errno = zfs.sync.snapshot(name)
        if errno == 0 then
            for property, value in pairs(props) do
                if errno == 0 then
                    errno = zfs.sync.set_prop(name, property, value)
                end
            end
            if errno ~= 0 then
                zfs.sync.destroy(name)
            end
        end
        if errno ~= 0 then
            failed[name] = errno
        end
    end
    return failed
"#;

/// More snapshots or bytes of properties than this are not given to a program, which must come to
/// its end.
const MOST_IN_PROGRAM: usize = 512;
const MOST_BYTES_IN_PROGRAM: usize = 1 << 20;

/// One answer to one request.
pub(super) type Deliver<'a> = &'a mut dyn FnMut(Request, Result<Option<u64>>);

/// How a program with a batch ended.
enum Ran {
    /// These are not taken, and it is not known why.
    Left(Vec<Request>),
    /// The caller may not run programs, and nothing is taken.
    Forbidden(Vec<Request>),
}

/// Takes the snapshots of a batch, and answers each request. Whether programs can go on being used.
pub(super) fn take(
    zfs: &Zfs,
    mut batch: Vec<Request>,
    memory: usize,
    deliver: Deliver<'_>,
) -> bool {
    let mut programs = true;
    if fits_program(&batch) {
        batch = match run_program(zfs, batch, memory, deliver) {
            Ran::Left(batch) => batch,
            Ran::Forbidden(batch) => {
                programs = false;
                batch
            }
        };
    }
    while !batch.is_empty() {
        let same = alike(&mut batch);
        take_alike(zfs, same, deliver);
    }
    programs
}

/// Whether a program serves the batch, and better than one call does.
fn fits_program(batch: &[Request]) -> bool {
    let differ = batch
        .first()
        .is_some_and(|first| batch.iter().any(|request| request.props != first.props));
    let bytes: usize = batch
        .iter()
        .flat_map(|request| request.props.iter())
        .map(|(name, value)| name.len() + value.len())
        .sum();
    differ && batch.len() <= MOST_IN_PROGRAM && bytes <= MOST_BYTES_IN_PROGRAM
}

/// Removes those that have the same properties as the first.
fn alike(batch: &mut Vec<Request>) -> Vec<Request> {
    let all = std::mem::take(batch);
    let mut same: Vec<Request> = Vec::with_capacity(all.len());
    for request in all {
        match same.first() {
            Some(first) if first.props != request.props => batch.push(request),
            _ => same.push(request),
        }
    }
    same
}

fn run_program(zfs: &Zfs, batch: Vec<Request>, memory: usize, deliver: Deliver<'_>) -> Ran {
    let Some(pool) = batch.first().map(|request| request.name.pool()) else {
        return Ran::Left(batch);
    };
    let ran = zfs.pool(pool).and_then(|pool| {
        let program = batch.iter().fold(
            ChannelProgram::new(PROGRAM).memory_limit(memory),
            |program, request| program.argument(request.name.as_str(), table(&request.props)),
        );
        pool.run_program(&program)
    });
    let failed: BTreeMap<CString, i64> = match ran {
        Ok(result) => {
            let table = result.table().into_iter().flat_map(NvMap::iter);
            table
                .map(|(name, errno)| (name.to_owned(), errno.as_i64().unwrap_or_default()))
                .collect()
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => return Ran::Forbidden(batch),
        // It did not begin. The plain call says more.
        Err(error) if began_not(&error) => return Ran::Left(batch),
        Err(error) if error.errno() == Some(Errno::ENOSPC) => {
            return Ran::Left(untaken(zfs, batch, &error, deliver));
        }
        Err(error) => {
            refuse(batch, &error, deliver);
            return Ran::Left(Vec::new());
        }
    };
    let (left, taken) = batch
        .into_iter()
        .partition(|request| failed.contains_key(request.name.as_c_str()));
    taken_at_once(zfs, taken, deliver);
    Ran::Left(left)
}

/// Whether a program that ended with this error has certainly not begun.
fn began_not(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::NotFound
            | ErrorKind::ReadOnlyPool
            | ErrorKind::PoolSuspended
            | ErrorKind::InvalidArgument
            | ErrorKind::InvalidProgram
    )
}

/// Those of a batch whose snapshots are certainly not taken, of a program that ended with `error`:
/// no space, which it is before a program begins when the pool is full, and in the middle of one
/// that is out of memory. Of the others it cannot be told who took them, and with which properties.
fn untaken(zfs: &Zfs, batch: Vec<Request>, error: &Error, deliver: Deliver<'_>) -> Vec<Request> {
    let names: Vec<&str> = batch.iter().map(|request| request.name.as_str()).collect();
    let pool = batch.first().map_or("", |request| request.name.pool());
    let Ok(exist) = zfs.pool(pool).and_then(|pool| pool.exist_together(&names)) else {
        refuse(batch, error, deliver);
        return Vec::new();
    };
    let mut exist = exist.into_iter();
    let (there, untaken) = batch
        .into_iter()
        .partition(|_| exist.next().unwrap_or(true));
    refuse(there, error, deliver);
    untaken
}

fn refuse(batch: Vec<Request>, error: &Error, deliver: Deliver<'_>) {
    for request in batch {
        let error = error.of_item(request.name.as_str());
        deliver(request, Err(error));
    }
}

fn table(props: &UserProps) -> NvMap {
    let mut table = NvMap::new();
    for (name, value) in props.iter() {
        // Both were checked: they have no NUL.
        if let (Ok(name), Ok(value)) = (CString::new(name), CString::new(value)) {
            table.insert(name, value);
        }
    }
    table
}

/// Takes snapshots that get the same properties. One that cannot be taken is answered for itself, and
/// the others are tried again without it.
fn take_alike(zfs: &Zfs, mut batch: Vec<Request>, deliver: Deliver<'_>) {
    while let Some(first) = batch.first() {
        let names: Vec<&SnapshotName> = batch.iter().map(|request| &request.name).collect();
        let Err(error) = zfs.create_snapshots(&names, &first.props) else {
            taken_at_once(zfs, batch, deliver);
            return;
        };
        if batch.len() == 1 {
            if let Some(request) = batch.pop() {
                deliver(request, Err(error));
            }
            return;
        }
        let (bad, rest): (Vec<_>, Vec<_>) = batch
            .into_iter()
            .partition(|request| is_at_fault(&error, request.name.as_str()));
        let found = !bad.is_empty();
        refuse(bad, &error, deliver);
        batch = rest;
        if found {
            continue;
        }
        if concerns_all(&error) {
            refuse(std::mem::take(&mut batch), &error, deliver);
        } else {
            // The kernel did not say which: a limit, a permission, the space for all together.
            let second = batch.split_off(batch.len() / 2);
            take_alike(zfs, batch, deliver);
            batch = second;
        }
    }
}

fn is_at_fault(error: &Error, name: &str) -> bool {
    let mut failures = error.failures().iter();
    // That another snapshot of the dataset was taken in the same transaction group is no fault: the
    // kernel tried again by itself, and left the note.
    failures.any(|failure| failure.name == name && failure.errno != Errno::EAGAIN)
}

/// Whether an error that names nobody is that of everybody.
fn concerns_all(error: &Error) -> bool {
    error.failures().is_empty()
        && matches!(
            error.kind(),
            ErrorKind::PoolSuspended | ErrorKind::ReadOnlyPool | ErrorKind::Protocol
        )
}

/// Answers requests whose snapshots were taken in one transaction group.
fn taken_at_once(zfs: &Zfs, taken: Vec<Request>, deliver: Deliver<'_>) {
    // One that is destroyed already cannot be asked; the next one tells as much.
    let txg = taken.iter().find_map(|request| {
        let snapshot = zfs.snapshot(request.name.as_str()).ok()?;
        Some(snapshot.stat().ok()?.create_txg)
    });
    for request in taken {
        deliver(request, Ok(txg));
    }
}
