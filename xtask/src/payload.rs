//! What a guest gets to run: a tar with a program, its libraries, files, arguments and environment.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::guest::Guest;

/// Process 1 of the guest.
const INIT: &str = include_str!("guest/init.sh");

/// The working directory of the program in the guest; it is on PATH too.
pub(crate) const WORK: &str = "helix/files";

/// These come with the guest: they belong to its kernel module or to its libc.
const OF_THE_GUEST: &[&str] = &[
    "libzfs_core.so",
    "libnvpair.so",
    "ld-linux-x86-64.so",
    "libc.so",
    "libdl.so",
    "libm.so",
    "libpthread.so",
    "libresolv.so",
    "librt.so",
    "libutil.so",
];

/// A payload under construction.
pub(crate) struct Payload<'a> {
    guest: &'a Guest,
    tar: tar::Builder<File>,
    names: BTreeSet<PathBuf>,
    environment: Vec<u8>,
}

impl<'a> Payload<'a> {
    pub(crate) fn new(guest: &'a Guest, path: &Path) -> Result<Self> {
        let mut payload = Self {
            guest,
            tar: plain_builder(File::create(path)?),
            names: BTreeSet::new(),
            environment: Vec::new(),
        };
        payload.text("helix/init", INIT.as_bytes(), 0o755)?;
        payload.folder(WORK)?;
        Ok(payload)
    }

    /// Adds a file of the host to the working directory under `name`, which may have folders in
    /// it, with the shared libraries it needs.
    pub(crate) fn file(&mut self, path: &Path, name: &str) -> Result<()> {
        check_name(name)?;
        self.host_file(path, &Path::new(WORK).join(name))
    }

    /// Sets a variable in the program's environment.
    pub(crate) fn env(&mut self, name: &str, value: &OsStr) -> Result<()> {
        let valid = |c: char| c == '_' || c.is_ascii_alphanumeric();
        ensure!(
            !name.is_empty()
                && name.chars().all(valid)
                && !name.starts_with(|c: char| c.is_ascii_digit()),
            "{name:?} is no name of a variable"
        );
        self.environment.extend_from_slice(b"export ");
        self.environment.extend_from_slice(name.as_bytes());
        self.environment.push(b'=');
        self.environment.extend(quote(value));
        self.environment.push(b'\n');
        Ok(())
    }

    /// Ends the payload with the program to run. A name with a slash is a file of the host; a bare
    /// name is a command of the guest, else a file on the host's PATH.
    pub(crate) fn command(
        mut self,
        program: &OsStr,
        arguments: &[impl AsRef<OsStr>],
    ) -> Result<()> {
        let mut line = b"exec ".to_vec();
        if let Some(path) = self.on_host(program)? {
            let name = path.file_name().context("the program has no name")?;
            let inside = Path::new(WORK).join(name);
            self.host_file(&path, &inside)?;
            line.extend(quote(Path::new("/").join(inside).as_os_str()));
        } else {
            line.extend(quote(program));
        }
        for argument in arguments {
            line.push(b' ');
            line.extend(quote(argument.as_ref()));
        }
        line.push(b'\n');
        self.text("helix/command", &line, 0o755)?;
        self.finish()
    }

    /// Ends the payload with an interactive shell.
    pub(crate) fn shell(mut self) -> Result<()> {
        self.text("helix/shell", b"", 0o644)?;
        self.finish()
    }

    fn finish(mut self) -> Result<()> {
        let environment = std::mem::take(&mut self.environment);
        self.text("helix/env", &environment, 0o644)?;
        self.tar.into_inner()?;
        Ok(())
    }

    fn on_host(&self, program: &OsStr) -> Result<Option<PathBuf>> {
        if program.as_bytes().contains(&b'/') {
            return Ok(Some(PathBuf::from(program)));
        }
        if self.guest.has_command(&program.to_string_lossy())? {
            return Ok(None);
        }
        let path = std::env::var_os("PATH").unwrap_or_default();
        match std::env::split_paths(&path)
            .map(|folder| folder.join(program))
            .find(|path| path.is_file())
        {
            Some(path) => Ok(Some(path)),
            None => bail!(
                "{} is neither a command of the guest nor of the host (a file of the current \
                 folder is ./{0})",
                program.to_string_lossy()
            ),
        }
    }

    fn host_file(&mut self, path: &Path, inside: &Path) -> Result<()> {
        if !self.names.insert(inside.to_owned()) {
            return Ok(());
        }
        let what = || format!("cannot read {}", path.display());
        let path = fs::canonicalize(path).with_context(what)?;
        ensure!(path.is_file(), "{} is not a file", path.display());
        let mut start = Vec::new();
        File::open(&path)
            .with_context(what)?
            .take(256)
            .read_to_end(&mut start)?;
        // Whoever runs in the guest may read it, whatever the host's umask was.
        let mut file = File::open(&path).with_context(what)?;
        let metadata = file.metadata()?;
        let executable = metadata.permissions().mode() & 0o111 != 0;
        let mut header = tar::Header::new_gnu();
        header.set_size(metadata.len());
        header.set_mode(if executable { 0o755 } else { 0o644 });
        self.tar
            .append_data(&mut header, inside, &mut file)
            .with_context(what)?;
        if start.starts_with(b"\x7fELF") {
            for library in shared_libraries(&path)? {
                let name = library.file_name().context("a library has no name")?;
                // The last folder that the loader looks into, so that the guest's own win.
                self.host_file(&library, &Path::new("usr/lib").join(name))?;
            }
        } else if let Some(interpreter) = interpreter(&start) {
            self.interpreter(&interpreter)?;
        }
        Ok(())
    }

    /// Brings the interpreter of a script when the guest has none of that name.
    fn interpreter(&mut self, path: &str) -> Result<()> {
        let name = path.rsplit('/').next().unwrap_or_default();
        if self.guest.has_command(name)? {
            return Ok(());
        }
        let found = self.on_host(OsStr::new(name))?;
        let Some(found) = found else { return Ok(()) };
        self.host_file(&found, &Path::new("usr/bin").join(name))
    }

    fn text(&mut self, name: &str, content: &[u8], mode: u32) -> Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(mode);
        Ok(self.tar.append_data(&mut header, name, content)?)
    }

    fn folder(&mut self, name: &str) -> Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Directory);
        header.set_size(0);
        header.set_mode(0o755);
        Ok(self.tar.append_data(&mut header, name, std::io::empty())?)
    }
}

fn check_name(name: &str) -> Result<()> {
    let fine = !name.is_empty()
        && Path::new(name)
            .components()
            .all(|component| matches!(component, std::path::Component::Normal(_)));
    ensure!(
        fine,
        "{name:?} does not name a file below the working directory"
    );
    Ok(())
}

/// One word of a shell command.
fn quote(word: &OsStr) -> Vec<u8> {
    let mut quoted = vec![b'\''];
    for byte in word.as_bytes() {
        match byte {
            b'\'' => quoted.extend_from_slice(b"'\\''"),
            other => quoted.push(*other),
        }
    }
    quoted.push(b'\'');
    quoted
}

/// The program that a script's first line names; through env, the one that env looks up.
fn interpreter(start: &[u8]) -> Option<String> {
    let line = start.strip_prefix(b"#!")?;
    let line = line.split(|byte| *byte == b'\n').next()?;
    let line = String::from_utf8_lossy(line).into_owned();
    let mut words = line.split_whitespace();
    let first = words.next()?;
    if first.ends_with("/env") {
        words.find(|word| !word.starts_with('-')).map(str::to_owned)
    } else {
        Some(first.to_owned())
    }
}

/// The libraries that a program needs and that the guest does not bring itself.
fn shared_libraries(program: &Path) -> Result<Vec<PathBuf>> {
    let output = Command::new("ldd")
        .arg(program)
        .env("LC_ALL", "C")
        .output()
        .context("cannot run ldd")?;
    // ldd fails on a static program; what else is wrong with it shows when it runs.
    parse_ldd(&String::from_utf8_lossy(&output.stdout))
        .with_context(|| format!("{} cannot run", program.display()))
}

fn parse_ldd(text: &str) -> Result<Vec<PathBuf>> {
    let mut libraries = Vec::new();
    for line in text.lines() {
        let Some((name, path)) = line.split_once(" => ") else {
            continue;
        };
        let name = name.trim();
        if OF_THE_GUEST
            .iter()
            .any(|prefix| name.rsplit('/').next().unwrap_or(name).starts_with(prefix))
        {
            continue;
        }
        let path = path.split(" (0x").next().unwrap_or(path).trim();
        ensure!(path != "not found", "its library {name} is not found");
        libraries.push(PathBuf::from(path));
    }
    Ok(libraries)
}

/// A tar that busybox can read: files with holes are written out in full.
fn plain_builder(file: File) -> tar::Builder<File> {
    let mut builder = tar::Builder::new(file);
    builder.sparse(false);
    builder
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::path::PathBuf;

    use super::{check_name, interpreter, parse_ldd, quote};

    #[test]
    fn words_survive_the_shell() {
        for word in ["", "plain", "two words", "it's", "$HOME `id` \\ \"", "*\n?"] {
            let mut script = b"printf %s ".to_vec();
            script.extend(quote(OsStr::new(word)));
            let output = std::process::Command::new("sh")
                .arg("-c")
                .arg(String::from_utf8(script).unwrap())
                .output()
                .unwrap();
            assert_eq!(output.stdout, word.as_bytes());
        }
    }

    #[test]
    fn interpreters_are_read() {
        assert_eq!(interpreter(b"#!/bin/sh -e\necho").unwrap(), "/bin/sh");
        assert_eq!(interpreter(b"#! /usr/bin/env bash\n").unwrap(), "bash");
        assert_eq!(interpreter(b"#!/usr/bin/env -S awk -f\n").unwrap(), "awk");
        assert_eq!(interpreter(b"echo hello\n"), None);
        assert_eq!(interpreter(b"#!\n"), None);
    }

    #[test]
    fn the_guests_libraries_stay_at_home() {
        let text = "\tlinux-vdso.so.1 (0x00007ffe)\n\
                    \tlibzfs_core.so.3 => /lib/libzfs_core.so.3 (0x00007f1)\n\
                    \tlibgcc_s.so.1 => /lib/x86_64-linux-gnu/libgcc_s.so.1 (0x00007f2)\n\
                    \tlibc.so.6 => /lib/libc.so.6 (0x00007f3)\n\
                    \t/lib64/ld-linux-x86-64.so.2 => /usr/lib64/ld-linux-x86-64.so.2 (0x4)\n\
                    \tlibcrypto.so.3 => /opt/a b/libcrypto.so.3 (0x00007f3)\n";
        assert_eq!(
            parse_ldd(text).unwrap(),
            [
                PathBuf::from("/lib/x86_64-linux-gnu/libgcc_s.so.1"),
                PathBuf::from("/opt/a b/libcrypto.so.3")
            ]
        );
        assert!(parse_ldd("\tlibx.so.1 => not found\n").is_err());
        assert!(
            parse_ldd("\tnot a dynamic executable\n")
                .unwrap()
                .is_empty()
        );
    }

    #[test]
    fn names_stay_below_the_working_directory() {
        assert!(check_name("a/b.txt").is_ok());
        for name in ["", "/etc/passwd", "../x", "a/../../x"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
