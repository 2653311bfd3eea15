//! Sending, and what resumes it. The `zfs` command is the judge: it makes the same streams, and
//! receives ours.

mod direct;
mod ending;
mod resume;

use crate::support::{Mounted, Scratch, TENANT, TestPool, as_user, noise, run, zfs_get};
use helix_zfs::zfs_core::key::{Encryption, WrappingKey};
use helix_zfs::zfs_core::props::{PropertySet, UserProps};
use helix_zfs::zfs_core::send::{SendOptions, SendStream};
use helix_zfs::zfs_core::{BookmarkName, CreateOptions, Dataset, ErrorKind, Result, Snapshot};
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::process::{Command, Output, Stdio};
use tokio::io::AsyncReadExt;

/// All of a stream that must be complete.
fn read(mut stream: SendStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).expect("read");
    assert_eq!(stream.finish().expect("finished").bytes, bytes.len() as u64);
    bytes
}

/// What the command sends.
fn command(args: &[&str]) -> Vec<u8> {
    let output = crate::support::output("zfs", args);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{args:?}: {message}");
    output.stdout
}

/// A pipe's two ends.
fn pipe() -> (File, File) {
    let ends = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
    let (reader, writer) = ends.expect("a pipe");
    (reader.into(), writer.into())
}

/// A file that holds `bytes`, to be read from its beginning.
fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().expect("a file");
    file.write_all(bytes).expect("written");
    file.rewind().expect("at its beginning");
    file
}

/// Gives a stream to `zfs receive`.
fn receive(bytes: &[u8], args: &[&str]) -> Output {
    Command::new("zfs")
        .arg("receive")
        .args(args)
        .stdin(Stdio::from(file_of(bytes)))
        .output()
        .expect("zfs")
}

/// Gives a stream to a `zfs receive` that must accept it as the snapshot that it is of.
fn received(bytes: &[u8], of: &Snapshot, into: &Dataset) -> Snapshot {
    let name = into.name().as_str();
    let output = receive(bytes, &["-u", name]);
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{name}: {message}");
    let snapshot = into.snapshot(of.name().short()).unwrap();
    assert_eq!(
        snapshot.stat().unwrap().guid,
        of.stat().unwrap().guid,
        "{name}"
    );
    snapshot
}

fn snapshot(dataset: &Dataset, short: &str) -> Snapshot {
    let snapshot = dataset.snapshot(short).unwrap();
    snapshot.create(&UserProps::new()).unwrap();
    snapshot
}

/// A filesystem with blocks of each kind, and two snapshots of it.
fn story(parent: &Dataset, name: &str, options: &[&str]) -> (Snapshot, Snapshot) {
    let dataset = parent.child(name).unwrap();
    let mut args = vec!["create", "-o", "recordsize=1M", "-o", "compression=lz4"];
    args.extend(options);
    args.push(dataset.name().as_str());
    run("zfs", &args);
    let files = Mounted::new(&dataset);
    files.write("large", noise(1 << 20, 1));
    files.write("text", "the same over and over ".repeat(20_000));
    files.write("embedded", "x".repeat(100));
    files.write("gone", noise(300_000, 2));
    let first = snapshot(&dataset, "first");
    files.write("text", "another ".repeat(10_000));
    files.write("new", noise(200_000, 3));
    std::fs::remove_file(files.path("gone")).unwrap();
    (first, snapshot(&dataset, "second"))
}

type Kind = fn(SendOptions) -> SendOptions;

/// Options, and what the command calls them.
fn kinds() -> [(Kind, &'static [&'static str]); 6] {
    [
        (|options| options, &[]),
        (SendOptions::large_blocks, &["-L"]),
        (SendOptions::compressed, &["-c"]),
        (SendOptions::embedded, &["-e"]),
        (
            |options| options.large_blocks().compressed().embedded(),
            &["-L", "-c", "-e"],
        ),
        (SendOptions::raw, &["-w"]),
    ]
}

/// What the command estimates, with arguments as for `zfs send`.
fn commands_estimate(args: &[&str]) -> u64 {
    let mut all = vec!["send", "-nP"];
    all.extend(args);
    let text = run("zfs", &all);
    let size = text.lines().find_map(|line| line.strip_prefix("size\t"));
    size.expect("a size").parse().expect("a number")
}

#[test]
fn every_kind_is_what_the_command_sends() {
    let scratch = Scratch::new("send-kinds");
    let (first, second) = story(&scratch, "a", &[]);
    for (n, (kind, flags)) in kinds().into_iter().enumerate() {
        let target = scratch.child(&format!("to{n}")).unwrap();
        let full = read(first.send(&kind(SendOptions::full())).unwrap());
        let mut args = vec!["send"];
        args.extend(flags);
        args.push(first.name().as_str());
        assert!(full == command(&args), "{args:?}");
        received(&full, &first, &target);
        let step = kind(SendOptions::incremental(&first));
        received(&read(second.send(&step).unwrap()), &second, &target);
    }
    let files = Mounted::new(&scratch.child("to4").unwrap());
    assert!(files.read("large") == noise(1 << 20, 1));
    assert!(files.read("new") == noise(200_000, 3));
    assert!(files.read("text") == "another ".repeat(10_000).as_bytes());
    assert!(!files.path("gone").exists());
}

#[test]
fn from_snapshots_and_bookmarks() {
    let scratch = Scratch::new("send-bases");
    let (first, second) = story(&scratch, "a", &[]);
    let mark = first.bookmark("mark").unwrap();
    let name = second.name().as_str();
    for (options, args) in [
        (SendOptions::full(), &["-c", name][..]),
        (
            SendOptions::incremental(&first),
            &["-c", "-i", first.name().as_str(), name],
        ),
        (
            SendOptions::incremental(&mark),
            &["-c", "-i", mark.name().as_str(), name],
        ),
    ] {
        let options = options.compressed();
        let bytes = read(second.send(&options).unwrap());
        assert!(bytes == command(&[&["send"], args].concat()), "{args:?}");
        let estimate = second.send_size(&options).unwrap();
        assert_eq!(estimate, commands_estimate(args), "{args:?}");
    }
}

#[test]
fn clones_and_volumes() {
    let scratch = Scratch::new("send-clone");
    let (_, second) = story(&scratch, "a", &[]);
    let clone = scratch.child("clone").unwrap();
    second.clone_to(clone.name(), &PropertySet::new()).unwrap();
    let of = snapshot(&clone, "s");
    let bytes = read(of.send(&SendOptions::incremental(&second)).unwrap());
    let args = ["send", "-i", second.name().as_str(), of.name().as_str()];
    assert!(bytes == command(&args));
    // A full stream of a clone stands alone.
    let full = read(of.send(&SendOptions::full()).unwrap());
    received(&full, &of, &scratch.child("alone").unwrap());

    let volume = scratch.child("volume").unwrap();
    volume.create(&CreateOptions::volume(1 << 20)).unwrap();
    let of = snapshot(&volume, "s");
    let bytes = read(of.send(&SendOptions::full()).unwrap());
    assert!(bytes == command(&["send", of.name().as_str()]));
    received(&bytes, &of, &scratch.child("volume2").unwrap());
}

#[test]
fn encrypted_data_goes_raw_without_a_key() {
    let scratch = Scratch::new("send-raw");
    let dataset = scratch.child("secret").unwrap();
    let key = WrappingKey::raw(&[5; 32]);
    dataset
        .create(&CreateOptions::filesystem().encryption(Encryption::aes_256_gcm(&key).unwrap()))
        .unwrap();
    let files = Mounted::new(&dataset);
    files.write("a", noise(300_000, 1));
    let first = snapshot(&dataset, "first");
    files.write("a", noise(300_000, 2));
    let second = snapshot(&dataset, "second");
    drop(files);

    let plain = read(second.send(&SendOptions::full()).unwrap());
    received(&plain, &second, &scratch.child("plain").unwrap());
    dataset.unload_key().unwrap();
    for result in [
        second.send(&SendOptions::full()).map(drop),
        second
            .send_to(
                File::create("/dev/null").unwrap(),
                &SendOptions::full().compressed(),
            )
            .map(drop),
    ] {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::KeyNotLoaded);
    }

    let target = scratch.child("target").unwrap();
    let full = read(first.send(&SendOptions::full().raw()).unwrap());
    assert!(full == command(&["send", "-w", first.name().as_str()]));
    received(&full, &first, &target);
    let step = SendOptions::incremental(&first).raw();
    let bytes = read(second.send(&step).unwrap());
    received(&bytes, &second, &target);
    assert_eq!(zfs_get("keystatus", target.name()), "unavailable");
    target.load_key(&key).unwrap();
    let files = Mounted::new(&target);
    assert!(files.read("a") == noise(300_000, 2));
}

#[test]
fn redacted() {
    let scratch = Scratch::new("send-redact");
    let (_, second) = story(&scratch, "a", &[]);
    let clone = scratch.child("clone").unwrap();
    second.clone_to(clone.name(), &PropertySet::new()).unwrap();
    let files = Mounted::new(&clone);
    files.write("large", noise(1 << 20, 9));
    drop(files);
    let cleaned = snapshot(&clone, "cleaned");
    let (name, cleaned) = (second.name().as_str(), cleaned.name().as_str());
    run("zfs", &["redact", name, "book", cleaned]);

    let book = second.dataset().name().bookmark("book").unwrap();
    let options = SendOptions::full().redacted(&book);
    let bytes = read(second.send(&options).unwrap());
    assert!(bytes == command(&["send", "--redact", "book", name]));
    assert!(bytes.len() < 1 << 20, "the large file is left out");
    assert_eq!(
        second.send_size(&options).unwrap(),
        commands_estimate(&["--redact", "book", name])
    );
    let target = scratch.child("target").unwrap();
    received(&bytes, &second, &target);
    assert!(target.stat().unwrap().redacted);

    let elsewhere = BookmarkName::new(&format!("{}#book", clone.name())).unwrap();
    let ordinary = second.bookmark("ordinary").unwrap();
    let missing = second.dataset().name().bookmark("missing").unwrap();
    for (bookmark, kind) in [
        (&elsewhere, ErrorKind::InvalidArgument),
        (ordinary.name(), ErrorKind::InvalidArgument),
        (&missing, ErrorKind::NotFound),
    ] {
        let options = SendOptions::full().redacted(bookmark);
        for result in [
            second.send(&options).map(drop),
            second.send_size(&options).map(drop),
        ] {
            assert_eq!(result.unwrap_err().kind(), kind, "{bookmark}");
        }
    }
}

#[test]
fn what_cannot_be_sent() {
    let scratch = Scratch::new("send-cannot");
    let (first, second) = story(&scratch, "a", &[]);
    let (other, _) = story(&scratch, "b", &[]);
    let pool = TestPool::new("send-cannot");
    let foreign = snapshot(&pool.root(), "foreign");
    let later = second.bookmark("later").unwrap();
    let missing = first.dataset().snapshot("missing").unwrap();
    let no_mark = first.dataset().bookmark("missing").unwrap();
    let full = SendOptions::full;
    for (snapshot, options, kind) in [
        (&missing, full(), ErrorKind::NotFound),
        (
            &second,
            SendOptions::incremental(&missing),
            ErrorKind::NotFound,
        ),
        (
            &second,
            SendOptions::incremental(&no_mark),
            ErrorKind::NotFound,
        ),
        (
            &second,
            SendOptions::incremental(&other),
            ErrorKind::NotAncestor,
        ),
        (
            &first,
            SendOptions::incremental(&second),
            ErrorKind::NotAncestor,
        ),
        (
            &first,
            SendOptions::incremental(&later),
            ErrorKind::NotAncestor,
        ),
        (
            &second,
            SendOptions::incremental(&second),
            ErrorKind::NotAncestor,
        ),
        (
            &second,
            SendOptions::incremental(&foreign),
            ErrorKind::NotAncestor,
        ),
    ] {
        let error = snapshot.send(&options).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.object().starts_with(snapshot.name().as_str()));
        let error = snapshot.send_size(&options).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        // An estimate that fails keeps the send from being started.
        let error = snapshot.send(&options.estimated()).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
    }
    let error = first.dataset().send_saved().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(first.dataset().resume_token().unwrap(), None);
}

#[test]
fn privileges() {
    let scratch = Scratch::new("send-allow");
    let (first, second) = story(&scratch, "a", &[]);
    let send = || -> Result<Vec<u8>> {
        let tenant = helix_zfs::zfs_core::Zfs::open()?;
        let second = tenant.snapshot(second.name().as_str())?;
        let stream = second.send(&SendOptions::incremental(first.name().clone()))?;
        Ok(read(stream))
    };
    let error = as_user(TENANT, send).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    run("zfs", &["allow", "-u", "tenant", "send", scratch.name()]);
    let bytes = as_user(TENANT, send).unwrap();
    assert!(bytes == send().unwrap());
}

#[test]
fn progress_goes_up_to_the_length() {
    let scratch = Scratch::new("send-progress");
    let dataset = scratch.child("a").unwrap();
    dataset.create(&CreateOptions::filesystem()).unwrap();
    let files = Mounted::new(&dataset);
    files.write("a", noise(4 << 20, 1));
    let of = snapshot(&dataset, "s");
    let mut stream = of.send(&SendOptions::full().estimated()).unwrap();
    let estimate = of.send_size(&SendOptions::full()).unwrap();
    let (mut buffer, mut before, mut steps) = (vec![0; 100_000], 0, 0);
    let mut read = 0;
    loop {
        let progress = stream.progress().unwrap();
        assert_eq!(progress.estimate, Some(estimate));
        assert!(progress.bytes >= before, "{} < {before}", progress.bytes);
        assert!(progress.bytes >= read, "the kernel is ahead");
        steps += usize::from(progress.bytes > before);
        before = progress.bytes;
        match stream.read(&mut buffer).unwrap() {
            0 => break,
            bytes => read += bytes as u64,
        }
    }
    assert!(steps > 3, "{steps}");
    assert_eq!(stream.progress().unwrap().bytes, read);
    assert_eq!(stream.read(&mut buffer).unwrap(), 0, "it stays at its end");
    assert_eq!(stream.finish().unwrap().bytes, read);
    assert!(read.abs_diff(estimate) < read / 10, "{read}, {estimate}");
}

#[test]
fn many_at_once() {
    let scratch = Scratch::new("send-many");
    let (first, second) = story(&scratch, "a", &[]);
    let expected = read(second.send(&SendOptions::full()).unwrap());
    let step = read(second.send(&SendOptions::incremental(&first)).unwrap());
    // All are begun before one is read, so that each has a descriptor of its own to be found by.
    let streams: Vec<SendStream> = (0..8)
        .map(|_| second.send(&SendOptions::full()).unwrap())
        .collect();
    let other = second.send(&SendOptions::incremental(&first)).unwrap();
    assert!(other.progress().unwrap().bytes <= step.len() as u64);
    std::thread::scope(|scope| {
        let threads: Vec<_> = streams
            .into_iter()
            .map(|stream| scope.spawn(move || read(stream)))
            .collect();
        for thread in threads {
            assert!(thread.join().unwrap() == expected);
        }
    });
    assert!(read(other) == step);
}

#[test]
fn for_tokio() {
    let scratch = Scratch::new("send-tokio");
    let (first, second) = story(&scratch, "a", &[]);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .unwrap();
    let asynchronous = async |options: &SendOptions| {
        let mut stream = second.send(options).unwrap().into_async().unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).await.unwrap();
        assert_eq!(stream.progress().unwrap().bytes, bytes.len() as u64);
        assert_eq!(stream.finish().unwrap().bytes, bytes.len() as u64);
        bytes
    };
    runtime.block_on(async {
        let full = asynchronous(&SendOptions::full()).await;
        assert!(full == read(second.send(&SendOptions::full()).unwrap()));
        let options = SendOptions::incremental(&first);
        let (a, b) = (asynchronous(&options), asynchronous(&options));
        let (a, b) = tokio::join!(a, b);
        assert!(a == b);
        // Dropped in the middle.
        let mut stream = second
            .send(&SendOptions::full())
            .unwrap()
            .into_async()
            .unwrap();
        stream.read_exact(&mut [0; 1000]).await.unwrap();
    });
    second.destroy().unwrap();
}
