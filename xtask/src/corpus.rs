//! `cargo xtask corpus`: the real streams that tests read, zfs-core/tests/corpus/, made anew by the
//! `zfs` command of each version, with what that version's `zstream dump` says of them.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use flate2::{Compression, GzBuilder};
use lexopt::prelude::*;

use crate::cache::RunDir;
use crate::guest::{Guest, Version};
use crate::job::Job;
use crate::qemu::Outcome;
use crate::{cargo, progress, setup};

/// Makes the streams; runs in the guest.
const SCRIPT: &str = include_str!("corpus/make.sh");

/// The folder in the workspace; one folder per version in it.
const FOLDER: &str = "zfs-core/tests/corpus";

/// The record types by their numbers, as `zstream dump` calls them.
const TYPES: [&str; 11] = [
    "BEGIN",
    "OBJECT",
    "FREEOBJECTS",
    "WRITE",
    "FREE",
    "END",
    "WRITE_BYREF",
    "SPILL",
    "WRITE_EMBEDDED",
    "OBJECT_RANGE",
    "REDACT",
];

pub(crate) fn run(mut arguments: lexopt::Parser) -> Result<ExitCode> {
    let mut versions = Vec::new();
    while let Some(argument) = arguments.next()? {
        match argument {
            Long("zfs") => versions.extend(Version::parse(&arguments.value()?.string()?)?),
            other => return Err(other.unexpected().into()),
        }
    }
    if versions.is_empty() {
        versions.extend(Version::ALL);
    }
    for guest in setup::ready(&versions, crate::guest::Check::Quick)? {
        make(&guest)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Makes the streams of one version and puts them in the place of those that are there.
fn make(guest: &Guest) -> Result<()> {
    let version = guest.version().name();
    let run = RunDir::new()?;
    let script = run.path().join("make.sh");
    fs::write(&script, SCRIPT)?;
    let out = run.path().join("out");
    let mut job = Job::new(vec![OsString::from("sh"), OsString::from("make.sh")]);
    job.files = vec![(script, "make.sh".to_owned())];
    job.disks = vec![1 << 30];
    job.out = Some(out.clone());
    eprintln!("making streams in guest {version} ...");
    let report = job.run(
        guest,
        &mut |bytes| progress::pass_on(&mut std::io::stdout(), bytes),
        &mut |bytes| progress::pass_on(&mut std::io::stderr(), bytes),
    )?;
    match report.outcome {
        Outcome::Exited(0) => {}
        Outcome::Exited(status) => bail!("the script ended with status {status}"),
        Outcome::TimedOut | Outcome::Died => bail!("the guest failed:\n{}", report.console),
    }

    let mut names: Vec<String> = Vec::new();
    for entry in fs::read_dir(&out)? {
        let name = entry?.file_name();
        if let Some(name) = name.to_str().and_then(|name| name.strip_suffix(".zstream")) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    ensure!(!names.is_empty(), "the script left no stream");

    let folder = cargo::workspace().join(FOLDER).join(version);
    if folder.exists() {
        fs::remove_dir_all(&folder)?;
    }
    fs::create_dir_all(&folder)?;
    let mut index = format!(
        "// Written by `cargo xtask corpus` from the output of {}.\n&[\n",
        guest.packages()?
    );
    let mut bytes = 0;
    for name in &names {
        let read = |suffix| {
            let path = out.join(format!("{name}.{suffix}"));
            fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let stream = fs::read(out.join(format!("{name}.zstream")))?;
        let told = read("info")?;
        let facts = Facts::parse(&read("dump")?, &told)
            .with_context(|| format!("what zstream says of {name}"))?;
        ensure!(
            facts.length == stream.len() as u64,
            "zstream dump of {name} did not see all of it"
        );
        bytes += pack(&stream, &folder.join(format!("{name}.zstream.gz")))?;
        index.push_str(&facts.entry(version, name, &told));
    }
    index.push_str("]\n");
    fs::write(folder.join("index.rs"), index)?;
    println!(
        "corpus: {} streams of {version}, {} KiB packed",
        names.len(),
        bytes / 1024
    );
    Ok(())
}

/// Without a name or a time in it: the file depends on the stream alone.
fn pack(stream: &[u8], path: &Path) -> Result<u64> {
    let mut packer = GzBuilder::new().write(File::create(path)?, Compression::best());
    packer.write_all(stream)?;
    let file = packer.finish()?;
    Ok(file.metadata()?.len())
}

/// What `zstream dump` says of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
struct Facts {
    records: [u64; TYPES.len()],
    payload: u64,
    length: u64,
    begins: Vec<String>,
}

impl Facts {
    fn parse(dump: &str, told: &str) -> Result<Self> {
        let mut facts = Self::default();
        let mut total = 0;
        for line in dump.lines().map(str::trim) {
            if line == "BEGIN record" {
                facts.begins.push(String::new());
            }
            if let Some((key, value)) = line.split_once(" = ") {
                // Below the fields of a BEGIN come those of its list, with names of any kind; a
                // field that was seen is not taken again.
                let field = match key {
                    "hdrtype" => Some(("kind", value.to_owned())),
                    "features" | "flags" => Some((key, hex(value)?)),
                    "toguid" => Some(("to_guid", hex(value)?)),
                    "fromguid" => Some(("from_guid", hex(value)?)),
                    "creation_time" => Some((key, hex(value)?)),
                    "type" => Some(("objset", value.to_owned())),
                    "toname" => Some(("to_name", format!("{value:?}"))),
                    "payloadlen" => Some(("payload", value.to_owned())),
                    _ => None,
                };
                if let (Some((name, value)), Some(begin)) = (field, facts.begins.last_mut()) {
                    if !begin.contains(&format!("{name}: ")) {
                        write!(begin, "{name}: {value}, ")?;
                    }
                }
            }
            if let Some(rest) = line.strip_prefix("Total ") {
                let (what, value) = rest.split_once(" = ").context("a total without a value")?;
                let value: u64 = value.split(' ').next().unwrap_or_default().parse()?;
                match what {
                    "records" => total = value,
                    "payload size" => facts.payload = value,
                    "stream length" => facts.length = value,
                    "header overhead" => {}
                    _ => {
                        let name = what.strip_prefix("DRR_").unwrap_or(what);
                        facts.count(name.strip_suffix(" records").unwrap_or(name), value)?;
                    }
                }
            }
        }
        for line in told.lines() {
            if let Some((name, count)) = line
                .strip_prefix("records ")
                .and_then(|rest| rest.split_once(' '))
            {
                facts.count(name, count.parse()?)?;
            }
        }
        ensure!(
            total == facts.records.iter().sum::<u64>(),
            "{total} records, of known types {:?}",
            facts.records
        );
        Ok(facts)
    }

    fn count(&mut self, name: &str, count: u64) -> Result<()> {
        let slot = TYPES
            .iter()
            .zip(&mut self.records)
            .find(|(known, _)| **known == name);
        let (_, slot) = slot.with_context(|| format!("an unknown type: {name}"))?;
        *slot = count;
        Ok(())
    }

    /// The stream as an element of the index, in Rust.
    fn entry(&self, version: &str, name: &str, told: &str) -> String {
        let value = |key: &str| {
            told.lines()
                .filter_map(|line| line.split_once(' '))
                .find(|(found, _)| *found == key)
                .map(|(_, value)| value)
        };
        let mut entry = format!("    Stream {{ version: {version:?}, name: {name:?},\n");
        for key in ["what", "command"] {
            let _ = writeln!(
                entry,
                "        {key}: {:?},",
                value(key).unwrap_or_default()
            );
        }
        for key in ["base", "snapshot", "contents", "token"] {
            let _ = writeln!(entry, "        {key}: {:?},", value(key));
        }
        let _ = writeln!(
            entry,
            "        length: {}, payload: {}, records: {:?},\n        begins: &[",
            self.length, self.payload, self.records
        );
        for begin in &self.begins {
            let _ = writeln!(entry, "            Begin {{ {begin}}},");
        }
        let _ = writeln!(
            entry,
            "        ],\n        packed: include_bytes!(\"{name}.zstream.gz\") }},"
        );
        entry
    }
}

/// A number of `zstream dump`, in hexadecimal, as Rust writes it.
fn hex(value: &str) -> Result<String> {
    let number = u64::from_str_radix(value.trim_start_matches("0x"), 16)
        .with_context(|| format!("{value:?} is no number"))?;
    Ok(format!("{number:#x}"))
}

#[cfg(test)]
mod tests {
    use super::Facts;

    const DUMP: &str = "BEGIN record\n\thdrtype = 1\n\tfeatures = 4\n\tmagic = 2f5bacbac\n\
        \tcreation_time = 6b0301ab\n\ttype = 2\n\tflags = 0xc\n\ttoguid = dc65\n\
        \tfromguid = 0\n\ttoname = p/fs@b\n\tpayloadlen = 56\nnvlist version: 0\n\ttype = 9\n\
        END checksum = 1/2/3/4\nSUMMARY:\n\tTotal DRR_BEGIN records = 1 (56 bytes)\n\
        \tTotal DRR_END records = 1 (0 bytes)\n\tTotal records = 3\n\
        \tTotal payload size = 56 (0x38)\n\tTotal header overhead = 936 (0x3a8)\n\
        \tTotal stream length = 992 (0x3e0)\n";

    #[test]
    fn a_dump_is_read() {
        let told = "what a test\nrecords OBJECT_RANGE 0\nrecords REDACT 1\nsnapshot b\n";
        let facts = Facts::parse(DUMP, told).unwrap();
        assert_eq!(facts.records, [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1]);
        assert_eq!((facts.payload, facts.length), (56, 992));
        assert_eq!(
            facts.begins,
            [
                "kind: 1, features: 0x4, creation_time: 0x6b0301ab, objset: 2, flags: 0xc, \
              to_guid: 0xdc65, from_guid: 0x0, to_name: \"p/fs@b\", payload: 56, "
            ]
        );
        let entry = facts.entry("2.1", "x", told);
        assert!(entry.contains("snapshot: Some(\"b\")"), "{entry}");
        assert!(entry.contains("base: None"), "{entry}");
    }

    #[test]
    fn records_of_types_that_are_not_counted_are_noticed() {
        assert!(Facts::parse(DUMP, "records REDACT 0\n").is_err());
    }
}
