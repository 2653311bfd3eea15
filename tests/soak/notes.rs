//! What was acknowledged, as noted by the process that no node is.

use std::collections::HashMap;
use std::io;

use helix_zfs::zfs_core::digest::Digester;
use helix_zfs::zfs_core::send::SendOptions;
use helix_zfs::zfs_core::stream::PassThrough;
use helix_zfs::zfs_core::{DatasetName, Snapshot, SnapshotFilter, Zfs};

use crate::place::{NODES, pool};

/// An acknowledged snapshot.
pub(crate) struct Note {
    guid: u64,
    name: String,
    digest: String,
}

/// The snapshots of a node by GUID, wherever its data is at the moment.
pub(crate) fn snapshots(zfs: &Zfs, node: &str) -> HashMap<u64, Snapshot> {
    let mut found = HashMap::new();
    for place in ["live", "copy/chain"] {
        let name = DatasetName::new(&format!("{}/{place}", pool(node))).unwrap();
        let dataset = zfs.dataset(name.as_str()).unwrap();
        for entry in dataset
            .snapshots(&SnapshotFilter::new())
            .unwrap_or_default()
        {
            let snapshot = zfs.snapshot(entry.name.as_str()).unwrap();
            found.insert(entry.guid, snapshot);
        }
    }
    found
}

/// The digest of all that is in a snapshot.
fn content(snapshot: &Snapshot) -> Result<String, String> {
    let options = SendOptions::full().raw().large_blocks();
    let stream = snapshot.send(&options).map_err(|error| error.to_string())?;
    let mut pass = PassThrough::new(stream, Digester::new());
    io::copy(&mut pass, &mut io::sink()).map_err(|error| error.to_string())?;
    let digests = pass
        .into_parts()
        .1
        .finish()
        .map_err(|error| error.to_string())?;
    let content = digests.content().ok_or("not one snapshot")?;
    Ok(content.root().to_string())
}

/// Notes a snapshot, as some node has it now. It may be moved between two looks at it.
pub(crate) fn note(zfs: &Zfs, guid: u64, name: &str) -> Result<Note, String> {
    let mut last = String::from("no node has it");
    for attempt in 0..40 {
        let snapshot = snapshots(zfs, NODES[attempt % 2]).remove(&guid);
        match snapshot.map(|snapshot| content(&snapshot)) {
            Some(Ok(digest)) => {
                return Ok(Note {
                    guid,
                    name: name.to_owned(),
                    digest,
                });
            }
            Some(Err(why)) => last = why,
            None => {}
        }
        std::thread::sleep(std::time::Duration::from_millis(250));
    }
    Err(format!("@{name} (GUID {guid}) cannot be noted: {last}"))
}

/// What the end has found.
#[derive(Default, Debug)]
pub(crate) struct Verdict {
    pub(crate) equal: usize,
    pub(crate) different: usize,
    pub(crate) lost: usize,
}

/// Looks for every noted snapshot at a node.
pub(crate) fn look(zfs: &Zfs, node: &str, notes: &[Note]) -> Verdict {
    let mut verdict = Verdict::default();
    let found = snapshots(zfs, node);
    for note in notes {
        let Some(snapshot) = found.get(&note.guid) else {
            println!(
                "soak: {node} does not have @{} (GUID {})",
                note.name, note.guid
            );
            verdict.lost += 1;
            continue;
        };
        match content(snapshot) {
            Ok(digest) if digest == note.digest => verdict.equal += 1,
            other => {
                println!(
                    "soak: @{} at {node}: {other:?}, and not {}",
                    note.name, note.digest
                );
                verdict.different += 1;
            }
        }
    }
    verdict
}
