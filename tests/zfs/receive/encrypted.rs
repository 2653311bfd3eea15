//! Encryption: into encrypted datasets, with a new key, raw.

use super::{Source, assert_same, child, kind, options, snap, zfs_send};
use crate::support::{Mounted, Scratch, noise, zfs_get};
use helix_zfs::zfs_core::key::{Encryption, WrappingKey};
use helix_zfs::zfs_core::props::{KeyStatus, RecordSize};
use helix_zfs::zfs_core::{CreateOptions, Dataset, ErrorKind};

fn key(n: u8) -> WrappingKey {
    WrappingKey::raw(&[n; 32])
}

fn encryption(n: u8) -> Encryption {
    Encryption::aes_256_gcm(&key(n)).unwrap()
}

fn encrypted(dataset: Dataset, n: u8) -> Dataset {
    let options = CreateOptions::filesystem().encryption(encryption(n));
    dataset.create(&options).unwrap();
    dataset
}

#[test]
fn into_an_encrypted_parent_and_with_a_key_of_its_own() {
    let scratch = Scratch::new("recv-encrypt");
    let source = Source::new(&scratch);
    let (full, incremental) = (source.full("one"), source.incremental());
    let parent = encrypted(child(&scratch, "parent"), 1);
    let below = child(&parent, "below");
    below.receive(&full[..], &options()).unwrap();
    assert_eq!(
        zfs_get("encryptionroot", below.name()),
        parent.name().as_str()
    );
    assert_same(&source.name("one"), &format!("{}@one", below.name()));
    // A block that is stored in its pointer cannot be encrypted.
    let embedded = zfs_send(&["-e", &source.name("one")]);
    let error = child(&parent, "embedded")
        .receive(&embedded[..], &options())
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");

    parent.unload_key().unwrap();
    assert_eq!(
        kind(below.receive(&incremental[..], &options())),
        ErrorKind::KeyNotLoaded
    );
    assert_eq!(
        kind(child(&parent, "new").receive(&full[..], &options())),
        ErrorKind::KeyNotLoaded
    );
    parent.load_key(&key(1)).unwrap();
    below.receive(&incremental[..], &options()).unwrap();
    assert_same(&source.name("two"), &format!("{}@two", below.name()));

    let own = child(&scratch, "own");
    own.receive(&full[..], &options().encryption(encryption(2)))
        .unwrap();
    assert_eq!(zfs_get("encryptionroot", own.name()), own.name().as_str());
    assert_eq!(own.encryption().unwrap().unwrap().key, KeyStatus::Available);
    assert_same(&source.name("one"), &format!("{}@one", own.name()));
    own.unload_key().unwrap();
    own.load_key(&key(2)).unwrap();
    let error = own
        .receive(&incremental[..], &options().encryption(encryption(2)))
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.errno()),
        (ErrorKind::InvalidArgument, None)
    );
    // An encrypted dataset is not replaced.
    own.snapshot("one").unwrap().destroy().unwrap();
    assert_eq!(
        kind(own.receive(&full[..], &options().force())),
        ErrorKind::InvalidArgument
    );
}

#[test]
fn raw() {
    let scratch = Scratch::new("recv-raw");
    let source = Source {
        dataset: encrypted(child(&scratch, "source"), 3),
    };
    source.fill();
    let full = zfs_send(&["-w", &source.name("one")]);
    let incremental = zfs_send(&["-w", "-i", "@one", &source.name("two")]);
    // Neither side needs the key.
    source.dataset.unload_key().unwrap();
    let target = child(&scratch, "target");
    target.receive(&full[..], &options()).unwrap();
    assert_eq!(
        target.encryption().unwrap().unwrap().key,
        KeyStatus::Unavailable
    );
    target.receive(&incremental[..], &options()).unwrap();
    source.dataset.load_key(&key(3)).unwrap();
    target.load_key(&key(3)).unwrap();
    assert_same(&source.name("two"), &format!("{}@two", target.name()));

    // Interrupted and resumed, without the key again.
    let resumed = child(&scratch, "resumed");
    let cut = &full[..full.len() - 2000];
    let error = resumed
        .receive(cut, &options().resumable(true))
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Truncated, "{error}");
    let properties = resumed.properties().unwrap();
    let token = properties
        .receive_resume_token()
        .expect("a token")
        .to_owned();
    let rest = zfs_send(&["-t", &token]);
    resumed.receive(&rest[..], &options()).unwrap();
    resumed.load_key(&key(3)).unwrap();
    assert_same(&source.name("one"), &format!("{}@one", resumed.name()));

    // Raw and plain do not mix.
    let error = child(&scratch, "keyed")
        .receive(&full[..], &options().encryption(encryption(4)))
        .unwrap_err();
    assert_eq!(
        (error.kind(), error.errno()),
        (ErrorKind::InvalidArgument, None)
    );
    let plain = child(&scratch, "plain");
    let decrypted = zfs_send(&[&source.name("one")]);
    plain.receive(&decrypted[..], &options()).unwrap();
    assert_eq!(zfs_get("encryption", plain.name()), "off");
    let error = plain.receive(&incremental[..], &options()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");

    // Encrypted anew here, so that the blocks are not those of the source.
    let parent = encrypted(child(&scratch, "parent"), 5);
    let other = child(&parent, "other");
    other.receive(&decrypted[..], &options()).unwrap();
    let error = other.receive(&incremental[..], &options()).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::WrongKey | ErrorKind::IvsetMismatch),
        "{error}"
    );
}

#[test]
fn a_raw_base_that_is_not_the_sources() {
    let scratch = Scratch::new("recv-ivset");
    let source = Source {
        dataset: encrypted(child(&scratch, "source"), 6),
    };
    source.fill();
    // The same snapshots and the same master key, and yet other ciphertext: received in the clear
    // into a clone of the same encryption root.
    let base = child(&source.dataset, "base");
    base.receive(&zfs_send(&[&source.name("one")])[..], &options())
        .unwrap();
    let incremental = zfs_send(&["-w", "-i", "@one", &source.name("two")]);
    let error = base.receive(&incremental[..], &options()).unwrap_err();
    assert!(
        matches!(error.kind(), ErrorKind::WrongKey | ErrorKind::IvsetMismatch),
        "{error}"
    );
    // A snapshot in between, of nothing: what a plain stream would not mind.
    let target = child(&scratch, "target");
    target
        .receive(&zfs_send(&["-w", &source.name("one")])[..], &options())
        .unwrap();
    snap(&target, "between");
    assert_eq!(
        kind(target.receive(&incremental[..], &options())),
        ErrorKind::Modified
    );
    target
        .receive(&incremental[..], &options().force())
        .unwrap();
}

#[test]
fn large_blocks_once_are_large_blocks_always() {
    let scratch = Scratch::new("recv-large");
    let source = child(&scratch, "source");
    source
        .create(&CreateOptions::filesystem().set(RecordSize::new(1 << 20).unwrap()))
        .unwrap();
    let mounted = Mounted::new(&source);
    mounted.write("large", noise(2 << 20, 1));
    let one = snap(&source, "one");
    mounted.write("more", noise(2 << 20, 2));
    let two = snap(&source, "two");
    drop(mounted);
    let target = child(&scratch, "target");
    target
        .receive(&zfs_send(&["-L", &one])[..], &options())
        .unwrap();
    assert_eq!(
        kind(target.receive(&zfs_send(&["-i", "@one", &two])[..], &options())),
        ErrorKind::LargeBlockMismatch
    );
    target
        .receive(&zfs_send(&["-L", "-i", "@one", &two])[..], &options())
        .unwrap();
    assert_same(&two, &format!("{}@two", target.name()));
}
