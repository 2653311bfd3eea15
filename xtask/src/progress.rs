//! What a person sees during long steps: what is being done, and for how long already.

use std::io::{Read, Write};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

const EVERY: Duration = Duration::from_secs(20);

/// Runs a command with its output in `log`, printing the time and the log's last line now and
/// then. A failure is an error that ends with the log's last lines.
pub(crate) fn run_logged(what: &str, command: &mut Command, log: &Path) -> Result<()> {
    let file = std::fs::File::create(log)?;
    let program = command.get_program().to_string_lossy().into_owned();
    let child = command
        .stdin(Stdio::null())
        .stdout(file.try_clone()?)
        .stderr(file)
        .spawn()
        .with_context(|| format!("cannot run {program}"))?;
    let start = Instant::now();
    eprintln!("{what} ...");
    let status = wait(child, || {
        let last = tail(log, 1);
        eprintln!("{what}: {} s: {last}", start.elapsed().as_secs());
    })?;
    anyhow::ensure!(
        status.success(),
        "{what} failed ({status}); the end of {program}'s output:\n{}",
        tail(log, 30)
    );
    eprintln!("{what}: done in {} s", start.elapsed().as_secs());
    Ok(())
}

fn wait(mut child: Child, mut report: impl FnMut()) -> Result<ExitStatus> {
    let mut last = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if last.elapsed() >= EVERY {
            report();
            last = Instant::now();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Writes what a program wrote. A reader that went away is no reason to end the program.
pub(crate) fn pass_on(to: &mut impl Write, bytes: &[u8]) {
    let _ = to.write_all(bytes).and_then(|()| to.flush());
}

/// The last `lines` lines of a file that have any text; empty when it cannot be read.
pub(crate) fn tail(path: &Path, lines: usize) -> String {
    let mut text = Vec::new();
    if let Ok(mut file) = std::fs::File::open(path) {
        let _ = file.read_to_end(&mut text);
    }
    let text = String::from_utf8_lossy(&text);
    let all: Vec<&str> = text
        .split(['\n', '\r'])
        .filter(|line| !line.trim().is_empty())
        .collect();
    let start = all.len().saturating_sub(lines);
    all.get(start..).unwrap_or_default().join("\n")
}
