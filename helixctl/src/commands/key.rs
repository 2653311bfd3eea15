//! `helixctl key`.

use clap::Subcommand;
use helix_zfs::Tenant;
use helix_zfs::gate::{Operation, Scope};
use helix_zfs::key::KeyRecord;
use helix_zfs::zfs_core::props::{KeyStatus, Properties};
use helix_zfs::zfs_core::{Dataset, Zfs};
use serde::Serialize;
use serde_json::json;

use super::stored_key::{Park, Rotate, Unlock};
use crate::answer::{Answer, Rows, or_dash};
use crate::console::{Console, Intent};
use crate::failure::Failure;
use crate::keys::KeyArguments;

/// `helixctl key`.
#[derive(Debug, Subcommand)]
pub(crate) enum Key {
    /// Which datasets are encrypted, with whose key, and whether it is loaded.
    Status {
        /// The datasets.
        #[arg(required = true)]
        datasets: Vec<String>,
        /// All below them too.
        #[arg(long, short)]
        recursive: bool,
    },
    /// Loads the key of an encryption root. One that is loaded already is checked instead.
    Load {
        /// The encryption root.
        dataset: String,
        #[command(flatten)]
        key: KeyArguments,
    },
    /// Unloads the key of an encryption root, so that nobody reaches its data.
    Unload {
        /// The encryption root.
        dataset: String,
    },
    /// Checks a key, and loads nothing.
    Verify {
        /// The encryption root.
        dataset: String,
        #[command(flatten)]
        key: KeyArguments,
    },
    /// Gives a dataset another key. Its key must be loaded. The old key opens it no more.
    Change {
        /// The encryption root, or a dataset that becomes one.
        dataset: String,
        #[command(flatten)]
        key: KeyArguments,
    },
    /// Loads keys of tenants, many at once, from where they are kept.
    Unlock(Unlock),
    /// Unloads keys of tenants.
    Park(Park),
    /// Gives a tenant a new key, and keeps it with the others; or finishes that.
    Rotate(Rotate),
}

#[derive(Debug, Serialize)]
struct KeyJson {
    dataset: String,
    encryption: Option<String>,
    root: Option<String>,
    loaded: Option<bool>,
    format: Option<String>,
    stored: Option<KeyRecord>,
}

impl KeyJson {
    fn of(dataset: &Dataset, props: &Properties) -> Self {
        Self {
            dataset: dataset.name().to_string(),
            encryption: props.encryption().map(|it| it.to_string()),
            root: props.encryption_root().map(|it| it.to_string()),
            loaded: props.key_status().map(|it| it == KeyStatus::Available),
            format: props.key_format().map(|it| it.to_string()),
            // What has no key of its own, or names none, has no record.
            stored: KeyRecord::of(&Tenant::from(dataset.clone())).ok(),
        }
    }
}

impl Key {
    pub(crate) fn run(self, console: &Console) -> Result<Answer, Failure> {
        let zfs = console.zfs()?;
        match self {
            Self::Status {
                datasets,
                recursive,
            } => status(&zfs, &datasets, recursive),
            Self::Load { dataset, key } => {
                let dataset = zfs.dataset(&dataset)?;
                load(console, &dataset, &key)
            }
            Self::Unload { dataset } => unload(console, &zfs.dataset(&dataset)?),
            Self::Verify { dataset, key } => {
                let dataset = zfs.dataset(&dataset)?;
                dataset.stat()?;
                dataset.verify_key(&key.read(dataset.name().as_str(), false)?)?;
                changed(&dataset, "verified", "the key is right")
            }
            Self::Unlock(command) => command.run(console, &zfs),
            Self::Park(command) => command.run(console, &zfs),
            Self::Rotate(command) => command.run(console, &zfs),
            Self::Change { dataset, key } => {
                let dataset = zfs.dataset(&dataset)?;
                dataset.stat()?;
                let name = dataset.name();
                let intent = Intent::new().loses(format!("make the old key of {name} useless"));
                if let Some(answer) = console.before(&intent)? {
                    return Ok(answer);
                }
                let key = key.read(&format!("{name}, the new one"), true)?;
                let scope = Scope::below(name);
                console.job(&zfs, Operation::RotateKey, scope, |capability| {
                    capability.allow(Operation::RotateKey, name)?;
                    Ok::<(), Failure>(dataset.change_key(&key)?)
                })?;
                changed(&dataset, "changed", "the key is another now")
            }
        }
    }
}

fn status(zfs: &Zfs, names: &[String], recursive: bool) -> Result<Answer, Failure> {
    let mut found = Vec::new();
    for name in names {
        let dataset = zfs.dataset(name)?;
        found.push(KeyJson::of(&dataset, &dataset.properties()?));
        if recursive {
            for entry in dataset.descendants()? {
                let dataset = zfs.dataset(entry.name.as_str())?;
                found.push(KeyJson::of(&dataset, &dataset.properties()?));
            }
        }
    }
    let titles = [
        "DATASET",
        "ENCRYPTION",
        "KEY",
        "ROOT",
        "FORMAT",
        "STORED AS",
    ];
    let mut rows = Rows::new(&titles, "none");
    for key in &found {
        let loaded = key
            .loaded
            .map(|loaded| if loaded { "loaded" } else { "not loaded" });
        rows.row([
            key.dataset.clone(),
            key.encryption
                .clone()
                .unwrap_or_else(|| String::from("off")),
            or_dash(loaded),
            or_dash(key.root.as_ref()),
            or_dash(key.format.as_ref()),
            or_dash(key.stored.as_ref().map(stored)),
        ]);
    }
    Answer::new(&found, rows.text())
}

/// The name of a key, the version that opens the dataset, and that which is to.
fn stored(record: &KeyRecord) -> String {
    let mut text = record.id.to_string();
    if let Some(version) = record.version {
        text += &format!(" {version}");
    }
    if let Some(next) = record.pending() {
        text += &format!(" (to be {next})");
    }
    text
}

fn changed(dataset: &Dataset, what: &str, said: &str) -> Result<Answer, Failure> {
    let name = dataset.name();
    Answer::new(
        &json!({ "dataset": name.as_str(), "key": what }),
        format!("{name}: {said}\n"),
    )
}

fn load(console: &Console, dataset: &Dataset, key: &KeyArguments) -> Result<Answer, Failure> {
    let name = dataset.name();
    dataset.stat()?;
    let key = key.read(name.as_str(), false)?;
    if let Some(answer) =
        console.before(&Intent::new().change(format!("load the key of {name}")))?
    {
        return Ok(answer);
    }
    let scope = Scope::below(name);
    console.job(dataset.zfs(), Operation::LoadKey, scope, |capability| {
        Tenant::from(dataset.clone()).unlock(capability, &key)
    })?;
    changed(dataset, "loaded", "the key is loaded")
}

fn unload(console: &Console, dataset: &Dataset) -> Result<Answer, Failure> {
    let name = dataset.name();
    dataset.stat()?;
    let intent = Intent::new().change(format!("unload the key of {name}"));
    if let Some(answer) = console.before(&intent)? {
        return Ok(answer);
    }
    let scope = Scope::below(name);
    console.job(dataset.zfs(), Operation::UnloadKey, scope, |capability| {
        Tenant::from(dataset.clone()).lock(capability)
    })?;
    changed(dataset, "unloaded", "the key is not loaded")
}
