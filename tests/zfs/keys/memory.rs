//! Where a key was is nothing of it when it is dropped.
//!
//! A process of its own makes a key, uses it for all that keys are for, drops it, and then looks
//! through all of its memory. This program does not wipe what it frees: what is proven is that the
//! crates wipe it. What TLS leaves behind is wiped by the allocator of `helixctl`: that is looked through
//! while it waits for somebody to read what it says.

use super::vault::Server;
use super::{encrypted, folder, id, lock, name, tenant};
use crate::support::killed::{self, Ended};
use crate::support::open_gate;
use crate::support::{Scratch, output, zfs};
use helix_zfs::gate::{Operation, Scope};
use helix_zfs::key::{
    FileKeys, KeyMaterial, KeyProvider, KeyStore, KeyVersion, ParkOptions, RotationOptions, park,
    rotate, unlock_all,
};
use std::fmt::Write;
use std::fs::File;
use std::io::{BufRead, Read};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use zeroize::Zeroizing;

/// What is looked for is not in memory itself, but this with each byte of it.
const MASK: u8 = 0xa5;

/// A key in each form in which it could be lying around, by halves, all masked.
#[derive(Default)]
struct Needles(Vec<(&'static str, Vec<u8>)>);

impl Needles {
    /// Of a key's bytes, masked.
    fn add(&mut self, masked: &[u8]) {
        let byte = |at: usize| masked[at] ^ MASK;
        let digits = |alphabet: &'static [u8; 16]| {
            move |at: usize| {
                let digit = match at % 2 {
                    0 => byte(at / 2) >> 4,
                    _ => byte(at / 2) & 15,
                };
                alphabet[usize::from(digit)]
            }
        };
        let base64 = |at: usize| {
            let bits = |at: usize| usize::from(byte(at));
            let first = at / 4 * 3;
            let sextet = match at % 4 {
                0 => bits(first) >> 2,
                1 => (bits(first) & 3) << 4 | bits(first + 1) >> 4,
                2 => (bits(first + 1) & 15) << 2 | bits(first + 2) >> 6,
                _ => bits(first + 2) & 63,
            };
            let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
            alphabet[sextet]
        };
        let mut form = |form, len, at: &dyn Fn(usize) -> u8| {
            for half in [0..len / 2, len / 2..len] {
                self.0.push((form, half.map(|n| at(n) ^ MASK).collect()));
            }
        };
        form("raw", 32, &byte);
        form("small hexadecimal digits", 64, &digits(b"0123456789abcdef"));
        form(
            "capital hexadecimal digits",
            64,
            &digits(b"0123456789ABCDEF"),
        );
        form("base64", 40, &base64);
    }

    /// The forms in which it is somewhere in this process's memory, and where.
    fn find(&self) -> Vec<String> {
        self.find_in("self")
    }

    /// As [`find`](Self::find), in another process.
    fn find_in(&self, process: &str) -> Vec<String> {
        const CHUNK: usize = 1 << 20;
        const LONGEST: usize = 64;
        let maps = std::fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
        let memory = File::open(format!("/proc/{process}/mem")).unwrap();
        let mut chunk = Zeroizing::new(vec![0; CHUNK + LONGEST]);
        let mut found = Vec::new();
        for line in maps.lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            let is_file = fields[4] != "0";
            // What is read of a file and cannot be written is the file's.
            let is_to_be_read = fields[1].starts_with('r') && (fields[1].contains('w') || !is_file);
            if !is_to_be_read || fields.get(5).is_some_and(|name| name.starts_with("[v")) {
                continue;
            }
            let (start, end) = fields[0].split_once('-').unwrap();
            let number = |text| u64::from_str_radix(text, 16).unwrap();
            let (mut at, end) = (number(start), number(end));
            while at < end {
                let len = usize::try_from(end - at).unwrap().min(chunk.len());
                let Ok(len) = memory.read_at(&mut chunk[..len], at) else {
                    // It went while it was looked at.
                    break;
                };
                for (form, needle) in &self.0 {
                    if let Some(offset) = position(&chunk[..len], needle) {
                        found.push(format!("{form} at {:#x} in {line}", at + offset as u64));
                    }
                }
                at += len.min(CHUNK) as u64;
                if len == 0 {
                    break;
                }
            }
        }
        found
    }
}

/// Where the masked `needle` is in `bytes`. Short loops of the standard library do most of it: this
/// program is not optimized.
fn position(bytes: &[u8], needle: &[u8]) -> Option<usize> {
    // What memory is full of would be slow to look for.
    let common = [0, 0xff];
    let anchor = needle
        .iter()
        .position(|byte| !common.contains(&(byte ^ MASK)))?;
    let mut rest = bytes;
    loop {
        let skipped = rest.skip_until(needle[anchor] ^ MASK).unwrap();
        if skipped == 0 {
            return None;
        }
        let end = bytes.len() - rest.len();
        let Some(start) = (end - 1).checked_sub(anchor) else {
            continue;
        };
        let is_it = bytes
            .get(start..start + needle.len())
            .is_some_and(|bytes| bytes.iter().zip(needle).all(|(a, b)| a ^ b == MASK));
        if is_it {
            return Some(start);
        }
    }
}

/// A file's bytes, masked as they come.
fn masked(file: &Path) -> Vec<u8> {
    let mut file = File::open(file).unwrap();
    let mut byte = [0];
    let mut masked = Vec::with_capacity(32);
    while file.read(&mut byte).unwrap() == 1 {
        masked.push(byte[0] ^ MASK);
    }
    masked
}

#[test]
fn nothing_of_a_key_is_left_in_memory() {
    if killed::in_the_process().is_none() {
        let scratch = Scratch::new("key-memory");
        let test = "keys::memory::nothing_of_a_key_is_left_in_memory";
        assert_eq!(killed::run(test, u32::MAX, scratch.name()), Ended::Finished);
        return;
    }
    let parent = zfs().dataset(&killed::argument()).unwrap();
    let folder = folder();
    let keys = FileKeys::new(folder.path());
    let name = name("memory");
    let id = id(&name);
    let gate = open_gate();
    let may = |operation| {
        let scope = Scope::below(parent.name());
        gate.grant(operation, scope, Duration::from_secs(24 * 3600))
    };
    let mut said = String::new();

    let key = KeyMaterial::generate().unwrap();
    let mut needles = Needles::default();
    let first: Vec<u8> = key.bytes().iter().map(|byte| byte ^ MASK).collect();
    needles.add(&first);
    // What is there is found, in each form.
    let digits = key.to_hex();
    let found = needles.find().join("\n");
    for form in ["raw", "small"] {
        assert!(found.contains(form), "{form}: {found}");
    }
    drop(digits);

    keys.store(&id, KeyVersion::NONE, &key).unwrap();
    let tenant = encrypted(&parent, &name, &key.wrapping_key());
    write!(said, "{key:?} {:?} {:?}", key.wrapping_key(), keys).unwrap();
    drop(key);
    let park = || park(&may(Operation::UnloadKey), &tenant, &ParkOptions::new()).unwrap();
    let unlock = || {
        let unlocked = unlock_all(
            &may(Operation::LoadKey),
            std::slice::from_ref(&tenant),
            &keys,
            2,
        );
        unlocked[0].1.as_ref().unwrap().version
    };
    park();
    assert_eq!(unlock(), KeyVersion(1));
    let options = RotationOptions::new();
    let rotated = rotate(
        &may(Operation::RotateKey),
        &tenant,
        &keys,
        &options,
        &mut |step| {
            write!(said, "{step:?}").unwrap();
        },
    );
    needles.add(&masked(&folder.path().join(&name).join("2")));
    write!(said, "{rotated:?} {:?}", keys.current(&id).unwrap()).unwrap();
    park();
    assert_eq!(unlock(), KeyVersion(2));
    park();
    let wrong = folder.path().join(&name).join("3");
    std::fs::copy(folder.path().join(&name).join("1"), &wrong).unwrap();
    std::fs::write(folder.path().join(&name).join("2"), "no key").unwrap();
    let outcome = unlock_all(
        &may(Operation::LoadKey),
        std::slice::from_ref(&tenant),
        &keys,
        1,
    );
    write!(said, "{outcome:?} {}", outcome[0].1.as_ref().unwrap_err()).unwrap();

    // What was put on record is in memory too when it is looked for.
    let audit = std::fs::read(gate.audit_file()).unwrap();
    assert!(!audit.is_empty());
    // Where a request had no input, the command of 2.4 prints what it did not write itself.
    let history = output("zpool", &["history", "-il", parent.name().pool()]);
    let text = String::from_utf8_lossy(&history.stdout);
    assert!(text.contains("change-key"), "{text}");
    assert_eq!(needles.find(), Vec::<String>::new());
    drop((said, audit, text));
}

/// Runs `helixctl` until it is done and about to say so, looks at it then, and returns what it says.
fn looked_at(arguments: &[String], look: impl FnOnce(&str)) -> String {
    let folder = std::env::var_os("HELIX_ZFS_PROGRAMS").expect("the folder of the programs");
    let (reader, writer) = rustix::pipe::pipe().unwrap();
    let page = rustix::pipe::fcntl_setpipe_size(&writer, 4096).unwrap();
    // There is no room for another byte.
    assert_eq!(rustix::io::write(&writer, &vec![b'.'; page]).unwrap(), page);
    let mut child = Command::new(PathBuf::from(folder).join("helixctl"))
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::from(writer))
        .spawn()
        .unwrap();
    let process = child.id().to_string();
    for attempt in 0.. {
        assert_eq!(child.try_wait().unwrap(), None, "{arguments:?}");
        assert!(attempt < 6000, "{arguments:?} says nothing");
        let call = std::fs::read_to_string(format!("/proc/{process}/syscall")).unwrap_or_default();
        // It writes to its standard output.
        if call.starts_with("1 0x1 ") {
            break;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    look(&process);
    let mut said = String::new();
    File::from(reader).read_to_string(&mut said).unwrap();
    assert!(child.wait().unwrap().success(), "{said}");
    said.split_off(page)
}

#[test]
fn nothing_of_a_key_of_a_server_is_left_in_the_programs_memory() {
    let server = Server::new();
    let vault = server.vault();
    let folder = folder();
    let scratch = Scratch::new("bao-memory");
    let (kv, transit) = (server.keys(&vault), server.transit(&vault));
    let stores: [(&dyn KeyStore, Vec<String>); 2] = [
        (&kv, server.arguments(folder.path())),
        (&transit, server.transit_arguments(folder.path())),
    ];
    for (keys, arguments) in stores {
        let tenant = tenant(&scratch, &name("bao-memory"), keys);
        let dataset = tenant.dataset().name().as_str();
        let id = id(tenant.dataset().name().base());
        let mut needles = Needles::default();
        let control = "what it is about";
        let masked = dataset.bytes().map(|byte| byte ^ MASK);
        needles.0.push((control, masked.collect()));
        lock(&tenant);
        for (command, version) in [("unlock", 1), ("rotate", 2)] {
            let words = ["key", command, dataset].map(str::to_owned);
            let said = looked_at(&[&words, &*arguments].concat(), |process| {
                let key = keys.version(&id, KeyVersion(version)).unwrap();
                let masked: Vec<u8> = key.bytes().iter().map(|byte| byte ^ MASK).collect();
                needles.add(&masked);
                let (there, leaked): (Vec<String>, Vec<String>) = needles
                    .find_in(process)
                    .into_iter()
                    .partition(|found| found.starts_with(control));
                assert!(!there.is_empty(), "not even its name is found");
                assert_eq!(leaked, Vec::<String>::new(), "{command}");
            });
            assert!(
                said.contains(&format!("version {version} of its key")),
                "{said}"
            );
        }
    }
}
