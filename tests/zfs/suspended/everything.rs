//! Every call of every module that asks a pool.

use crate::support::zfs;
use helix_zfs::zfs_core::key::WrappingKey;
use helix_zfs::zfs_core::listing::{Listed, Listing};
use helix_zfs::zfs_core::mount::{MountOptions, UnmountMode};
use helix_zfs::zfs_core::pool::{
    AddOptions, AttachOptions, BootEnvironment, Device, ExportOptions, Layout, OfflineMode,
    OnlineMode, PoolPropertySet, ReopenScrub, SplitOptions, VdevSpec,
};
use helix_zfs::zfs_core::program::ChannelProgram;
use helix_zfs::zfs_core::props::{Prop, PropertySet, Quota, UserProps};
use helix_zfs::zfs_core::receive::ReceiveOptions;
use helix_zfs::zfs_core::send::SendOptions;
use helix_zfs::zfs_core::{
    CreateOptions, Dataset, ErrorKind, Grantee, Measure, Owner, OwnerKind, Permission, Pool, Reach,
    Result, SnapshotFilter, SyncMode,
};
use std::path::PathBuf;
use std::sync::mpsc::Sender;

/// What was called, what has to come of it, and what did.
pub(super) type Answer = (&'static str, Result<(), ErrorKind>, Result<()>);

/// What the calls are made on.
pub(super) struct Caller {
    pub(super) pool: Pool,
    pub(super) child: Dataset,
    /// The identity of the pool's disk.
    pub(super) disk: u64,
    pub(super) new_disk: PathBuf,
    /// A stream of `child@s`.
    pub(super) stream: Vec<u8>,
    pub(super) sender: Sender<Answer>,
}

impl Caller {
    /// What reads as what writes: none of it waits for the pool.
    pub(super) fn call_everything(&self) {
        self.looks();
        self.datasets();
        self.mounts();
        self.snapshots();
        self.streams();
        self.pools();
        self.devices();
        for (what, result) in crate::activity::refused::everything(&self.pool) {
            self.refused(what, result);
        }
    }

    fn tell(&self, what: &'static str, expected: Result<(), ErrorKind>, result: Result<()>) {
        self.sender.send((what, expected, result)).unwrap();
    }

    fn refused<T>(&self, what: &'static str, result: Result<T>) {
        self.tell(what, Err(ErrorKind::PoolSuspended), result.map(drop));
    }

    /// What is in memory can be seen.
    fn looks(&self) {
        let Self { pool, .. } = self;
        self.tell("pools", Ok(()), zfs().pools().map(drop));
        self.tell("status", Ok(()), pool.status().map(drop));
        self.tell("config", Ok(()), pool.config().map(drop));
        self.tell("pool exists", Ok(()), pool.exists().map(drop));
        self.tell("pool properties", Ok(()), pool.properties().map(drop));
        self.tell("mounts", Ok(()), self.child.mounts().map(drop));
        self.tell("capabilities", Ok(()), zfs().capabilities().map(drop));
    }

    fn datasets(&self) {
        let Self { child, .. } = self;
        let new = child.child("new").unwrap();
        let key = WrappingKey::raw(&[1; 32]);
        self.refused("stat", child.stat());
        self.refused("exists", child.exists());
        self.refused("properties", child.properties());
        self.refused("children", child.children());
        self.refused("snapshots", child.snapshots(&SnapshotFilter::new()));
        self.refused("bookmarks", child.bookmarks());
        let rows = child.list(&Listing::new(Listed::all()));
        let rows = rows.and_then(|rows| rows.collect::<Result<Vec<_>>>());
        self.refused("list", rows);
        self.refused("create", new.create(&CreateOptions::filesystem()));
        self.refused("destroy", child.destroy());
        self.refused("rename", child.rename(new.name()));
        self.refused("promote", child.promote());
        self.refused("rollback", child.rollback());
        self.refused("rollback to", child.rollback_to("s"));
        self.refused("set", child.set(Quota(1 << 20)));
        self.refused("inherit", child.inherit(Prop::Compression));
        self.refused("load key", child.load_key(&key));
        self.refused("unload key", child.unload_key());
        self.refused("change key", child.change_key(&key));
        let owner = Owner::User(1000);
        self.refused("owners", child.owners(OwnerKind::User, Measure::Used));
        self.refused("quota", child.set_owner_quota(&owner, Some(1 << 20)));
        self.refused("permissions", child.permissions());
        let everyone = Grantee::Everyone(Reach::All);
        let permissions = [Permission::HOLD];
        self.refused("allow", child.allow(&everyone, &permissions));
        self.refused("unallow", child.unallow(&everyone, &permissions));
    }

    /// The pool's root is mounted.
    fn mounts(&self) {
        let Self { pool, child, .. } = self;
        let root = pool.root();
        let folder = self.new_disk.parent().unwrap();
        self.refused("unmount", root.unmount(UnmountMode::Unused));
        self.refused("unmount lazily", root.unmount(UnmountMode::Lazy));
        self.refused("destroy unmounting", root.destroy_unmounting());
        self.refused("mount", child.mount(&MountOptions::new().at(folder)));
        let snap = child.snapshot("s").unwrap();
        self.refused("mount snapshot", snap.mount(folder));
        let new = child.child("new").unwrap();
        self.refused("rename remounting", child.rename_remounting(new.name()));
    }

    fn snapshots(&self) {
        let Self { child, .. } = self;
        let zfs = zfs();
        let new = child.child("new").unwrap();
        let snap = child.snapshot("s").unwrap();
        let next = child.snapshot("t").unwrap();
        self.refused("holds", snap.holds());
        self.refused("space", snap.space_to(&snap));
        let one = [snap.name()];
        self.refused("space freed", zfs.space_freed_by_destroying(&one));
        self.refused("written since", child.written_since(snap.name()));
        self.refused("clone", snap.clone_to(new.name(), &PropertySet::new()));
        self.refused("snapshot", next.create(&UserProps::new()));
        self.refused("destroy snapshot", snap.destroy());
        self.refused("destroy snapshots", zfs.destroy_snapshots(&one));
        self.refused("rename snapshot", snap.rename("t"));
        self.refused("rename snapshots", snap.rename_recursive("t"));
        self.refused("bookmark", snap.bookmark("m"));
        self.refused("hold", snap.hold("h"));
        self.refused("hold until drop", zfs.hold_until_drop(&one, "h"));
        self.refused("release", snap.release("h"));
        self.refused("diff", snap.diff(&next).map(drop));
        self.refused("diff to live", snap.diff_to_live(child).map(drop));
        let bookmark = child.name().bookmark("r").unwrap();
        self.refused("redact", snap.redact(&bookmark, &[next.name()]));
    }

    fn streams(&self) {
        let snap = self.child.snapshot("s").unwrap();
        let new = self.child.child("new").unwrap();
        self.refused("send size", snap.send_size(&SendOptions::full()));
        let null = std::fs::File::create("/dev/null").unwrap();
        self.refused("send", snap.send_to(null, &SendOptions::full()));
        let received = new.snapshot("s").unwrap();
        let options = ReceiveOptions::new();
        let receive = received.dataset().receive(self.stream.as_slice(), &options);
        self.refused("receive", receive);
    }

    fn pools(&self) {
        let Self { pool, .. } = self;
        self.refused("sync", pool.sync(SyncMode::Pending));
        self.refused("error log", pool.error_log());
        self.refused("destroy pool", pool.destroy());
        self.refused("export", pool.export(ExportOptions::new()));
        let comment = PoolPropertySet::new().comment("text").unwrap();
        self.refused("set pool properties", pool.set_properties(&comment));
        self.refused("reopen", pool.reopen(ReopenScrub::Continue));
        self.refused("reguid", pool.reguid(None));
        self.refused("boot environment", pool.boot_environment());
        let text = BootEnvironment::Text(c"text".into());
        self.refused("set boot environment", pool.set_boot_environment(&text));
        let program = ChannelProgram::new("return 1");
        self.refused("program", pool.run_program(&program));
        self.refused("program that reads", pool.run_program_read_only(&program));
        let history = pool.history().collect::<Result<Vec<_>>>();
        self.refused("history", history);
    }

    fn devices(&self) {
        let Self { pool, disk, .. } = self;
        let new = || Device::new(self.new_disk.clone());
        let mode = OfflineMode::Persistent;
        self.refused("offline", pool.offline(*disk, mode));
        self.refused("online", pool.online(*disk, OnlineMode::Plain));
        self.refused("fault", pool.fault(*disk, mode));
        let options = AttachOptions::new();
        self.refused("attach", pool.attach(*disk, new(), &options));
        self.refused("replace", pool.replace(*disk, new(), &options));
        self.refused("detach", pool.detach(*disk));
        let layout = Layout::new().vdev(VdevSpec::device(new()));
        self.refused("add", pool.add(&layout, &AddOptions::new()));
        self.refused("remove", pool.remove(*disk));
        self.refused("cancel removal", pool.cancel_removal());
        self.refused("split", pool.split("hz-new", &SplitOptions::new()));
        self.refused("set path", pool.set_vdev_path(*disk, &self.new_disk));
    }
}
