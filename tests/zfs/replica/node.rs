use super::sites::{cap, dataset, files, names, seen, site};
use crate::support::{Mounted, Scratch, TestPool, noise, run, zfs_get};
use helix_zfs::gate::Operation;
use helix_zfs::replica::{
    Automatic, Channel, Command, Follow, Grants, GroupName, LagLimit, Machine, Node, NodeName,
    NodeServer, Notice, Policy, Role, Site, SqliteFences,
};
use helix_zfs::zfs_core::CreateOptions;
use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::FileExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, SystemTime};

/// Two nodes that reach each other while neither is cut off.
pub(super) struct Pair {
    pub(super) a: One,
    pub(super) b: One,
    pub(super) cut: Arc<AtomicBool>,
}

pub(super) struct One {
    pub(super) node: Node,
    pub(super) site: Site,
    /// What the source said of its pool when something was received.
    source_is_healthy: Option<bool>,
}

impl One {
    fn grants(&self) -> Grants<'static> {
        Grants {
            receive: cap(&self.site, Operation::Receive),
            promote: cap(&self.site, Operation::PromoteReplica),
            rebuild: cap(&self.site, Operation::RebuildReplica),
            snapshot: cap(&self.site, Operation::Snapshot),
            retain: Some(cap(&self.site, Operation::Retain)),
        }
    }

    pub(super) fn turn(&mut self) -> Vec<Notice> {
        let mut notices = Vec::new();
        let grants = self.grants();
        self.node.turn(grants, &mut |notice| notices.push(notice));
        for notice in &notices {
            if let Notice::Followed(turn) = notice {
                self.source_is_healthy = Some(turn.healthy);
            }
        }
        notices
    }

    pub(super) fn role(&self) -> Option<Role> {
        self.node.state().standing().map(|standing| standing.role)
    }
}

pub(super) fn policy() -> Policy {
    Policy {
        follow: Follow::OnChange(Duration::ZERO),
        lag: LagLimit::default(),
        automatic: Some(Automatic {
            unreachable_for: Some(Duration::from_millis(1)),
            unhealthy: true,
        }),
        lease: Duration::from_secs(2),
        clock_margin: Duration::from_millis(100),
        rebuild: true,
        ..Policy::default()
    }
}

impl Pair {
    /// New processes of the two nodes, with their data at `sites` and the fences in `folder`.
    pub(super) fn new(sites: &[Site; 2], folder: &Path, policy: &Policy) -> Self {
        let cut = Arc::new(AtomicBool::new(false));
        let servers = Arc::new([OnceLock::<NodeServer>::new(), OnceLock::new()]);
        let name = |n: usize| NodeName::new(["a", "b"][n]).unwrap();
        let node = |me: usize| {
            let other = 1 - me;
            let send = cap(&sites[other], Operation::Send);
            let fences = SqliteFences::open(folder.join("fences")).unwrap();
            let machine = Machine::new(&name(me), 1, policy);
            let group = GroupName::new("acme").unwrap();
            Node::new(&sites[me], machine, &group, Arc::new(fences)).peer(
                &name(other),
                sites[other].data(),
                {
                    let (servers, cut) = (servers.clone(), cut.clone());
                    move || {
                        let there = servers[other]
                            .get()
                            .filter(|_| !cut.load(Ordering::Relaxed));
                        let there = there.ok_or(io::ErrorKind::ConnectionRefused)?;
                        let (ours, theirs) = UnixStream::pair()?;
                        let (server, by) = (there.clone(), name(me));
                        std::thread::spawn(move || server.serve(send, &by, theirs));
                        Ok(Box::new(ours) as Box<dyn Channel>)
                    }
                },
            )
        };
        let [a, b] = [0, 1].map(|me| One {
            node: node(me),
            site: sites[me].clone(),
            source_is_healthy: None,
        });
        for (server, one) in servers.iter().zip([&a, &b]) {
            server.set(one.node.server()).unwrap();
        }
        Self { a, b, cut }
    }

    /// Whether both have the same newest snapshot.
    pub(super) fn is_even(&self) -> bool {
        let newest = |one: &One| one.site.snapshots().unwrap().pop();
        newest(&self.a) == newest(&self.b)
    }

    /// Turns both until it is so. At no moment can both be written to.
    pub(super) fn until(&mut self, what: &str, is: impl Fn(&Self) -> bool) {
        for _ in 0..3000 {
            if is(self) {
                return;
            }
            let notices = [self.a.turn(), self.b.turn()];
            let writable = [&self.a, &self.b].map(|one| {
                let state = one.site.state().unwrap();
                let source = matches!(
                    state.standing().map(|it| it.role),
                    Some(Role::Source | Role::Promoted)
                );
                source && !state.read_only && one.node.may_write()
            });
            assert_ne!(writable, [true, true], "{notices:?}");
            std::thread::sleep(Duration::from_millis(10));
        }
        panic!("{what}: {:?} {:?}", self.a.node, self.b.node);
    }

    /// Turns `b` alone until it can be written to.
    pub(super) fn b_takes_over(&mut self) {
        for _ in 0..3000 {
            self.b.turn();
            if self.b.node.may_write() {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        assert_eq!(self.b.role(), Some(Role::Promoted));
    }
}

/// A source that cannot be reached is replaced by itself, and comes back as a replica; the place is
/// handed back by command, and that is undone.
#[test]
fn a_source_that_is_gone_is_replaced_and_returns_as_a_replica() {
    let above = ["a", "b"].map(|side| Scratch::new(&format!("rp-node-{side}")));
    let sites = [site(above[0].name()), site(above[1].name())];
    let folder = tempfile::TempDir::with_prefix("helix-zfs-").unwrap();
    let mut pair = Pair::new(&sites, folder.path(), &policy());
    dataset(pair.a.site.data())
        .create(&CreateOptions::filesystem())
        .unwrap();
    pair.until("a begins", |pair| pair.a.node.may_write());
    assert_eq!(pair.a.role(), Some(Role::Source));
    Mounted::new(&dataset(pair.a.site.data())).write("first", "1");
    pair.until("b follows", |pair| {
        pair.a.site.snapshots().unwrap().len() > 1 && pair.is_even()
    });
    // What b has verified is acknowledged.
    pair.until("acknowledged", |pair| {
        pair.a
            .node
            .state()
            .fence()
            .is_some_and(|fence| fence.acknowledged.is_some())
    });

    // Only a is not there: its process has stopped, and its data can be written to still.
    pair.cut.store(true, Ordering::Relaxed);
    Mounted::new(&dataset(pair.a.site.data())).write("only-a", "x");
    pair.b_takes_over();
    assert!(!pair.a.node.may_write());
    Mounted::new(&dataset(pair.b.site.data())).write("second", "2");

    // It returns: read-only before anything else.
    pair.a.turn();
    assert_eq!(
        zfs_get("readonly", pair.a.site.state().unwrap().dataset.as_str()),
        "on"
    );
    pair.cut.store(false, Ordering::Relaxed);
    pair.until("a is a replica", |pair| {
        pair.a.role() == Some(Role::Replica) && pair.is_even()
    });
    assert_eq!(names(&seen(&pair.a.site)), ["first", "second"]);
    let kept = pair.a.site.diverged().unwrap();
    assert_eq!(names(&files(&kept[0])), ["first", "only-a"]);

    // By command: the place goes back, and that is undone.
    pair.b.node.inbox().command(Command::HandOver);
    pair.b.turn();
    pair.a
        .node
        .inbox()
        .command(Command::Promote { accept_lag: true });
    pair.until("a took over", |pair| {
        pair.a.role() == Some(Role::Promoted) && pair.a.node.may_write()
    });
    pair.a.node.inbox().command(Command::Undo);
    pair.until("b is the source again", |pair| {
        pair.a.role() == Some(Role::Replica) && pair.b.node.may_write()
    });
    assert_eq!(names(&files(pair.b.site.data())), ["first", "second"]);
}

/// Makes a block of a pool wrong that is on record then, in a dataset that nobody replicates.
fn damage(pool: &TestPool) {
    let victim = pool.root().child("victim").unwrap();
    victim.create(&CreateOptions::filesystem()).unwrap();
    let contents = noise(64 << 10, 99);
    Mounted::new(&victim).write("file", &contents);
    rustix::fs::sync();
    let disk = std::fs::read(pool.file(0)).unwrap();
    let block = disk
        .chunks_exact(512)
        .position(|sector| sector == &contents[..512]);
    let file = OpenOptions::new().write(true).open(pool.file(0)).unwrap();
    file.write_all_at(&[0; 4096], block.unwrap() as u64 * 512)
        .unwrap();
    file.sync_all().unwrap();
    run("zpool", &["scrub", "-w", pool.name()]);
}

/// A source whose pool has damage is replaced if the policy says so, although it can be reached, and
/// stops writing first.
#[test]
fn a_source_with_a_damaged_pool_is_replaced_if_the_policy_says_so() {
    let pool = TestPool::with_layout("rp-sick", 2, &["mirror"]);
    let above = Scratch::new("rp-sick-b");
    let sites = [site(pool.name()), site(above.name())];
    let folder = tempfile::TempDir::with_prefix("helix-zfs-").unwrap();
    // Nobody waits for the lease to end: a gives it back.
    let when = |unhealthy| Policy {
        lease: Duration::from_secs(60),
        automatic: Some(Automatic {
            unreachable_for: None,
            unhealthy,
        }),
        rebuild: false,
        ..policy()
    };
    dataset(sites[0].data())
        .create(&CreateOptions::filesystem())
        .unwrap();

    let mut pair = Pair::new(&sites, folder.path(), &when(false));
    pair.until("a begins", |pair| pair.a.node.may_write());
    let half = pool.file(1);
    run("zpool", &["offline", pool.name(), half.to_str().unwrap()]);
    Mounted::new(&dataset(sites[0].data())).write("first", "1");
    // Half of a mirror is enough.
    pair.until("b follows", |pair| pair.b.source_is_healthy == Some(true));
    damage(&pool);
    assert!(!sites[0].is_healthy().unwrap());
    Mounted::new(&dataset(sites[0].data())).write("second", "2");
    pair.until("b knows", |pair| pair.b.source_is_healthy == Some(false));
    // Nor does it take over when nobody is the source.
    pair.a.node.inbox().command(Command::HandOver);
    pair.until("a gives its lease back", |pair| !pair.a.node.may_write());
    let margin = policy().clock_margin;
    loop {
        pair.b.turn();
        let fence = pair.b.node.state().fence().unwrap();
        assert_eq!((fence.holder.as_str(), fence.epoch), ("a", 1));
        if SystemTime::now() > fence.until + margin * 4 {
            break;
        }
        pair.a.turn();
        std::thread::sleep(Duration::from_millis(10));
    }
    pair.b.turn();
    assert_eq!(pair.b.role(), Some(Role::Replica));

    let mut pair = Pair::new(&sites, folder.path(), &when(true));
    pair.until("b takes over", |pair| pair.b.node.may_write());
    assert_eq!(pair.b.role(), Some(Role::Promoted));
    pair.until("a is fenced", |pair| pair.a.role() == Some(Role::Fenced));
    let old = sites[0].state().unwrap();
    assert_eq!(zfs_get("readonly", old.dataset.as_str()), "on");
    assert_eq!(names(&files(sites[1].data())), ["first", "second"]);
}
