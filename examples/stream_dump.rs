//! Reads a send stream, verifies its checksums, and shows what is in it.
//!
//! ```text
//! zfs send tank/acme@monday | cargo run --example stream_dump -- -v
//! cargo run --example stream_dump -- acme.zstream
//! ```
//!
//! With `-v` there is a line for each record, with the names that ZFS gives to the fields; `-vv` adds
//! the checksums. `--saved` takes a stream without END, as `zfs send --saved` makes it. At the end
//! come how many records of each type there are, and the digests. It needs neither privileges nor a
//! kernel with ZFS.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people"
)]

use std::collections::BTreeMap;
use std::error::Error;
use std::fs::File;
use std::io::{self, BufReader, BufWriter, IsTerminal, Read, Write};
use std::process::ExitCode;

use helix_zfs::zfs_core::digest::Digester;
use helix_zfs::zfs_core::stream::{
    Begin, Body, HEADER_LEN, Observer, ReadOptions, Record, RecordType, StreamReader,
};

const USAGE: &str = "usage: stream_dump [-v|-vv] [--saved] [FILE]";

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stream_dump: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Box<dyn Error>> {
    let mut verbosity = 0;
    let mut options = ReadOptions::new();
    let mut file = None;
    for argument in std::env::args().skip(1) {
        match argument.as_str() {
            "-v" => verbosity += 1,
            "-vv" => verbosity += 2,
            "--saved" => options = options.allow_missing_end(true),
            _ if argument.starts_with('-') || file.is_some() => return Err(USAGE.into()),
            _ => file = Some(argument),
        }
    }
    let input: Box<dyn Read> = match &file {
        Some(path) => Box::new(File::open(path).map_err(|error| format!("{path}: {error}"))?),
        None if io::stdin().is_terminal() => return Err(USAGE.into()),
        None => Box::new(io::stdin()),
    };
    // Nothing but the stream is read, so reading ahead does no harm.
    let mut reader = StreamReader::with_options(BufReader::with_capacity(1 << 16, input), options);
    let mut out = BufWriter::new(io::stdout().lock());
    let mut digester = Digester::new();
    let mut sums: BTreeMap<RecordType, (u64, u64)> = BTreeMap::new();
    loop {
        // What came before an error is shown too.
        let record = match reader.next_record() {
            Ok(Some(record)) => record,
            Ok(None) => break,
            Err(error) => {
                out.flush()?;
                return Err(error.into());
            }
        };
        let (count, bytes) = sums.entry(record.record_type()).or_default();
        *count += 1;
        *bytes += record.payload.len() as u64;
        digester.record(&record);
        match &record.body {
            Body::Begin(begin) => show_begin(&mut out, &record, begin)?,
            _ if verbosity > 0 => show(&mut out, &record, verbosity > 1)?,
            _ => {}
        }
    }

    writeln!(
        out,
        "{:<16} {:>12} {:>16}",
        "TYPE", "RECORDS", "PAYLOAD (BYTES)"
    )?;
    for (record, (count, bytes)) in &sums {
        writeln!(out, "{:<16} {count:>12} {bytes:>16}", record.name())?;
    }
    let records: u64 = sums.values().map(|(count, _)| count).sum();
    let bytes: u64 = sums.values().map(|(_, bytes)| bytes).sum();
    writeln!(out, "{:<16} {records:>12} {bytes:>16}", "all")?;
    let headers = records * HEADER_LEN as u64;
    writeln!(out, "{} bytes, {headers} of them headers", reader.offset())?;
    if !reader.is_complete() {
        writeln!(out, "no END: the stream is not whole")?;
    }
    let digests = digester.finish()?;
    writeln!(out, "transport digest {}", digests.transport().root())?;
    for content in digests.contents() {
        let name = &content.begin().to_name;
        writeln!(out, "content digest   {}  {name}", content.root())?;
    }
    out.flush()?;
    Ok(())
}

fn show_begin(out: &mut impl Write, record: &Record<'_>, begin: &Begin) -> io::Result<()> {
    writeln!(
        out,
        "BEGIN {} ({:?}, {:?}, {})",
        begin.to_name, begin.kind, record.order, begin.dataset_kind
    )?;
    let from = match begin.from_guid {
        0 => "nothing: it is full".to_owned(),
        guid => format!("{guid:#x}"),
    };
    writeln!(out, "  guid {:#x}, builds on {from}", begin.to_guid)?;
    writeln!(out, "  created at {} s", begin.creation_time)?;
    writeln!(out, "  features {}", begin.features)?;
    writeln!(out, "  flags {}", begin.flags)?;
    if let Some(list) = &begin.list {
        let names: Vec<_> = list
            .iter()
            .map(|(name, _)| name.to_string_lossy())
            .collect();
        writeln!(out, "  with a list of {}", names.join(", "))?;
    }
    Ok(())
}

fn show(out: &mut impl Write, record: &Record<'_>, checksums: bool) -> io::Result<()> {
    write!(
        out,
        "{:>8} {:>12}  {}",
        record.number,
        record.offset,
        record.record_type()
    )?;
    let mut field = |name: &str, value: u64| write!(out, " {name}={value}");
    match &record.body {
        Body::Object(o) => {
            field("object", o.object)?;
            field("type", o.object_type.into())?;
            field("bonustype", o.bonus_type.into())?;
            field("blksz", o.block_size.into())?;
            field("bonuslen", o.bonus_len.into())?;
            field("dn_slots", o.dnode_slots.into())?;
            field("raw_bonuslen", o.raw_bonus_len.into())?;
            field("flags", o.flags.bits().into())?;
            field("maxblkid", o.max_block)?;
            field("indblkshift", o.indirect_shift.into())?;
            field("nlevels", o.levels.into())?;
            field("nblkptr", o.block_pointers.into())?;
        }
        Body::FreeObjects(f) => {
            field("firstobj", f.first)?;
            field("numobjs", f.count)?;
        }
        Body::Write(w) => {
            field("object", w.object)?;
            field("type", w.object_type.into())?;
            field("checksumtype", w.checksum_type.into())?;
            field("compressiontype", w.compression.into())?;
            field("flags", w.flags.bits().into())?;
            field("offset", w.offset)?;
            field("logical_size", w.logical_size)?;
            field("compressed_size", w.compressed_size)?;
            field("payload_size", record.payload.len() as u64)?;
        }
        Body::Free(f) => {
            field("object", f.object)?;
            field("offset", f.offset)?;
            field("length", f.length)?;
        }
        Body::WriteByRef(w) => {
            field("object", w.object)?;
            field("offset", w.offset)?;
            field("length", w.length)?;
            field("refobject", w.ref_object)?;
            field("refoffset", w.ref_offset)?;
        }
        Body::Spill(s) => {
            field("object", s.object)?;
            field("length", s.length)?;
            field("flags", s.flags.bits().into())?;
            field("compressiontype", s.compression.into())?;
            field("compressed_size", s.compressed_size)?;
            field("payload_size", record.payload.len() as u64)?;
        }
        Body::WriteEmbedded(w) => {
            field("object", w.object)?;
            field("offset", w.offset)?;
            field("length", w.length)?;
            field("comp", w.compression.into())?;
            field("etype", w.embedded_type.into())?;
            field("lsize", w.logical_size.into())?;
            field("psize", w.physical_size.into())?;
        }
        Body::ObjectRange(r) => {
            field("firstobj", r.first)?;
            field("numslots", r.slots)?;
            field("flags", r.flags.bits().into())?;
        }
        Body::Redact(r) => {
            field("object", r.object)?;
            field("offset", r.offset)?;
            field("length", r.length)?;
        }
        _ => {}
    }
    if let (true, Some([a, b, c, d])) = (checksums, record.checksum()) {
        write!(out, " checksum={a:x}/{b:x}/{c:x}/{d:x}")?;
    }
    writeln!(out)
}
