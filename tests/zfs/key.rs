//! Encryption: keys made by us for the `zfs` command, and the reverse.

use crate::support::{Mounted, Scratch, noise, output, run, zfs_get};
use helix_zfs::zfs_core::key::{Encryption, MIN_PBKDF2_ITERATIONS, WrappingKey};
use helix_zfs::zfs_core::props::{EncryptionAlgorithm, KeyStatus, PropertySet, UserProps};
use helix_zfs::zfs_core::{CreateOptions, Dataset, ErrorKind};
use std::io::Write;
use std::process::{Command, Stdio};

const HEX: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
const PASSPHRASE: &str = "correct horse battery staple";

fn encrypted(parent: &Scratch, name: &str, key: &WrappingKey) -> Dataset {
    let dataset = parent.child(name).unwrap();
    // The fewest iterations: stretching is slow in an emulated guest.
    let encryption =
        Encryption::new(EncryptionAlgorithm::Aes256Gcm, key, MIN_PBKDF2_ITERATIONS).unwrap();
    dataset
        .create(&CreateOptions::filesystem().encryption(encryption))
        .unwrap();
    dataset
}

fn status(dataset: &Dataset) -> KeyStatus {
    dataset.encryption().unwrap().expect("encrypted").key
}

/// Runs the `zfs` command with a key on its standard input.
fn zfs_with_key(args: &[&str], key: &[u8]) {
    let mut child = Command::new("zfs")
        .args(args)
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(key).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success(),
        "{args:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
}

#[test]
fn our_keys_open_for_the_command() {
    let scratch = Scratch::new("key-ours");
    let raw = [7_u8; 32];
    for (name, key, input) in [
        ("raw", WrappingKey::raw(&raw), &raw[..]),
        ("hex", WrappingKey::hex(HEX).unwrap(), HEX.as_bytes()),
        (
            "passphrase",
            WrappingKey::passphrase(PASSPHRASE).unwrap(),
            PASSPHRASE.as_bytes(),
        ),
    ] {
        let dataset = encrypted(&scratch, name, &key);
        assert_eq!(zfs_get("keyformat", dataset.name()), name);
        assert_eq!(zfs_get("encryption", dataset.name()), "aes-256-gcm");
        assert_eq!(zfs_get("keylocation", dataset.name()), "prompt");
        assert_eq!(
            zfs_get("encryptionroot", dataset.name()),
            dataset.name().as_str()
        );
        assert_eq!(status(&dataset), KeyStatus::Available);
        dataset.unload_key().unwrap();
        assert_eq!(status(&dataset), KeyStatus::Unavailable);
        zfs_with_key(&["load-key", dataset.name().as_str()], input);
        assert_eq!(status(&dataset), KeyStatus::Available, "{name}");
    }
}

#[test]
fn the_commands_keys_open_for_us() {
    let scratch = Scratch::new("key-theirs");
    let raw = [9_u8; 32];
    for (format, key, input) in [
        ("raw", WrappingKey::raw(&raw), &raw[..]),
        ("hex", WrappingKey::hex(HEX).unwrap(), HEX.as_bytes()),
        (
            "passphrase",
            WrappingKey::passphrase(PASSPHRASE).unwrap(),
            PASSPHRASE.as_bytes(),
        ),
    ] {
        let dataset = scratch.child(format).unwrap();
        let keyformat = format!("keyformat={format}");
        let mut args = vec!["create", "-o", "encryption=on", "-o", &keyformat];
        if format == "passphrase" {
            args.extend(["-o", "pbkdf2iters=100000"]);
        }
        args.extend(["-o", "keylocation=prompt", dataset.name().as_str()]);
        zfs_with_key(&args, input);
        run("zfs", &["unload-key", dataset.name().as_str()]);
        dataset.verify_key(&key).unwrap();
        assert_eq!(
            status(&dataset),
            KeyStatus::Unavailable,
            "verifying loads nothing"
        );
        dataset.load_key(&key).unwrap();
        assert_eq!(status(&dataset), KeyStatus::Available);
        // Verifying works while a key is loaded, too.
        dataset.verify_key(&key).unwrap();
    }
}

#[test]
fn wrong_keys_and_wrong_times() {
    let scratch = Scratch::new("key-wrong");
    let (right, wrong) = (WrappingKey::raw(&[1; 32]), WrappingKey::raw(&[2; 32]));
    let dataset = encrypted(&scratch, "a", &right);
    assert_eq!(
        dataset.load_key(&right).unwrap_err().kind(),
        ErrorKind::KeyLoaded
    );
    assert_eq!(
        dataset.verify_key(&wrong).unwrap_err().kind(),
        ErrorKind::WrongKey
    );
    let mounted = Mounted::new(&dataset);
    assert_eq!(dataset.unload_key().unwrap_err().kind(), ErrorKind::Busy);
    drop(mounted);
    dataset.unload_key().unwrap();
    assert_eq!(
        dataset.unload_key().unwrap_err().kind(),
        ErrorKind::KeyNotLoaded
    );
    let error = dataset.load_key(&wrong).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongKey);
    assert!(!format!("{error} {error:?}").contains("0202"));
    let passphrase = WrappingKey::passphrase(PASSPHRASE).unwrap();
    assert_eq!(
        dataset.load_key(&passphrase).unwrap_err().kind(),
        ErrorKind::WrongKind
    );

    // With the key away, nothing that needs it works.
    let child = dataset.child("child").unwrap();
    let error = child.create(&CreateOptions::filesystem()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::KeyNotLoaded, "{error}");
    let error = dataset.change_key(&wrong).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::KeyNotLoaded, "{error}");
    let mount = output("mount", &["-t", "zfs", dataset.name().as_str(), "/mnt"]);
    assert!(!mount.status.success());
    dataset.load_key(&right).unwrap();

    let plain = scratch.child("plain").unwrap();
    plain.create(&CreateOptions::filesystem()).unwrap();
    assert_eq!(plain.encryption().unwrap(), None);
    let heir = child;
    heir.create(&CreateOptions::filesystem()).unwrap();
    assert_eq!(heir.unload_key().unwrap_err().kind(), ErrorKind::WrongKind);
    assert_eq!(
        heir.inherit_key().unwrap_err().kind(),
        ErrorKind::InvalidArgument
    );
    assert_eq!(
        plain.load_key(&right).unwrap_err().kind(),
        ErrorKind::WrongKind
    );
    assert_eq!(plain.unload_key().unwrap_err().kind(), ErrorKind::WrongKind);
    assert_eq!(
        plain.change_key(&right).unwrap_err().kind(),
        ErrorKind::WrongKind
    );
    assert_eq!(
        plain.inherit_key().unwrap_err().kind(),
        ErrorKind::WrongKind
    );
    let missing = scratch.child("missing").unwrap();
    assert_eq!(
        missing.load_key(&right).unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn change_and_inherit() {
    let scratch = Scratch::new("key-change");
    let (one, two) = (WrappingKey::raw(&[1; 32]), WrappingKey::hex(HEX).unwrap());
    let parent = encrypted(&scratch, "a", &one);
    let child = parent.child("child").unwrap();
    child.create(&CreateOptions::filesystem()).unwrap();
    assert_eq!(child.encryption().unwrap().unwrap().root, *parent.name());
    let error = child.load_key(&one).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongKind, "{error}");

    // A new key for an encryption root; the old one opens it no more.
    parent.change_key(&two).unwrap();
    assert_eq!(zfs_get("keyformat", parent.name()), "hex");
    parent.unload_key().unwrap();
    assert_eq!(
        parent.load_key(&one).unwrap_err().kind(),
        ErrorKind::WrongKey
    );
    parent.load_key(&two).unwrap();

    // A key of its own makes the child a root, and giving it up makes it none.
    let passphrase = WrappingKey::passphrase(PASSPHRASE).unwrap();
    child
        .change_key_with(&passphrase, MIN_PBKDF2_ITERATIONS)
        .unwrap();
    assert_eq!(child.encryption().unwrap().unwrap().root, *child.name());
    child.unload_key().unwrap();
    child.load_key(&passphrase).unwrap();
    assert_eq!(zfs_get("keyformat", child.name()), "passphrase");
    child.inherit_key().unwrap();
    assert_eq!(child.encryption().unwrap().unwrap().root, *parent.name());
    let error = child.change_key_with(&passphrase, 1000).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidArgument);
}

#[test]
fn data_is_unreachable_without_its_key() {
    let scratch = Scratch::new("key-data");
    let key = WrappingKey::raw(&[3; 32]);
    let dataset = encrypted(&scratch, "a", &key);
    let data = noise(300_000, 5);
    let mounted = Mounted::new(&dataset);
    mounted.write("data", &data);
    drop(mounted);
    dataset
        .snapshot("s")
        .unwrap()
        .create(&UserProps::new())
        .unwrap();
    dataset.unload_key().unwrap();
    let mount = output("mount", &["-t", "zfs", dataset.name().as_str(), "/mnt"]);
    assert!(!mount.status.success());
    // A snapshot needs no key, a clone's creation does not either; reading does.
    dataset
        .snapshot("t")
        .unwrap()
        .create(&UserProps::new())
        .unwrap();
    dataset.load_key(&key).unwrap();
    let mounted = Mounted::new(&dataset);
    assert!(mounted.read("data") == data);
    let clone = scratch.child("a/clone").unwrap();
    let clone = dataset
        .snapshot("s")
        .unwrap()
        .clone_to(clone.name(), &PropertySet::new())
        .unwrap();
    assert_eq!(clone.encryption().unwrap().unwrap().root, *dataset.name());
}

#[test]
fn every_cipher() {
    let scratch = Scratch::new("key-cipher");
    let key = WrappingKey::raw(&[4; 32]);
    for (cipher, name) in [
        (EncryptionAlgorithm::Aes128Ccm, "aes-128-ccm"),
        (EncryptionAlgorithm::Aes192Ccm, "aes-192-ccm"),
        (EncryptionAlgorithm::Aes256Ccm, "aes-256-ccm"),
        (EncryptionAlgorithm::Aes128Gcm, "aes-128-gcm"),
        (EncryptionAlgorithm::Aes192Gcm, "aes-192-gcm"),
        (EncryptionAlgorithm::Aes256Gcm, "aes-256-gcm"),
    ] {
        let dataset = scratch.child(name).unwrap();
        let encryption = Encryption::new(cipher, &key, 0)
            .unwrap()
            .key_location("file:///root/none.key");
        dataset
            .create(&CreateOptions::filesystem().encryption(encryption))
            .unwrap();
        assert_eq!(zfs_get("encryption", dataset.name()), name);
        assert_eq!(
            zfs_get("keylocation", dataset.name()),
            "file:///root/none.key"
        );
        // Changing the key keeps where it is said to be.
        dataset.change_key(&key).unwrap();
        assert_eq!(
            zfs_get("keylocation", dataset.name()),
            "file:///root/none.key"
        );
    }
}
