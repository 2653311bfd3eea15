//! The commands of docs/operations.md, in their order, on a pool of their own.

use std::path::Path;
use std::process::Command;

use crate::support::TestPool;

const PAGE: &str = include_str!("../../docs/operations.md");
const DISK: u64 = 160 << 20;

/// A block of the page between two fences.
enum Block {
    /// A file, by name.
    File { name: String, contents: String },
    /// Commands, one after the other.
    Commands(Vec<Step>),
}

/// A command, and what is printed of it on the page.
#[derive(Default)]
struct Step {
    command: String,
    expected: Vec<String>,
    status: i32,
}

fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines();
    while let Some(line) = lines.next() {
        let Some(info) = line.strip_prefix("```") else {
            assert!(
                !line.trim_start().starts_with("$ "),
                "not in a block: {line}"
            );
            continue;
        };
        let mut inside: Vec<&str> = Vec::new();
        loop {
            match lines.next().expect("a block that ends") {
                "```" => break,
                line => inside.push(line),
            }
        }
        blocks.push(match info.split_once(' ') {
            None if info == "console" => Block::Commands(steps(&inside)),
            Some(("toml", name)) => Block::File {
                name: name.to_owned(),
                contents: inside.join("\n") + "\n",
            },
            _ => panic!("a block that nobody runs: {info:?}"),
        });
    }
    blocks
}

fn steps(lines: &[&str]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for line in lines {
        if let Some(command) = line.strip_prefix("$ ") {
            steps.push(Step {
                command: command.to_owned(),
                ..Step::default()
            });
            continue;
        }
        let step = steps.last_mut().expect("a command before its output");
        let status = line
            .strip_prefix('[')
            .and_then(|line| line.strip_suffix(']'));
        match status.and_then(|status| status.parse().ok()) {
            Some(status) => step.status = status,
            None => step.expected.push((*line).to_owned()),
        }
    }
    assert!(!steps.is_empty(), "a block without a command");
    steps
}

/// Whether a line is as the page says; `...` stands for anything, and the widths of columns for
/// nothing.
fn is_like(line: &str, expected: &str) -> bool {
    let squeeze = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
    let (line, expected) = (squeeze(line), squeeze(expected));
    let parts: Vec<&str> = expected.split("...").map(str::trim).collect();
    let [first, middle @ .., last] = parts.as_slice() else {
        return line == expected;
    };
    let Some(mut rest) = line.strip_prefix(first) else {
        return false;
    };
    for part in middle {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Whether the lines are as the page says; a line `...` stands for any number of lines.
fn are_like(lines: &[&str], expected: &[String]) -> bool {
    match expected.split_first() {
        None => lines.is_empty(),
        Some((first, more)) if first == "..." => {
            (0..=lines.len()).any(|skipped| are_like(&lines[skipped..], more))
        }
        Some((first, more)) => lines
            .split_first()
            .is_some_and(|(line, rest)| is_like(line, first) && are_like(rest, more)),
    }
}

#[test]
fn the_comparison_is_strict() {
    let expected = ["a ... c", "...", "d"].map(String::from);
    assert!(are_like(&["a  b c", "d"], &expected));
    assert!(are_like(&["a b c", "x", "y", "d"], &expected));
    assert!(!are_like(&["a b c", "d", "e"], &expected));
    assert!(!are_like(&["a b", "d"], &expected));
    assert!(!are_like(&["a b c"], &expected));
    assert!(!are_like(&[], &expected));
    assert!(!is_like("a b d c", "a b c"));
}

/// The page's text for this pool and this folder.
fn here(text: &str, pool: &str, folder: &Path) -> String {
    let folder = folder.to_str().expect("UTF-8");
    let text = text
        .replace("/dev/disk/by-id/", &format!("{folder}/disks/"))
        .replace("/srv/", &format!("{folder}/srv/"));
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
    let mut out = String::new();
    let mut rest = text.as_str();
    while let Some(at) = rest.find("tank") {
        let (before, after) = (&rest[..at], &rest[at + 4..]);
        out += before;
        let part_of_word = before.ends_with(is_word) || after.starts_with(is_word);
        out += if part_of_word { "tank" } else { pool };
        rest = after;
    }
    out + rest
}

#[test]
fn every_command_does_what_the_page_says() {
    let pool = TestPool::files("runbook", 0);
    let folder = pool.dir();
    std::fs::create_dir_all(folder.join("disks")).unwrap();
    for name in ["nvme-a", "nvme-b", "nvme-c", "nvme-d"] {
        let disk = std::fs::File::create(folder.join("disks").join(name)).unwrap();
        disk.set_len(DISK).unwrap();
    }
    let programs = std::env::var("HELIX_ZFS_PROGRAMS").expect("the folder of the programs");
    let path = format!("{programs}:{}", std::env::var("PATH").unwrap_or_default());
    let mut ran = 0;
    for block in blocks(PAGE) {
        let steps = match block {
            Block::File { name, contents } => {
                let contents = here(&contents, pool.name(), folder);
                std::fs::write(folder.join(name), contents).unwrap();
                continue;
            }
            Block::Commands(steps) => steps,
        };
        for step in steps {
            let command = here(&step.command, pool.name(), folder);
            let output = Command::new("sh")
                .args(["-c", &format!("exec 2>&1\n{command}")])
                .current_dir(folder)
                .env("PATH", &path)
                .env("LC_ALL", "C")
                .output()
                .unwrap();
            let told = String::from_utf8(output.stdout).expect("UTF-8");
            let expected: Vec<String> = step
                .expected
                .iter()
                .map(|line| here(line, pool.name(), folder))
                .collect();
            let lines: Vec<&str> = told.lines().collect();
            assert!(
                output.status.code() == Some(step.status) && are_like(&lines, &expected),
                "$ {command}\n{told}{}\nthe page says:\n{}\n[{}]",
                output.status,
                expected.join("\n"),
                step.status
            );
            ran += 1;
        }
    }
    assert!(ran > 50, "{ran} commands");
}
