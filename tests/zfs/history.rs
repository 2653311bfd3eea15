//! The pool's history: what we write, and that we read what the command reads.

use crate::support::{Scratch, TENANT, TestPool, as_user, output, run, zfs};
use helix_zfs::zfs_core::history::{HistoryEvent, HistoryRecord};
use helix_zfs::zfs_core::key::{Encryption, MIN_PBKDF2_ITERATIONS, WrappingKey};
use helix_zfs::zfs_core::props::{
    Atime, Compression, EncryptionAlgorithm, Prop, PropertySet, Quota, UserProps,
};
use helix_zfs::zfs_core::receive::ReceiveOptions;
use helix_zfs::zfs_core::send::SendOptions;
use helix_zfs::zfs_core::{
    BookmarkSource, CreateOptions, ErrorKind, Grantee, NewBookmark, Owner, Permission, Reach, Zfs,
};
use std::io::Read;
use std::path::Path;

fn records(zfs: &Zfs, pool: &str) -> Vec<HistoryRecord> {
    zfs.pool(pool)
        .unwrap()
        .history()
        .collect::<Result<_, _>>()
        .unwrap()
}

/// The lines that were written in the name of `program`, without that.
fn lines_of(program: &str, records: &[HistoryRecord]) -> Vec<String> {
    records
        .iter()
        .filter_map(|record| record.command()?.strip_prefix(program)?.strip_prefix(": "))
        .map(str::to_owned)
        .collect()
}

/// What the command prints, in Greenwich. The one of 2.4 prints what is no text after the word
/// `input:` of a request that had no other argument than a key.
fn command_history(args: &[&str]) -> String {
    let output = output("env", &[&["TZ=UTC", "zpool", "history"], args].concat());
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

const HEX: &str = "feedfacefeedfacefeedfacefeedfacefeedfacefeedfacefeedfacefeedface";
const PASSPHRASE: &str = "a very secret passphrase";
const RAW: [u8; 32] = [0xa5; 32];

#[test]
fn every_change_leaves_one_line_and_no_secret() {
    let pool = TestPool::new("lines");
    let zfs = zfs().with_program_name("helixd");
    assert_eq!(zfs.program_name(), Some("helixd"));
    let p = pool.name();
    let mut expected: Vec<String> = Vec::new();
    let mut expect = |line: String| expected.push(line.replace("POOL", p));
    let root = zfs.dataset(p).unwrap();

    let a = root.child("a").unwrap();
    let options = CreateOptions::filesystem()
        .set(Quota(64 << 20))
        .set(Compression::Lz4)
        .user("helix:note", "it's new")
        .unwrap();
    a.create(&options).unwrap();
    expect(
        r"zfs create -u -o quota=67108864 -o compression=lz4 -o 'helix:note=it'\''s new' POOL/a"
            .into(),
    );
    let volume = root.child("v").unwrap();
    volume.create(&CreateOptions::volume(1 << 20)).unwrap();
    expect("zfs create -u -s -V 1048576 POOL/v".into());
    // What fails leaves nothing.
    a.create(&CreateOptions::filesystem()).unwrap_err();
    volume.rename(a.name()).unwrap_err();

    a.set(Atime(false)).unwrap();
    expect("zfs set atime=off POOL/a".into());
    a.set_user(&UserProps::new().set("x:y", "two\nlines").unwrap())
        .unwrap();
    expect(r"zfs set 'x:y=two\nlines' POOL/a".into());
    a.inherit(Prop::Atime).unwrap();
    expect("zfs inherit atime POOL/a".into());
    a.revert_to_received("x:y").unwrap();
    expect("zfs inherit -S x:y POOL/a".into());
    a.set_owner_quota(&Owner::User(1000), Some(1 << 20))
        .unwrap();
    expect("zfs set userquota@1000=1048576 POOL/a".into());

    let grantee = Grantee::User(TENANT, Reach::Local);
    let permissions = [Permission::SNAPSHOT, Permission::MOUNT];
    a.allow(&grantee, &permissions).unwrap();
    expect("zfs allow -u 1000 -l snapshot,mount POOL/a".into());
    a.unallow_all(&grantee).unwrap();
    expect("zfs unallow -u 1000 -l POOL/a".into());

    let first = a.snapshot("first").unwrap();
    let props = UserProps::new().set("helix:git_sha", "4be1f2c").unwrap();
    zfs.create_snapshots(
        &[&first.name(), &volume.snapshot("first").unwrap().name()],
        &props,
    )
    .unwrap();
    expect("zfs snapshot -o helix:git_sha=4be1f2c POOL/a@first POOL/v@first".into());
    first.hold("a hold").unwrap();
    expect("zfs hold 'a hold' POOL/a@first".into());
    first.release("a hold").unwrap();
    expect("zfs release 'a hold' POOL/a@first".into());
    // Placed with a line, and gone without one.
    drop(zfs.hold_until_drop(&[first.name()], "passing").unwrap());
    expect("zfs hold passing POOL/a@first".into());
    let mark = a.bookmark("mark").unwrap();
    let source = BookmarkSource::from(first.name().clone());
    zfs.create_bookmarks(&[NewBookmark::new(mark.name().clone(), source)])
        .unwrap();
    expect("zfs bookmark POOL/a@first POOL/a#mark".into());
    mark.destroy().unwrap();
    expect("zfs destroy POOL/a#mark".into());
    a.rollback().unwrap();
    expect("zfs rollback POOL/a@first".into());
    a.rollback_to("first").unwrap();
    expect("zfs rollback POOL/a@first".into());
    let second = first.rename("second").unwrap();
    expect("zfs rename POOL/a@first POOL/a@second".into());
    let second = second.rename_recursive("third").unwrap();
    expect("zfs rename -r POOL/a@second POOL/a@third".into());
    let clone = root.child("clone").unwrap();
    second
        .clone_to(clone.name(), &PropertySet::new().set(Quota(1 << 20)))
        .unwrap();
    expect("zfs clone -o quota=1048576 POOL/a@third POOL/clone".into());
    clone.promote().unwrap();
    expect("zfs promote POOL/clone".into());
    let clone = clone.rename(root.child("b").unwrap().name()).unwrap();
    expect("zfs rename -u POOL/clone POOL/b".into());

    let mut stream = Vec::new();
    let third = clone.snapshot("third").unwrap();
    third
        .send(&SendOptions::full())
        .unwrap()
        .read_to_end(&mut stream)
        .unwrap();
    let received = root.child("received").unwrap();
    let options = ReceiveOptions::new().resumable(true).set(Quota(8 << 20));
    received.receive(stream.as_slice(), &options).unwrap();
    expect("zfs receive -u -s -o quota=8388608 POOL/received@third".into());
    // Half of it leaves no line, for nothing is done yet; giving up is a change.
    let half = root.child("half").unwrap();
    half.receive(&stream[..stream.len() - 400], &options)
        .unwrap_err();
    half.abort_receive().unwrap();
    expect("zfs receive -A POOL/half".into());

    a.destroy().unwrap();
    expect("zfs destroy POOL/a".into());
    received.snapshot("third").unwrap().destroy().unwrap();
    expect("zfs destroy POOL/received@third".into());
    zfs.destroy_snapshots_deferred(&[third.name()]).unwrap();
    expect("zfs destroy -d POOL/b@third".into());

    let encryption = |key: &WrappingKey| {
        Encryption::new(EncryptionAlgorithm::Aes256Gcm, key, MIN_PBKDF2_ITERATIONS).unwrap()
    };
    let secret = root.child("secret").unwrap();
    let key = WrappingKey::hex(HEX).unwrap();
    secret
        .create(&CreateOptions::filesystem().encryption(encryption(&key)))
        .unwrap();
    expect(
        "zfs create -u -o encryption=aes-256-gcm -o keylocation=prompt -o keyformat=hex POOL/secret"
            .into(),
    );
    secret.unload_key().unwrap();
    expect("zfs unload-key POOL/secret".into());
    secret.verify_key(&key).unwrap();
    secret.load_key(&key).unwrap();
    expect("zfs load-key POOL/secret".into());
    let passphrase = WrappingKey::passphrase(PASSPHRASE).unwrap();
    secret
        .change_key_with(&passphrase, MIN_PBKDF2_ITERATIONS)
        .unwrap();
    expect("zfs change-key -o keyformat=passphrase -o pbkdf2iters=100000 POOL/secret".into());
    secret.change_key(&WrappingKey::raw(&RAW)).unwrap();
    expect("zfs change-key -o keyformat=raw POOL/secret".into());

    // Nobody's name, and nobody's line.
    let silent = zfs.clone().without_history();
    assert_eq!(silent.program_name(), None);
    silent.dataset(p).unwrap().set(Atime(false)).unwrap();

    let records = records(&zfs, p);
    let lines = lines_of("helixd", &records);
    for (line, expected) in lines.iter().zip(&expected) {
        assert_eq!(line, expected);
    }
    assert_eq!(lines.len(), expected.len(), "{lines:#?}");
    // The command's own is there as well: the pool's creation, and no other.
    let commands = records.iter().filter(|r| r.command().is_some()).count();
    assert_eq!(commands, lines.len() + 1);
    let written = lines_at(&records, "helixd: zfs promote");
    assert_eq!(
        (written.user, written.zone.as_deref()),
        (Some(0), Some("linux"))
    );
    assert_eq!(written.host, Some(run("uname", &["-n"]).trim().to_owned()));

    let all = format!("{records:?}") + &command_history(&["-il", p]);
    let raw_in_decimal = "165, 165, 165";
    for secret in [
        HEX,
        PASSPHRASE,
        "feedface",
        "wkeydata",
        raw_in_decimal,
        "a5a5a5",
    ] {
        assert!(!all.contains(secret), "{secret} is in the history");
    }
}

fn lines_at<'r>(records: &'r [HistoryRecord], line: &str) -> &'r HistoryRecord {
    records
        .iter()
        .find(|record| {
            record
                .command()
                .is_some_and(|command| command.starts_with(line))
        })
        .expect("a record")
}

/// `YYYY-MM-DD.HH:MM:SS`
fn date(seconds: u64) -> String {
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years that begin in March, in eras of 400 years.
    let days = days + 719_468;
    let (era, day) = (days / 146_097, days % 146_097);
    let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let day = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    let year = year + era * 400 + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3_600, rest / 60 % 60, rest % 60);
    format!("{year}-{month:02}-{day:02}.{hour:02}:{minute:02}:{second:02}")
}

/// The first line of a record as `zpool history -il` prints it, and the last one if it is another.
fn printed(record: &HistoryRecord) -> (String, Option<String>) {
    let time = record.time.map(date).unwrap_or_default();
    let mut by = String::from(" [");
    match record.user {
        Some(0) => by += "user 0 (root) ",
        Some(other) => by += &format!("user {other} "),
        // The kernel by itself.
        None => {}
    }
    by += &format!("on {}", record.host.as_ref().unwrap());
    if let Some(zone) = &record.zone {
        by += &format!(":{zone}");
    }
    by.push(']');
    match &record.event {
        HistoryEvent::Request { name, elapsed, .. } => {
            let elapsed = elapsed.unwrap().as_millis();
            (format!("{time} ({elapsed}ms) ioctl {name}"), Some(by))
        }
        other => (format!("{time} {other}{by}"), None),
    }
}

#[test]
fn we_read_what_the_command_reads() {
    let pool = TestPool::files("read", 1);
    std::fs::OpenOptions::new()
        .write(true)
        .open(pool.file(0))
        .unwrap()
        .set_len(600 << 20)
        .unwrap();
    pool.create(&[pool.file(0).to_str().unwrap()]);
    let zfs = zfs();
    let p = pool.name();
    let compare = |what: &str| {
        let ours = records(&zfs, p);
        let text = command_history(&["-il", p]);
        let mut theirs = text.lines();
        for record in &ours {
            let (first, last) = printed(record);
            for line in [Some(first), last].into_iter().flatten() {
                assert!(
                    theirs.any(|theirs| theirs == line),
                    "{what}: the command does not print {line:.300}"
                );
            }
        }
        // Nor did we leave any out: each ends with who did it.
        let host = ours[0].host.as_ref().unwrap();
        let ends = [format!("on {host}]"), format!("on {host}:linux]")];
        let is_end = |line: &&str| ends.iter().any(|end| line.ends_with(end));
        let count = text.lines().filter(is_end).count();
        assert_eq!(ours.len(), count, "{what}");
        ours
    };
    run("zfs", &["snapshot", "-r", &format!("{p}@by-the-command")]);
    let snapshot = zfs.dataset(p).unwrap().snapshot("by-us").unwrap();
    snapshot
        .create(&UserProps::new().set("x:y", "z").unwrap())
        .unwrap();
    snapshot.destroy().unwrap();
    let ours = compare("short");
    // What the kernel noted while it made the pool is before that.
    let creation = |records: &[HistoryRecord]| {
        let first = records.iter().find_map(HistoryRecord::command).unwrap();
        assert!(first.starts_with("zpool create"), "{first}");
    };
    creation(&ours);
    let request = ours
        .iter()
        .find_map(|record| match &record.event {
            HistoryEvent::Request { name, input, .. } if name == "snapshot" => Some(input)
                .filter(|input| input.list("snaps").unwrap().flag(snapshot.name().as_str())),
            _ => None,
        })
        .expect("the request with its arguments");
    assert_eq!(request.list("props").unwrap().str("x:y"), Some("z"));
    assert!(
        request
            .list("snaps")
            .unwrap()
            .flag(snapshot.name().as_str())
    );
    let destroyed = ours.iter().any(|record| {
        matches!(&record.event, HistoryEvent::Internal { name, dataset: Some((of, _)), txg: Some(_), .. }
            if name == "destroy" && of == snapshot.name().as_str())
    });
    assert!(destroyed);

    // Records of 8 KiB, more than are read at once: some straddle two reads.
    let long = |seed: usize| {
        (0..24).fold(UserProps::new(), |props, n| {
            let value = char::from(b'a' + u8::try_from(seed).unwrap()).to_string();
            props
                .set(&format!("long:{n}"), &value.repeat(8_000 + n))
                .unwrap()
        })
    };
    let root = zfs.dataset(p).unwrap();
    root.set_user(&long(0)).unwrap();
    let ours = compare("long");
    let events_with = |records: &[HistoryRecord], text: &str| {
        let has = |record: &&HistoryRecord| {
            record.command().is_none() && record.event.to_string().contains(text)
        };
        records.iter().filter(has).count()
    };
    let a = "a".repeat(8_000);
    assert_eq!(events_with(&ours, &a), 24);
    let line = format!("{}: zfs set long:0=aaa", zfs.program_name().unwrap());
    let cut = lines_at(&ours, &line).command().unwrap();
    assert!(cut.len() <= 8_192 && cut.ends_with(" (cut)"));

    // Until the oldest are overwritten.
    for seed in 1..4 {
        root.set_user(&long(seed)).unwrap();
    }
    let ours = compare("wrapped");
    creation(&ours);
    assert!(events_with(&ours, &a) < 24);
}

#[test]
fn reading_fails_with_a_reason_and_once() {
    let scratch = Scratch::new("history-denied");
    let kind = |pool: &str| {
        let mut history = zfs().pool(pool).unwrap().history();
        let error = history.next().unwrap().unwrap_err();
        assert!(history.next().is_none(), "it ends after an error");
        error.kind()
    };
    assert_eq!(kind("hz-no-such-pool"), ErrorKind::NotFound);
    let pool = scratch.name().split('/').next().unwrap();
    assert_eq!(as_user(TENANT, || kind(pool)), ErrorKind::PermissionDenied);
}

#[test]
fn an_unprivileged_user_is_named() {
    let scratch = Scratch::new("history-user");
    run("zfs", &["allow", "tenant", "snapshot", scratch.name()]);
    as_user(TENANT, || {
        let zfs = Zfs::open().unwrap();
        let dataset = zfs.dataset(scratch.name()).unwrap();
        dataset
            .snapshot("mine")
            .unwrap()
            .create(&UserProps::new())
            .unwrap();
    });
    let zfs = zfs();
    let program = zfs.program_name().unwrap();
    // As the shell names it.
    let executable = std::env::current_exe().unwrap();
    assert_eq!(
        Path::new(program),
        Path::new(executable.file_name().unwrap())
    );
    let pool = scratch.name().split('/').next().unwrap();
    let line = format!("{program}: zfs snapshot {}@mine", scratch.name());
    let all = records(&zfs, pool);
    let mine: Vec<_> = all
        .iter()
        .filter(|record| record.command() == Some(&line))
        .collect();
    assert_eq!(mine.len(), 1, "{line}");
    assert_eq!(mine[0].user, Some(u64::from(TENANT)));
    // Whoever reads it with the command sees it, too.
    assert!(command_history(&[pool]).contains(&line));
}
