//! Streams of several snapshots.

use super::Received;
use super::options::{Reach, ReceiveOptions};
use super::request::{OPERATION, Receive, parse};
use super::source::{checked, input_error, read_header, stream_error};
use crate::dataset::Dataset;
use crate::error::{Error, ErrorKind, Failure, Operation, Result};
use crate::history::Line;
use crate::list::SnapshotFilter;
use crate::name::SnapshotName;
use crate::nv::NvMap;
use crate::props::{Prop, PropertySet};
use crate::snapshot::Snapshot;
use crate::stream::{Begin, BeginFlags, Body, HEADER_LEN, HeaderKind, StreamReader};
use std::collections::{HashMap, HashSet};
use std::io::{self, Cursor, Read};
use zfs_core_sys::ioctl::{DRR_END, ZFS_IOC_SET_PROP};

/// What came of a stream of several snapshots.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct ReceivedAll {
    /// What was received, in the stream's order.
    pub received: Vec<Received>,
    /// Snapshots that were here already, with the same GUID: their streams were passed over.
    pub skipped: Vec<Snapshot>,
}

impl Dataset {
    /// Receives a stream of several snapshots, as `zfs send -R`, `-I` and `-p` make it, into this
    /// dataset and, by their names relative to the one that was sent, those below it.
    ///
    /// The streams in it are received one by one, each as [`receive`](Self::receive) does it. The
    /// properties that come with them are set as received ones, also those of snapshots; a clone's
    /// origin is looked for by its GUID; after a raw stream, datasets inherit their key where they
    /// did so at the source. A snapshot that is here already is passed over, so that a receive that
    /// failed can be begun anew. A plain stream of one snapshot is taken as well.
    ///
    /// Datasets and snapshots that were renamed or destroyed at the source are not renamed or
    /// destroyed here, holds are not made, and missing parents are not created. What
    /// [`ReceiveOptions`] set is set on this dataset and inherited by the others, except where a
    /// property cannot be inherited. Unlike with the `zfs` command, what is sent in the clear and
    /// received below an encrypted dataset is encrypted.
    ///
    /// # Errors
    ///
    /// As [`receive`](Self::receive), for the stream that failed; those before it have been
    /// received. `InvalidArgument` for options that are about one snapshot: its name, its GUIDs,
    /// healing.
    ///
    /// # Privileges
    ///
    /// As [`receive`](Self::receive), and `change-key` for raw streams of datasets that inherit
    /// their key.
    ///
    /// `zfs-receive(8)`.
    #[doc(alias = "zfs receive")]
    pub fn receive_compound(
        &self,
        mut stream: impl Read,
        options: &ReceiveOptions,
    ) -> Result<ReceivedAll> {
        let object = self.name.as_str();
        let header = read_header(object, &mut stream)?;
        let begin = Begin::parse(&header).map_err(|error| stream_error(object, error))?;
        if begin.kind != HeaderKind::Compound {
            let received = self.receive(Cursor::new(header).chain(stream), options)?;
            return Ok(ReceivedAll {
                received: vec![received],
                skipped: Vec::new(),
            });
        }
        if options.is_about_one_snapshot() {
            return Err(Error::refused(
                OPERATION,
                object,
                ErrorKind::InvalidArgument,
                "the options are about one snapshot, and the stream has several",
            ));
        }
        let package = Package::read(object, Cursor::new(header).chain(&mut stream))?;
        let mut walk = Walk {
            top: self,
            options,
            package,
            here: HashMap::new(),
            all: ReceivedAll::default(),
        };
        loop {
            let header = read_header(object, &mut stream)?;
            if is_end(&header) {
                break;
            }
            walk.receive(&header, &mut stream)?;
        }
        walk.restore_keys()?;
        Ok(walk.all)
    }

    /// The snapshot of this GUID, of this dataset or of one below.
    fn find_snapshot(&self, guid: u64) -> Result<Option<SnapshotName>> {
        if !self.exists()? {
            return Ok(None);
        }
        let below = self.descendants()?.into_iter().map(|entry| entry.name);
        for name in std::iter::once(self.name.clone()).chain(below) {
            let dataset = Self {
                zfs: self.zfs.clone(),
                name,
            };
            let snapshots = dataset.snapshots(&SnapshotFilter::new())?;
            if let Some(found) = snapshots.into_iter().find(|entry| entry.guid == guid) {
                return Ok(Some(found.name));
            }
        }
        Ok(None)
    }
}

/// Whether this is the record that ends it all. Its other fields are zero, in either byte order.
fn is_end(header: &[u8; HEADER_LEN]) -> bool {
    let (kind, rest) = header.split_at(4);
    let end = [DRR_END.to_le_bytes(), DRR_END.to_be_bytes()];
    end.iter().any(|end| end == kind) && rest.iter().all(|&byte| byte == 0)
}

/// What the head of the stream says of the datasets in it.
#[derive(Debug)]
struct Package {
    /// The dataset that was sent.
    sent: String,
    /// What there is about each dataset.
    datasets: Vec<NvMap>,
    /// Where in `datasets` the snapshot of a GUID belongs, and its name.
    snapshots: HashMap<u64, (usize, String)>,
    raw: bool,
}

impl Package {
    /// Reads the head: a BEGIN with a list, and an END.
    fn read(object: &str, stream: impl Read) -> Result<Self> {
        let mut records = StreamReader::new(stream);
        let mut next = || {
            records
                .next_record()
                .map(|record| record.map(|record| record.body))
                .map_err(|error| stream_error(object, error))
        };
        let (Some(Body::Begin(begin)), Some(Body::End(_))) = (next()?, next()?) else {
            return Err(Error::refused(
                OPERATION,
                object,
                ErrorKind::InvalidStream,
                "its head is not followed by an end",
            ));
        };
        let head = begin.list.clone().unwrap_or_default();
        let datasets: Vec<NvMap> = head
            .list("fss")
            .into_iter()
            .flatten()
            .filter_map(|(_, dataset)| dataset.as_list().cloned())
            .collect();
        let mut snapshots = HashMap::new();
        for (at, dataset) in datasets.iter().enumerate() {
            for (name, guid) in dataset.list("snaps").into_iter().flatten() {
                if let Some(guid) = guid.as_u64() {
                    snapshots.insert(guid, (at, name.to_string_lossy().into_owned()));
                }
            }
        }
        let sent = begin
            .to_name
            .split('@')
            .next()
            .unwrap_or_default()
            .to_owned();
        Ok(Self {
            sent,
            datasets,
            snapshots,
            raw: head.flag("raw"),
        })
    }

    /// What the head says of the dataset of a snapshot, and the snapshot's name.
    fn of(&self, guid: u64) -> Option<(&NvMap, &str)> {
        let (at, name) = self.snapshots.get(&guid)?;
        Some((self.datasets.get(*at)?, name))
    }
}

/// A stream of several snapshots, being received.
struct Walk<'a> {
    top: &'a Dataset,
    options: &'a ReceiveOptions,
    package: Package,
    /// The snapshots that are here now, by their GUID.
    here: HashMap<u64, SnapshotName>,
    all: ReceivedAll,
}

impl Walk<'_> {
    /// Receives or passes over the stream that begins with `header`.
    fn receive(&mut self, header: &[u8; HEADER_LEN], stream: &mut impl Read) -> Result<()> {
        let begin = parse(&self.top.name, header)?;
        let (dataset, short) = self.place(&begin)?;
        let snapshot = dataset.snapshot(short)?;
        let mut stream = checked(Cursor::new(*header).chain(stream));
        if self.is_here(&snapshot, begin.to_guid)? {
            io::copy(&mut stream, &mut io::sink())
                .map_err(|error| input_error(snapshot.name.as_str(), error))?;
            self.here.insert(begin.to_guid, snapshot.name.clone());
            self.all.skipped.push(snapshot);
            return Ok(());
        }
        // The kernel gets the header with the request.
        read_header(snapshot.name.as_str(), &mut stream)?;
        let top = dataset.name == self.top.name;
        let new = begin.from_guid == 0;
        let reach = Reach {
            top,
            encrypt: top && new && self.options.key().is_some(),
        };
        let (received, local) = self.options.lists(&self.properties(begin.to_guid), reach)?;
        let origin = self.origin(&begin, top)?;
        let receive = Receive {
            dataset: &dataset,
            snapshot: snapshot.name.clone(),
            begin,
            header,
            options: self.options,
            origin,
            received,
            local,
            encrypt: reach.encrypt,
        };
        receive.check()?;
        let answer = receive.feed(&mut stream)?;
        let mut done = Received::new(receive, answer);
        self.here.insert(done.to_guid, snapshot.name.clone());
        done.property_errors
            .extend(self.set_snapshot_properties(&snapshot, done.to_guid));
        self.all.received.push(done);
        Ok(())
    }

    /// Where the snapshot goes: the dataset, and the snapshot's short name.
    fn place<'b>(&self, begin: &'b Begin) -> Result<(Dataset, &'b str)> {
        let outside = || {
            Error::refused(
                OPERATION,
                self.top.name.as_str(),
                ErrorKind::InvalidStream,
                format!("{} is not below {}", begin.to_name, self.package.sent),
            )
        };
        let (name, short) = begin.to_name.split_once('@').ok_or_else(outside)?;
        let below = name.strip_prefix(&self.package.sent).ok_or_else(outside)?;
        let dataset = match below.strip_prefix('/') {
            None if below.is_empty() => self.top.clone(),
            None => return Err(outside()),
            Some(below) => self.top.child(below)?,
        };
        Ok((dataset, short))
    }

    fn is_here(&self, snapshot: &Snapshot, guid: u64) -> Result<bool> {
        match snapshot.stat() {
            Ok(entry) => Ok(entry.guid == guid),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error.during(OPERATION)),
        }
    }

    /// The properties that come with a snapshot's dataset.
    fn properties(&self, guid: u64) -> NvMap {
        let mut properties = self
            .package
            .of(guid)
            .and_then(|(dataset, _)| dataset.list("props"))
            .cloned()
            .unwrap_or_default();
        // Only an encryption root has one, and whether it is one is not known until all datasets
        // are here.
        properties.remove(Prop::KeyLocation.name());
        properties
    }

    fn origin(&self, begin: &Begin, top: bool) -> Result<Option<SnapshotName>> {
        let first = self.here.is_empty();
        if top && first && self.options.origin.is_some() {
            return Ok(self.options.origin.clone());
        }
        if !begin.flags.contains(BeginFlags::CLONE) {
            return Ok(None);
        }
        if let Some(name) = self.here.get(&begin.from_guid) {
            return Ok(Some(name.clone()));
        }
        self.top
            .find_snapshot(begin.from_guid)
            .map_err(|error| error.during(OPERATION))
    }

    /// Sets the snapshot's properties as received ones, and returns those that could not be set.
    fn set_snapshot_properties(&self, snapshot: &Snapshot, guid: u64) -> Vec<Failure> {
        const OPERATION: Operation = Operation::SetProperties;
        let Some(properties) = self
            .package
            .of(guid)
            .and_then(|(dataset, name)| dataset.list("snapprops")?.list(name))
            .filter(|properties| !properties.is_empty())
        else {
            return Vec::new();
        };
        let request = snapshot
            .zfs
            .request(ZFS_IOC_SET_PROP, snapshot.name.as_c_str());
        let Ok(request) = request.input(properties) else {
            return Vec::new();
        };
        let mut request = request.answered();
        // Received, not local.
        request.cmd().zc_cookie = 1;
        match request.run() {
            Ok(()) => {
                snapshot.zfs.record(|| {
                    Line::new("zfs set")
                        .properties(None, properties)
                        .arg(&snapshot.name)
                });
                Vec::new()
            }
            Err(errno) => {
                let mut list = request.failures(OPERATION);
                if list.failures.is_empty() {
                    let name = snapshot.name.to_string();
                    list.failures.push(Failure {
                        name,
                        errno,
                        kind: ErrorKind::of(OPERATION, errno),
                    });
                }
                list.failures
            }
        }
    }

    /// Lets datasets inherit their key where they do so at the source. Each that is received raw has
    /// a key of its own at first.
    fn restore_keys(&self) -> Result<()> {
        if !self.package.raw {
            return Ok(());
        }
        let mut seen = HashSet::new();
        for received in &self.all.received {
            let name = received.snapshot.name.dataset();
            let Some((sent, _)) = self.package.of(received.to_guid) else {
                continue;
            };
            if !seen.insert(name.clone()) {
                continue;
            }
            let dataset = self.top.zfs.dataset(name.as_str())?;
            let Some(status) = dataset.encryption()? else {
                continue;
            };
            let is_root = status.root == name;
            if sent.flag("is_encroot") {
                self.restore_key_location(&dataset, sent)?;
            } else if is_root && name != self.top.name {
                dataset.force_inherit_key()?;
            }
        }
        Ok(())
    }

    fn restore_key_location(&self, dataset: &Dataset, sent: &NvMap) -> Result<()> {
        let name = Prop::KeyLocation.name();
        let location = sent.list("props").and_then(|props| props.get(name));
        match location {
            Some(location) => {
                let set = PropertySet::new().raw(name, location.clone())?;
                dataset.set_all(&set)
            }
            None => Ok(()),
        }
    }
}
