//! The manual pages, and the completions of shells.

use std::io;
use std::path::PathBuf;

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use clap_mangen::Man as Page;
use clap_mangen::roff::{Roff, bold, roman};

use crate::answer::Answer;
use crate::arguments::Arguments;
use crate::console::SCHEMA;
use crate::failure::{Exit, Failure};

/// `helixctl completion`.
#[derive(Debug, Args)]
pub(crate) struct Completion {
    /// The shell.
    #[arg(value_enum)]
    shell: Shell,
}

impl Completion {
    pub(crate) fn run(self) -> Result<Answer, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(
            self.shell,
            &mut Arguments::command(),
            "helixctl",
            &mut script,
        );
        text(script)
    }
}

/// `helixctl man`.
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// Writes the page of every command into this folder instead.
    #[arg(long, value_name = "FOLDER")]
    all: Option<PathBuf>,
}

impl Man {
    pub(crate) fn run(self) -> Result<Answer, Failure> {
        let mut command = Arguments::command().disable_help_subcommand(true);
        command.build();
        let Some(folder) = self.all else {
            return text(main_page(command).map_err(|error| Failure::io("the page", &error))?);
        };
        let name = folder.display().to_string();
        let failed = |error: io::Error| Failure::io(&name, &error);
        let mut pages = vec![(
            String::from("helixctl.1"),
            main_page(command.clone()).map_err(failed)?,
        )];
        for below in command.get_subcommands() {
            sub_pages(below, "helixctl", &mut pages).map_err(failed)?;
        }
        let mut told = String::new();
        for (file, page) in &pages {
            let path = folder.join(file);
            std::fs::write(&path, page).map_err(failed)?;
            told += &format!("{}\n", path.display());
        }
        Ok(Answer::raw(told))
    }
}

fn text(bytes: Vec<u8>) -> Result<Answer, Failure> {
    String::from_utf8(bytes)
        .map(Answer::raw)
        .map_err(|error| Failure::new(Exit::Failed, error.to_string()))
}

/// The page of the program itself: that of a command, and what holds for all of them.
fn main_page(command: clap::Command) -> io::Result<Vec<u8>> {
    let page = Page::new(command);
    let mut out = Vec::new();
    page.render_title(&mut out)?;
    page.render_name_section(&mut out)?;
    page.render_synopsis_section(&mut out)?;
    page.render_description_section(&mut out)?;
    page.render_options_section(&mut out)?;
    page.render_subcommands_section(&mut out)?;
    let mut roff = Roff::new();
    roff.control("SH", ["EXIT STATUS"]);
    for (exit, meaning) in Exit::ALL {
        roff.control("TP", []);
        roff.text([bold(exit.code().to_string())]);
        roff.text([roman(meaning)]);
    }
    roff.control("SH", ["JSON"]);
    roff.text([roman(format!(
        "With --json a command writes one document to standard output: an object with \"schema\" \
         ({SCHEMA}), \"command\", \"status\" (the exit status in a word), \"exit\" (its number), \
         \"data\" (the answer) and \"error\" (null, or an object with \"message\" and \"advice\"). \
         Commands that go on write one line for each event before it, with \"schema\", \
         \"command\" and \"event\". Sizes are bytes, moments are RFC 3339 in UTC. Names may be \
         added within a schema; none changes its meaning or goes without another number. \
         docs/helixctl-json.md describes each."
    ))]);
    roff.control("SH", ["KEYS"]);
    roff.text([roman(
        "A key comes from a file, from standard input or from the terminal, and never from the \
         command line, which everybody on the machine can read. No key is ever written.",
    )]);
    roff.to_writer(&mut out)?;
    page.render_version_section(&mut out)?;
    Ok(out)
}

fn sub_pages(
    command: &clap::Command,
    above: &str,
    pages: &mut Vec<(String, Vec<u8>)>,
) -> io::Result<()> {
    let name = format!("{above}-{}", command.get_name());
    let mut page = Vec::new();
    Page::new(command.clone()).render(&mut page)?;
    pages.push((format!("{name}.1"), page));
    command
        .get_subcommands()
        .try_for_each(|below| sub_pages(below, &name, pages))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_tells_every_exit_status_and_command() {
        let page = String::from_utf8(main_page(Arguments::command()).unwrap()).unwrap();
        let page = page
            .replace("\\-", "-")
            .replace("\\*(Aq", "'")
            .replace("\\fR", "")
            .replace("\\fB", "");
        for (exit, meaning) in Exit::ALL {
            let entry = format!(".TP\n{}\n{meaning}\n", exit.code());
            assert!(page.contains(&entry), "{entry}{page}");
        }
        for command in Arguments::command().get_subcommands() {
            assert!(page.contains(command.get_name()), "{page}");
        }
    }

    #[test]
    fn every_command_has_a_page() {
        let folder = std::env::temp_dir().join(format!("helixctl-man-{}", std::process::id()));
        std::fs::create_dir(&folder).unwrap();
        let told = Man {
            all: Some(folder.clone()),
        }
        .run()
        .unwrap();
        assert!(
            told.text.contains("helixctl-tenant-create.1\n"),
            "{}",
            told.text
        );
        for line in told.text.lines() {
            assert!(std::fs::read(line).unwrap().starts_with(b".ie"), "{line}");
        }
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn shells_can_complete() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let script = Completion { shell }.run().unwrap();
            assert!(script.text.contains("helixctl"), "{shell}");
        }
    }
}
