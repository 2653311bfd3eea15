//! Lists of whole trees, against what the `zfs` command lists.

use crate::examples::{fails, works};
use crate::support::{Mounted, Scratch, TENANT, as_user, output, run, zfs};
use helix_zfs::zfs_core::listing::{Listed, Listing, Order, Row, RowName};
use helix_zfs::zfs_core::props::{Prop, Quota, UserProps};
use helix_zfs::zfs_core::{CreateOptions, Dataset, ErrorKind, Snapshot, SnapshotFilter};
use std::collections::BTreeSet;

const EVERYTHING: Listed = Listed::all();

fn rows(dataset: &Dataset, listing: &Listing) -> Vec<Row> {
    dataset
        .list(listing)
        .unwrap()
        .collect::<Result<_, _>>()
        .unwrap()
}

fn names(rows: &[Row]) -> Vec<String> {
    rows.iter().map(|row| row.name().to_string()).collect()
}

/// A tree with everything in it: names that sort oddly, depth, a volume, a clone, bookmarks,
/// snapshots of one transaction group and of several.
struct Tree {
    scratch: Scratch,
    snapshots: Vec<Snapshot>,
}

impl Tree {
    fn new(topic: &str) -> Self {
        let scratch = Scratch::new(topic);
        let zfs = zfs();
        for name in ["a", "a-b", "a/x", "a/x/y", "b", "b c"] {
            let child = scratch.child(name).unwrap();
            child.create(&CreateOptions::filesystem()).unwrap();
        }
        let volume = CreateOptions::volume(1 << 20);
        scratch.child("a/vol").unwrap().create(&volume).unwrap();
        let mut snapshots = Vec::new();
        for (short, of) in [
            ("z1", &["a", "a/x", "a/vol"][..]),
            ("m2", &["", "a", "a/x", "a/x/y", "a/vol", "b c"]),
            ("a3", &["a", "b c"]),
        ] {
            let batch: Vec<Snapshot> = of
                .iter()
                .map(|name| match *name {
                    "" => scratch.snapshot(short).unwrap(),
                    name => scratch.child(name).unwrap().snapshot(short).unwrap(),
                })
                .collect();
            zfs.create_snapshots(&batch, &UserProps::new().set("helix:n", short).unwrap())
                .unwrap();
            snapshots.extend(batch);
        }
        let clone = scratch.child("clone").unwrap();
        let none = helix_zfs::zfs_core::props::PropertySet::new();
        snapshots[0].clone_to(clone.name(), &none).unwrap();
        snapshots[0].bookmark("later").unwrap();
        snapshots[3].bookmark("mark").unwrap();
        Self { scratch, snapshots }
    }
}

/// What `zfs list` says about a tree. It compares whole names, so that `a-b` comes before `a/x`;
/// here everything below `a` comes before what is beside it.
fn command(arguments: &[&str], dataset: &str) -> Vec<String> {
    let mut all = vec!["list", "-Hpr"];
    all.extend(arguments);
    all.push(dataset);
    let mut lines: Vec<String> = run("zfs", &all).lines().map(str::to_owned).collect();
    let components = |line: &String| -> Vec<String> {
        let name = line.split(['\t', '@', '#']).next().unwrap_or_default();
        name.split('/').map(str::to_owned).collect()
    };
    // Snapshots stay in their order.
    lines.sort_by_key(components);
    lines
}

fn is_sorted_as(listing: &Listing, tree: &Tree, arguments: &[&str]) {
    let told = command(arguments, tree.scratch.name());
    assert_eq!(names(&rows(&tree.scratch, listing)), told, "{arguments:?}");
    let threads = listing.clone().threads(3);
    assert_eq!(names(&rows(&tree.scratch, &threads)), told, "{arguments:?}");
    let set = |names: Vec<String>| names.into_iter().collect::<BTreeSet<String>>();
    let any = listing.clone().order(Order::Any);
    for listing in [any.clone(), any.threads(3)] {
        let found = names(&rows(&tree.scratch, &listing));
        assert_eq!(found.len(), told.len(), "{listing:?}");
        assert_eq!(set(found), set(told.clone()), "{listing:?}");
    }
}

#[test]
fn names_come_as_the_command_has_them() {
    let tree = Tree::new("list-names");
    let datasets = Listing::new(Listed::DATASETS);
    is_sorted_as(&datasets, &tree, &["-o", "name", "-t", "filesystem,volume"]);
    is_sorted_as(
        &datasets.clone().depth(1),
        &tree,
        &["-o", "name", "-t", "filesystem,volume", "-d", "1"],
    );
    is_sorted_as(
        &Listing::new(Listed::VOLUMES),
        &tree,
        &["-o", "name", "-t", "volume"],
    );
    is_sorted_as(
        &Listing::new(Listed::FILESYSTEMS).property(Prop::Used),
        &tree,
        &["-o", "name", "-t", "filesystem"],
    );
    let snapshots = Listing::new(Listed::SNAPSHOTS);
    is_sorted_as(&snapshots, &tree, &["-o", "name", "-t", "snapshot"]);
    is_sorted_as(
        &snapshots.clone().property(Prop::Creation),
        &tree,
        &["-o", "name", "-t", "snapshot"],
    );
    is_sorted_as(
        &snapshots.order(Order::Name),
        &tree,
        &["-o", "name", "-t", "snapshot", "-s", "name"],
    );
    // The command puts a dataset's bookmarks among its snapshots.
    let told: BTreeSet<_> = command(&["-o", "name", "-t", "all"], tree.scratch.name())
        .into_iter()
        .collect();
    let all = rows(&tree.scratch, &Listing::new(EVERYTHING));
    assert_eq!(names(&all).into_iter().collect::<BTreeSet<_>>(), told);
    let of_a: Vec<String> = names(&all)
        .into_iter()
        .filter_map(|name| Some(name.strip_prefix(tree.scratch.name())?.to_owned()))
        .filter(|name| name.starts_with("/a@") || name.starts_with("/a#"))
        .collect();
    // Bookmarks by the age of what they were made from.
    assert_eq!(of_a, ["/a@z1", "/a@m2", "/a@a3", "/a#later"]);
}

#[test]
fn columns_are_those_of_the_command() {
    let tree = Tree::new("list-columns");
    tree.scratch
        .child("a")
        .unwrap()
        .set(Quota(1 << 30))
        .unwrap();
    let columns = [
        Prop::Type,
        Prop::Creation,
        Prop::Used,
        Prop::Referenced,
        Prop::Quota,
        Prop::RecordSize,
        Prop::Guid,
        Prop::CreateTxg,
        Prop::Origin,
        Prop::UserRefs,
        Prop::CompressRatio,
        Prop::Utf8Only,
        Prop::VolSize,
    ];
    let listing = Listing::new(Listed::DATASETS | Listed::SNAPSHOTS)
        .properties(columns)
        .user_property("helix:n");
    let chosen: Vec<&str> = columns.iter().map(|prop| prop.name()).collect();
    let chosen = format!("name,{},helix:n", chosen.join(","));
    let kinds = "filesystem,volume,snapshot";
    let told = command(&["-t", kinds, "-o", &chosen], tree.scratch.name());
    let line = |row: &Row| {
        let value = |prop: &Prop| match row.get(*prop) {
            Some(value) if value.to_string().is_empty() => String::from("-"),
            // Ratios have an x, and no quota is a zero.
            Some(value) => value.to_string(),
            None => String::from("-"),
        };
        let mut fields = vec![row.name().to_string()];
        fields.extend(columns.iter().map(value));
        fields.push(row.user("helix:n").unwrap_or("-").to_owned());
        fields.join("\t")
    };
    for listing in [listing.clone(), listing.clone().threads(2)] {
        let ours: Vec<String> = rows(&tree.scratch, &listing).iter().map(line).collect();
        assert_eq!(ours, told);
    }
    // What was not asked for is not there, although the kernel told it.
    let snapshot = &tree.snapshots[0];
    let used = Listing::new(Listed::SNAPSHOTS).property(Prop::Used);
    let found = rows(&tree.scratch, &used);
    let row = found
        .iter()
        .find(|row| row.name().as_str() == snapshot.name().as_str())
        .unwrap();
    assert_eq!(
        row.number(Prop::Used),
        Some(snapshot.properties().unwrap().used())
    );
    assert_eq!((row.get(Prop::Creation), row.user("helix:n")), (None, None));
    assert!(row.properties().is_none());
    assert_eq!(row.stats().unwrap().clones, 1);
    // As JSON.
    let json = serde_json::to_value(row).unwrap();
    let expected = serde_json::json!({
        "name": snapshot.name().as_str(),
        "type": "snapshot",
        "kind": "filesystem",
        "guid": row.stats().unwrap().guid,
        "createtxg": row.stats().unwrap().create_txg,
        "properties": {"used": row.number(Prop::Used).unwrap()},
        "user": {},
    });
    assert_eq!(json, expected);
    // All of them, as they are read one by one.
    let all = Listing::new(Listed::DATASETS | Listed::SNAPSHOTS).all_properties();
    for row in rows(&tree.scratch, &all) {
        let alone = match row.name() {
            RowName::Dataset(name) => zfs().dataset(name.as_str()).unwrap().properties(),
            RowName::Snapshot(name) => zfs().snapshot(name.as_str()).unwrap().properties(),
            RowName::Bookmark(name) => panic!("{name}"),
        };
        let (alone, listed) = (alone.unwrap(), row.properties().unwrap());
        assert_eq!(listed.raw().len(), alone.raw().len(), "{}", row.name());
        for prop in [Prop::Guid, Prop::CreateTxg, Prop::Type, Prop::Quota] {
            assert_eq!(row.get(prop), alone.get(prop), "{} {prop}", row.name());
        }
    }
}

#[test]
fn the_example_prints_the_same() {
    let tree = Tree::new("list-example");
    let name = tree.scratch.name();
    let columns = "name,creation,used,quota,helix:n";
    let told = command(&["-t", "filesystem,volume,snapshot", "-o", columns], name);
    let arguments = [name, "creation", "used", "quota", "helix:n"];
    let told = |ours: String| {
        let mut lines: Vec<String> = ours.lines().map(str::to_owned).collect();
        let same = lines == told;
        lines.sort();
        let mut sorted = told.clone();
        sorted.sort();
        assert_eq!(lines, sorted);
        same
    };
    assert!(told(works("fast_list", &arguments)), "not in order");
    let any = [&["--any", "--threads", "2"][..], &arguments].concat();
    told(works("fast_list", &any));
    assert!(fails("fast_list", &[name, "nonsense"]).contains("no property nonsense"));
}

#[test]
fn stats_and_ages() {
    let tree = Tree::new("list-stats");
    let all = Listing::new(EVERYTHING).stats();
    for row in rows(&tree.scratch, &all) {
        let stats = row.stats().unwrap();
        let (guid, txg, clones, origin) = match row.name() {
            RowName::Dataset(name) => {
                let entry = zfs().dataset(name.as_str()).unwrap().stat().unwrap();
                assert_eq!(row.kind(), entry.kind);
                (entry.guid, entry.create_txg, 0, entry.origin)
            }
            RowName::Snapshot(name) => {
                let entry = zfs().snapshot(name.as_str()).unwrap().stat().unwrap();
                assert_eq!(row.kind(), entry.kind);
                (entry.guid, entry.create_txg, entry.clones, None)
            }
            RowName::Bookmark(name) => {
                let dataset = zfs().dataset(name.dataset_str()).unwrap();
                let entry = dataset.bookmark(name.short()).unwrap().stat().unwrap();
                assert_eq!(row.bookmark(), Some(&entry));
                (entry.guid, entry.create_txg, 0, None)
            }
        };
        let told = (stats.guid, stats.create_txg, stats.clones, &stats.origin);
        assert_eq!(told, (guid, txg, clones, &origin), "{}", row.name());
    }
    // From the second batch on.
    let txg = tree.snapshots[3].stat().unwrap().create_txg;
    let newer = SnapshotFilter::new().min_txg(txg);
    let listing = Listing::new(Listed::SNAPSHOTS | Listed::BOOKMARKS).created(newer);
    let expected: BTreeSet<String> = tree.snapshots[3..]
        .iter()
        .map(|snapshot| snapshot.name().to_string())
        .chain([format!("{}#mark", tree.scratch.name())])
        .collect();
    for order in [Order::Age, Order::Name, Order::Any] {
        let found = names(&rows(&tree.scratch, &listing.clone().order(order)));
        assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), expected);
    }
    let never = Listing::new(Listed::SNAPSHOTS).created(SnapshotFilter::new().max_txg(0));
    assert!(rows(&tree.scratch, &never).is_empty());
    // The snapshots of one dataset, as before.
    let entries = tree.scratch.child("a").unwrap();
    let entries = entries.snapshots(&SnapshotFilter::new()).unwrap();
    let shorts: Vec<&str> = entries.iter().map(|entry| entry.name.short()).collect();
    assert_eq!(shorts, ["z1", "m2", "a3"]);
}

#[test]
fn failures_and_who_may() {
    let scratch = Scratch::new("list-fail");
    let missing = scratch.child("none").unwrap();
    for threads in [1, 2] {
        let listing = Listing::new(EVERYTHING).threads(threads);
        let error = missing.list(&listing).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(
            error.to_string().contains(missing.name().as_str()),
            "{error}"
        );
    }
    // Everybody may list.
    let child = scratch.child("child").unwrap();
    child.create(&CreateOptions::filesystem()).unwrap();
    let snapshot = child.snapshot("s").unwrap();
    snapshot.create(&UserProps::new()).unwrap();
    let listing = Listing::new(EVERYTHING)
        .all_properties()
        .property(Prop::Version);
    let seen = as_user(TENANT, || rows(&scratch, &listing).len());
    assert_eq!(seen, 3);
    // What goes while the list is made is left out, or was there.
    for listing in [listing.clone(), listing.threads(2)] {
        let mut list = scratch.list(&listing).unwrap();
        let first = list.next().unwrap().unwrap();
        assert_eq!(first.name().as_str(), scratch.name());
        if output("zfs", &["destroy", snapshot.name().as_str()])
            .status
            .success()
        {
            output("zfs", &["destroy", child.name().as_str()]);
        }
        for row in list {
            let row = row.unwrap();
            assert!(row.name().as_str().starts_with(child.name().as_str()));
        }
        child.create(&CreateOptions::filesystem()).unwrap();
        snapshot.create(&UserProps::new()).unwrap();
    }
}

/// Many objects, so that the kernel's list comes in parts and threads run into their limit.
#[test]
fn many_and_not_held() {
    let scratch = Scratch::new("list-many");
    let children: Vec<Dataset> = (0..20)
        .map(|n| scratch.child(&format!("c{n:02}")).unwrap())
        .collect();
    // Together they wait for the same transaction groups.
    std::thread::scope(|scope| {
        for child in &children {
            scope.spawn(|| child.create(&CreateOptions::filesystem()).unwrap());
        }
    });
    let batch = children.iter().map(|child| child.snapshot("all").unwrap());
    let batch: Vec<Snapshot> = batch.collect();
    zfs().create_snapshots(&batch, &UserProps::new()).unwrap();
    for n in 0..18 {
        let one = children[0].snapshot(&format!("s{n}")).unwrap();
        one.create(&UserProps::new()).unwrap();
    }
    for order in [Order::Age, Order::Name, Order::Any] {
        for threads in [1, 4] {
            let listing = Listing::new(Listed::DATASETS | Listed::SNAPSHOTS)
                .order(order)
                .threads(threads);
            let all = names(&rows(&scratch, &listing));
            assert_eq!(all.len(), 21 + 38, "{order:?} {threads}");
            let set: BTreeSet<&String> = all.iter().collect();
            assert_eq!(set.len(), all.len(), "{order:?} {threads}");
            // A list that nobody takes to its end leaves nothing behind that waits.
            let mut part = scratch.list(&listing).unwrap();
            assert!(part.by_ref().take(7).all(|row| row.is_ok()));
            drop(part);
        }
    }
    // A mount keeps no list from being made.
    let mounted = Mounted::new(&children[0]);
    mounted.write("f", b"x");
    assert_eq!(rows(&children[0], &Listing::new(EVERYTHING)).len(), 20);
}
