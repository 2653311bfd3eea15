//! `helixctl key`.

use clap::Subcommand;
use helix_zfs::Tenant;
use helix_zfs::gate::{Operation, Scope};
use helix_zfs::zfs_core::props::{KeyStatus, Properties};
use helix_zfs::zfs_core::{Dataset, Zfs};
use serde::Serialize;
use serde_json::json;

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
}

#[derive(Debug, Serialize)]
struct KeyJson {
    dataset: String,
    encryption: Option<String>,
    root: Option<String>,
    loaded: Option<bool>,
    format: Option<String>,
}

impl KeyJson {
    fn of(name: &str, props: &Properties) -> Self {
        Self {
            dataset: name.to_owned(),
            encryption: props.encryption().map(|it| it.to_string()),
            root: props.encryption_root().map(|it| it.to_string()),
            loaded: props.key_status().map(|it| it == KeyStatus::Available),
            format: props.key_format().map(|it| it.to_string()),
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
        found.push(KeyJson::of(name, &dataset.properties()?));
        if recursive {
            for entry in dataset.descendants()? {
                let name = entry.name.as_str();
                found.push(KeyJson::of(name, &zfs.dataset(name)?.properties()?));
            }
        }
    }
    let mut rows = Rows::new(&["DATASET", "ENCRYPTION", "KEY", "ROOT", "FORMAT"], "none");
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
        ]);
    }
    Answer::new(&found, rows.text())
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
