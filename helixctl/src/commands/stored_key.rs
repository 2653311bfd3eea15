//! `helixctl key unlock`, `park` and `rotate`: keys of tenants, from where they are kept.

use clap::Args;
use helix_zfs::Tenant;
use helix_zfs::gate::{Operation, Scope};
use helix_zfs::key::{
    ParkOptions, Parked, RotationOptions, TenantKeyError, Unlocked, park_all, rotate, unlock_all,
};
use helix_zfs::zfs_core::Zfs;
use serde_json::{Value, json};

use crate::answer::Answer;
use crate::console::{Console, Intent};
use crate::failure::{Exit, Failure};
use crate::progress::Bar;
use crate::provider::ProviderArguments;

/// Which tenants.
#[derive(Clone, Debug, Args)]
pub(crate) struct Tenants {
    /// The tenants' filesystems.
    #[arg(required = true)]
    datasets: Vec<String>,
    /// All tenants immediately below these instead.
    #[arg(long)]
    all: bool,
    /// How many at a time.
    #[arg(long, value_name = "NUMBER", default_value_t = 8)]
    workers: u16,
}

impl Tenants {
    fn find(&self, zfs: &Zfs) -> Result<Vec<Tenant>, Failure> {
        let mut tenants = Vec::new();
        for name in &self.datasets {
            let dataset = zfs.dataset(name)?;
            if self.all {
                tenants.extend(Tenant::list(&dataset)?);
            } else {
                tenants.push(dataset.into());
            }
        }
        Ok(tenants)
    }
}

/// `helixctl key unlock`.
#[derive(Debug, Args)]
pub(crate) struct Unlock {
    #[command(flatten)]
    tenants: Tenants,
    #[command(flatten)]
    provider: ProviderArguments,
}

/// `helixctl key park`.
#[derive(Debug, Args)]
pub(crate) struct Park {
    #[command(flatten)]
    tenants: Tenants,
    /// Unmounts first what is mounted of them and not in use.
    #[arg(long)]
    unmount: bool,
}

/// `helixctl key rotate`.
#[derive(Debug, Args)]
pub(crate) struct Rotate {
    /// The tenant's filesystem.
    tenant: String,
    #[command(flatten)]
    provider: ProviderArguments,
    /// Retires all older versions but these many. A replica needs the version that its source had
    /// when it last received.
    #[arg(long, value_name = "NUMBER")]
    keep_old: Option<usize>,
    /// Also if no key that is kept there opens it: its key must be loaded.
    #[arg(long)]
    adopt: bool,
}

/// What became of each, as a document and as text.
fn outcomes<T>(
    outcomes: Vec<(Tenant, Result<T, TenantKeyError>)>,
    done: impl Fn(&T) -> (Value, String),
    not_done: &str,
) -> Result<Answer, Failure> {
    let (mut rows, mut text, mut failures) = (Vec::new(), String::new(), Vec::new());
    let all = outcomes.len();
    for (tenant, outcome) in outcomes {
        let name = tenant.dataset().name();
        match outcome {
            Ok(outcome) => {
                let (row, said) = done(&outcome);
                rows.push(row);
                text += &format!("{name}: {said}\n");
            }
            Err(error) => {
                rows.push(json!({ "dataset": name.as_str(), "error": error.to_string() }));
                text += &format!("{name}: {not_done}: {error}\n");
                failures.push(Failure::from(error));
            }
        }
    }
    let answer = Answer::new(&rows, text)?;
    let failed = failures.len();
    Ok(match failures.into_iter().next() {
        None => answer,
        Some(first) if failed == all => answer.failed(first),
        Some(_) => answer.failed(Failure::new(
            Exit::Partial,
            format!("{failed} of {all} tenants: {not_done}"),
        )),
    })
}

impl Unlock {
    pub(crate) fn run(self, console: &Console, zfs: &Zfs) -> Result<Answer, Failure> {
        let provider = self.provider.provider()?;
        let tenants = self.tenants.find(zfs)?;
        let intent = tenants.iter().fold(Intent::new(), |intent, tenant| {
            intent.change(format!("load the key of {}", tenant.dataset().name()))
        });
        if let Some(answer) = console.before(&intent)? {
            return Ok(answer);
        }
        let workers = usize::from(self.tenants.workers);
        let scope = Scope::of(&tenants);
        let unlocked = console.job(zfs, Operation::LoadKey, scope, |capability| {
            let unlocked = unlock_all(capability, &tenants, &*provider, workers);
            Ok::<_, Failure>(unlocked)
        })?;
        let said = |unlocked: &Unlocked| {
            let version = unlocked.version;
            let mut said = match unlocked.was_loaded {
                true => format!("version {version} of its key was loaded already"),
                false => format!("version {version} of its key is loaded"),
            };
            if unlocked.is_pending {
                said += "; a rotation is to be finished";
            }
            (json!(unlocked), said)
        };
        outcomes(unlocked, said, "not unlocked")
    }
}

impl Park {
    pub(crate) fn run(self, console: &Console, zfs: &Zfs) -> Result<Answer, Failure> {
        let tenants = self.tenants.find(zfs)?;
        let intent = tenants.iter().fold(Intent::new(), |intent, tenant| {
            intent.change(format!("unload the key of {}", tenant.dataset().name()))
        });
        if let Some(answer) = console.before(&intent)? {
            return Ok(answer);
        }
        let options = match self.unmount {
            true => ParkOptions::new().unmount(),
            false => ParkOptions::new(),
        };
        let workers = usize::from(self.tenants.workers);
        let scope = Scope::of(&tenants);
        let parked = console.job(zfs, Operation::UnloadKey, scope, |capability| {
            Ok::<_, Failure>(park_all(capability, &tenants, &options, workers))
        })?;
        let said = |parked: &Parked| (json!(parked), String::from("its key is not loaded"));
        outcomes(parked, said, "not parked")
    }
}

impl Rotate {
    pub(crate) fn run(self, console: &Console, zfs: &Zfs) -> Result<Answer, Failure> {
        let store = self.provider.store()?;
        let tenant = Tenant::from(zfs.dataset(&self.tenant)?);
        let dataset = tenant.dataset();
        dataset.stat()?;
        let name = dataset.name();
        let mut intent = Intent::new().change(format!("give {name} a new key"));
        let mut options = RotationOptions::new();
        if let Some(versions) = self.keep_old {
            options = options.keep_old(versions);
            intent = intent.loses(format!(
                "retire the older versions of its key, but for {versions}"
            ));
        }
        if self.adopt {
            options = options.adopt();
        }
        if let Some(answer) = console.before(&intent)? {
            return Ok(answer);
        }
        let bar = Bar::new(console);
        let scope = Scope::below(name);
        let rotated = console.job(zfs, Operation::RotateKey, scope, |capability| {
            rotate(capability, &tenant, &*store, &options, &mut |step| {
                bar.step(&step);
            })
        })?;
        drop(bar);
        let mut text = format!("{name}: version {} of its key opens it\n", rotated.to);
        for version in &rotated.retired {
            text += &format!("version {version} is retired\n");
        }
        for why in &rotated.not_retired {
            text += &format!("not retired: {why}\n");
        }
        Answer::new(&rotated, text)
    }
}
