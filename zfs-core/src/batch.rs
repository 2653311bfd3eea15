//! Batches: what the kernel does to many objects in one call.

use crate::error::{
    Errno, Error, ErrorKind, FailureList, Operation, Outcome, Result, describe_batch,
};
use crate::ffi::lzc::Batch;
use crate::ffi::nvlist::{NvError, NvList};
use crate::name::SnapshotName;
use std::fmt;

pub(crate) fn names<S: AsRef<SnapshotName>>(snapshots: &[S]) -> Vec<&SnapshotName> {
    snapshots.iter().map(AsRef::as_ref).collect()
}

/// What the kernel takes for granted of a batch: something in it, nothing twice, one pool.
pub(crate) fn check_batch<N: Ord + fmt::Display>(
    operation: Operation,
    names: &[&N],
    pool_of: impl Fn(&N) -> &str,
) -> Result<()> {
    let refused = |kind, detail| {
        Err(Error::refused(
            operation,
            describe_batch(names),
            kind,
            detail,
        ))
    };
    let [first, rest @ ..] = names else {
        return refused(ErrorKind::InvalidArgument, String::from("nothing to do"));
    };
    if rest.is_empty() {
        return Ok(());
    }
    let pool = pool_of(first);
    if let Some(name) = rest.iter().find(|name| pool_of(name) != pool) {
        let detail = format!("{first} and {name} are in different pools");
        return refused(ErrorKind::CrossPool, detail);
    }
    match repeated(names.iter()) {
        Some(name) => refused(ErrorKind::InvalidArgument, format!("{name} is named twice")),
        None => Ok(()),
    }
}

/// An item that is there more than once. Most batches are in order already, which one look tells.
pub(crate) fn repeated<T: Ord>(items: impl Iterator<Item = T> + Clone) -> Option<T> {
    if items.clone().is_sorted_by(|a, b| a < b) {
        return None;
    }
    let mut items: Vec<T> = items.collect();
    items.sort_unstable();
    items
        .windows(2)
        .position(|pair| matches!(pair, [a, b] if a == b))
        .map(|position| items.swap_remove(position))
}

/// The list for a batch that the kernel wants, of one entry for each item.
pub(crate) fn build_list<T, N: fmt::Display>(
    operation: Operation,
    names: &[N],
    items: &[T],
    mut add: impl FnMut(&mut NvList, &T) -> Result<(), NvError>,
) -> Result<NvList> {
    let mut build = || {
        let mut list = NvList::new()?;
        for item in items {
            add(&mut list, item)?;
        }
        Ok(list)
    };
    build().map_err(|error: NvError| Error::protocol(operation, describe_batch(names), error))
}

/// The outcome of a batch that is done as a whole or not at all.
pub(crate) fn finish_atomic<N: fmt::Display>(
    operation: Operation,
    names: &[N],
    batch: Batch,
) -> Result<()> {
    // Success comes with an empty list.
    let Batch { status, failures } = batch;
    status.map_err(|errno| failed(operation, names, errno, read_failures(operation, failures)))
}

/// The outcome of a batch of which a part can be done.
pub(crate) fn finish_partial<N: fmt::Display>(
    operation: Operation,
    names: &[N],
    batch: Batch,
) -> Result<Outcome> {
    let failures = read_failures(operation, batch.failures);
    match batch.status {
        Ok(()) => Ok(Outcome::new(operation, names.len(), failures?)),
        Err(errno) => Err(failed(operation, names, errno, failures)),
    }
}

fn failed<N: fmt::Display>(
    operation: Operation,
    names: &[N],
    errno: Errno,
    failures: Result<FailureList>,
) -> Error {
    // A list that cannot be read must not hide the error itself.
    Error::new(operation, describe_batch(names), errno).with_failures(failures.unwrap_or_default())
}

fn read_failures(operation: Operation, list: Option<NvList>) -> Result<FailureList> {
    let Some(list) = list else {
        return Ok(FailureList::default());
    };
    let map = list
        .to_map()
        .map_err(|error| Error::protocol(operation, "", error))?;
    Ok(FailureList::read(operation, &map))
}

#[cfg(test)]
mod tests {
    use super::repeated;

    #[test]
    fn what_is_repeated_is_found_in_any_order() {
        assert_eq!(repeated([1, 2, 3].iter()), None);
        assert_eq!(repeated([3, 1, 2].iter()), None);
        assert_eq!(repeated([1, 2, 2, 3].iter()), Some(&2));
        assert_eq!(repeated([2, 1, 3, 2].iter()), Some(&2));
    }
}
