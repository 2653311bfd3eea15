//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};

use crate::answer::Answer;
use crate::commands::{clone, gate, guard, key, layout, quota, replica, replicate, status, tenant};
use crate::console::Console;
use crate::failure::Failure;
use crate::pages;

/// Helix's storage operations on OpenZFS: layouts, tenants, guard rails, clones, quotas, keys,
/// replication and replicas.
///
/// Every command can be run again after it was interrupted: it finishes what was begun. What would
/// destroy data is told first, and asked about.
#[derive(Debug, Parser)]
#[command(version, subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What all commands take.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Global {
    /// Answers in JSON, one document on standard output.
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Tells what would be done, and does nothing.
    #[arg(long, short = 'n', global = true)]
    pub(crate) dry_run: bool,
    /// Says yes to the question before anything is destroyed.
    #[arg(long, short = 'y', global = true)]
    pub(crate) yes: bool,
    /// The gate's folder: its jobs, its audit log and, in rules.toml, who may do what. Else that of
    /// HELIXCTL_GATE, or /var/lib/helixctl.
    #[arg(long, global = true, value_name = "FOLDER")]
    pub(crate) gate: Option<PathBuf>,
    /// Under whose name a change is put on record. Else that of whoever called sudo, or the user's.
    #[arg(id = "as", long = "as", global = true, value_name = "ACTOR")]
    pub(crate) actor: Option<String>,
}

/// A subcommand.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// How the machine's pools are.
    Status(status::Status),
    /// Plan and apply the layout of a cluster's storage.
    #[command(subcommand)]
    Layout(layout::Layout),
    /// Tenants: filesystems with a key, a quota and a policy of their own.
    #[command(subcommand)]
    Tenant(tenant::Tenant),
    /// Guard rails: snapshots of many datasets before a change, and the way back.
    #[command(subcommand)]
    Guard(guard::Guard),
    /// Ephemeral clones of snapshots, for tests.
    #[command(subcommand)]
    Clone(clone::Clone),
    /// How much can be written, and which limit binds.
    #[command(subcommand)]
    Quota(quota::Quota),
    /// Verified copies on another machine.
    #[command(subcommand)]
    Replicate(replicate::Replicate),
    /// Replicas that follow their source, and take its place.
    #[command(subcommand)]
    Replica(replica::Replica),
    /// Keys of encrypted datasets.
    #[command(subcommand)]
    Key(key::Key),
    /// The jobs for which changes are made, the rules, and the audit log.
    #[command(subcommand)]
    Gate(gate::Gate),
    /// Writes a shell's completions to standard output.
    Completion(pages::Completion),
    /// Writes the manual page to standard output, or all pages into a folder.
    Man(pages::Man),
}

impl Command {
    pub(crate) fn run(self, console: &Console) -> Result<Answer, Failure> {
        match self {
            Self::Status(command) => command.run(console),
            Self::Layout(command) => command.run(console),
            Self::Tenant(command) => command.run(console),
            Self::Guard(command) => command.run(console),
            Self::Clone(command) => command.run(console),
            Self::Quota(command) => command.run(console),
            Self::Replicate(command) => command.run(console),
            Self::Replica(command) => command.run(console),
            Self::Key(command) => command.run(console),
            Self::Gate(command) => command.run(console),
            Self::Completion(command) => command.run(),
            Self::Man(command) => command.run(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Arguments::command().debug_assert();
    }

    /// Each command with all its arguments: one that clap stores otherwise than the type says would
    /// be a panic.
    #[test]
    fn every_argument_can_be_taken() {
        for line in [
            "--json --yes --dry-run --gate /tmp --as me status tank --full-at 5",
            "layout plan l.toml --devices d.toml --check --allow-destroy t/a --allow-remove t:d",
            "layout apply l.toml --devices d.toml --keys k --despite-conflicts --allow-overwrite d",
            "tenant create t/t a --key-file k --quota 1G --reservation 1M --sync always \
             --filesystem-limit 3 --snapshot-limit 4",
            "tenant rollback t/t/a s --destroy-newer --destroy t/a@b --destroy-guard g --keep k",
            "guard take g t -r --git-sha a --helm-revision 1 --actor a --reason r --tag a --tag b",
            "guard find t --name n --git-sha a --helm-revision 1 --actor a --tag a --since 1h \
             --until 2026-01-31T12:00:00Z",
            "guard resume t --abandon",
            "guard retain t --last 1 --hourly 2 --daily 3 --weekly 4 --for 1d",
            "guard retain t --policy p.json",
            "clone create t/a@s --area t/e --name n --owner o --purpose p --expires-in 1h \
             --writable --refquota 1G --mount-at /mnt",
            "clone run t/a@s --area t/e --purpose p --mount-at /mnt -- sh -c true",
            "clone extend t/e/n --expires-in 1h",
            "quota show t -r --threshold 7 --fits 1G --user 1 --group 2 --project 3 --all",
            "quota set t --quota 1G --refquota none --reservation 1M --refreservation none \
             --filesystem-limit 3 --snapshot-limit none",
            "quota owner t --user 1 --bytes none --objects 5",
            "quota watch t -r --thresholds 1,2 --hysteresis 3 --every 1s --looks 2",
            "quota forecast t -r --looks 3 --every 1s --within 1d",
            "replicate serve t --listen a:1 --connections 1 --bandwidth 1M",
            "replicate serve t --stdio",
            "replicate pull t r --from a:1 --snapshot s",
            "replicate pull t r --command c",
            "replica run n.toml --for 1h",
            "replica status n.toml",
            "replica promote n.toml --accept-lag --wait 5m",
            "replica undo n.toml --wait 5m",
            "replica rebuild n.toml --wait 5m",
            "replica hand-over n.toml --wait 5m",
            "key status t -r",
            "key change t --key-file -",
            "key unlock t --all --workers 2 --key-folder k",
            "key unlock t --key-environment",
            "key park t u --all --unmount",
            "key rotate t --vault https://v:8200 --vault-authority a --vault-namespace n \
             --vault-token-file f --vault-mount m --vault-path p/{key} --vault-transit t/k \
             --keep-old 2 --adopt",
            "key rotate t --vault https://v:8200 --vault-role-id r --vault-secret-id-file f",
            "key rotate t --vault https://v:8200 --vault-kubernetes r",
            "gate submit snapshot t/a t/b --reason r --payload {} --key k --in 1h --within 2h \
             --attempts 3 --backoff 1s --longest-backoff 1m",
            "gate jobs --state dead --state done --operation send --actor a --last 3",
            "gate show 0-1",
            "gate cancel 0-1",
            "gate revive 0-1",
            "gate forget --older-than 90d",
            "gate audit --kind use --operation send --object t/a --actor a --job 0-1 --since 2h \
             --until 1h --last 5 --file f",
            "gate audit --verify --pool t --pool u",
            "gate audit --verify --without-pools",
            "gate rules",
            "gate may snapshot t/a",
            "completion zsh",
            "man --all .",
        ] {
            let words = std::iter::once("helixctl").chain(line.split_whitespace());
            let parsed = Arguments::try_parse_from(words);
            assert!(parsed.is_ok(), "{line}: {}", parsed.unwrap_err());
        }
    }

    /// Everything that can be typed is explained.
    #[test]
    fn everything_is_documented() {
        fn check(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{}", command.get_name());
            for argument in command.get_arguments() {
                assert!(
                    argument.get_help().is_some(),
                    "{}: {}",
                    command.get_name(),
                    argument.get_id()
                );
            }
            command.get_subcommands().for_each(check);
        }
        let mut command = Arguments::command();
        command.build();
        check(&command);
    }
}
