//! Three tenants, each with a key, a quota and a policy of its own, and their data.

use std::fs;
use std::path::Path;

use helix_zfs::gate::Operation;
use helix_zfs::zfs_core::DatasetName;
use helix_zfs::zfs_core::key::{Encryption, KEY_LEN, MIN_PBKDF2_ITERATIONS, WrappingKey};
use helix_zfs::zfs_core::props::{EncryptionAlgorithm, KeyFormat, Sync};
use helix_zfs::{Tenant, TenantSpec};

use crate::files::{Checksum, Contents, Mounted, random, write};
use crate::stage::Stage;
use crate::story::{Bytes, Result, Story};

pub(crate) struct Member {
    pub(crate) name: &'static str,
    pub(crate) tenant: Tenant,
    pub(crate) key: WrappingKey,
    pub(crate) mounted: Mounted,
    pub(crate) checksum: Checksum,
}

impl AsRef<DatasetName> for Member {
    fn as_ref(&self) -> &DatasetName {
        self.tenant.as_ref()
    }
}

pub(crate) struct Fleet {
    pub(crate) acme: Member,
    pub(crate) birch: Member,
    pub(crate) cedar: Member,
}

struct Plan {
    name: &'static str,
    key: WrappingKey,
    quota: u64,
    sync: Sync,
}

impl Fleet {
    pub(crate) fn create(story: &mut Story, stage: &Stage) -> Result<Self> {
        story.step("Three tenants", |story| {
            let raw: [u8; KEY_LEN] = random_key()?;
            let hex: String = random_key()?
                .iter()
                .map(|byte| format!("{byte:02x}"))
                .collect();
            let fleet = Self {
                acme: Member::create(
                    story,
                    stage,
                    Plan {
                        name: "acme",
                        key: WrappingKey::raw(&raw),
                        quota: 64 << 20,
                        sync: Sync::Always,
                    },
                )?,
                birch: Member::create(
                    story,
                    stage,
                    Plan {
                        name: "birch",
                        key: WrappingKey::hex(&hex)?,
                        quota: 32 << 20,
                        sync: Sync::Standard,
                    },
                )?,
                cedar: Member::create(
                    story,
                    stage,
                    Plan {
                        name: "cedar",
                        key: WrappingKey::passphrase("a passphrase for the tour")?,
                        quota: 5 << 20,
                        sync: Sync::Disabled,
                    },
                )?,
            };
            let listed: Vec<String> = Tenant::list(&stage.tenants)?
                .iter()
                .map(|tenant| tenant.dataset().name().base().to_owned())
                .collect();
            story.same(
                "the kernel lists all three",
                listed.join(" "),
                "acme birch cedar".into(),
            )?;
            Ok((fleet, String::from("3 keys: raw, hex, passphrase")))
        })
    }

    pub(crate) fn members(&self) -> [&Member; 3] {
        [&self.acme, &self.birch, &self.cedar]
    }

    pub(crate) fn fill(&mut self, story: &mut Story, stage: &Stage) -> Result {
        story.step("Their data", |story| {
            let mut total = 0;
            for (member, orders) in [
                (&mut self.acme, 1 << 20),
                (&mut self.birch, 768 << 10),
                (&mut self.cedar, 384 << 10),
            ] {
                fill(member.mounted.path(), orders)?;
                let contents = Contents::read(member.mounted.path())?;
                member.checksum = contents.checksum;
                total += contents.bytes;
                story.say(format_args!(
                    "{}: {} files, {}, SHA-256 {}",
                    member.name,
                    contents.files,
                    Bytes(contents.bytes),
                    contents.checksum
                ));
            }
            stage.sync()?;
            let mut referenced = 0;
            for member in self.members() {
                referenced += member.tenant.dataset().properties()?.referenced();
            }
            story.check(
                referenced >= total,
                format_args!(
                    "the kernel counts {} in the three datasets",
                    Bytes(referenced)
                ),
            )?;
            Ok(((), format!("{} written", Bytes(total))))
        })
    }
}

impl Member {
    fn create(story: &mut Story, stage: &Stage, plan: Plan) -> Result<Self> {
        let Plan {
            name,
            key,
            quota,
            sync,
        } = plan;
        // The fewest iterations that ZFS accepts: the tour has to be quick in an emulated guest.
        // `Encryption::aes_256_gcm` has a better number for real passphrases.
        let encryption =
            Encryption::new(EncryptionAlgorithm::Aes256Gcm, &key, MIN_PBKDF2_ITERATIONS)?;
        let tenant = TenantSpec::new(name, encryption)
            .quota(quota)
            .sync(sync)
            .create(&stage.may(Operation::CreateTenant)?, &stage.tenants)?;

        let dataset = tenant.dataset();
        let props = dataset.properties()?;
        let format = |format: KeyFormat| format.to_string();
        let found = (
            props.quota(),
            props.sync(),
            props.key_format().map(|format| format.to_string()),
            props.encryption_root().as_ref() == Some(dataset.name()),
        );
        let expected = (Some(quota), Some(sync), Some(format(key.format())), true);
        let what = format!(
            "{name}: its own {} key, a quota of {}, sync={sync}",
            key.format(),
            Bytes(quota)
        );
        story.same(what, found, expected)?;
        let mounted = Mounted::new(dataset.name(), stage.folder(name)?)?;
        Ok(Self {
            name,
            checksum: Contents::read(mounted.path())?.checksum,
            tenant,
            key,
            mounted,
        })
    }

    /// What is in it now.
    pub(crate) fn contents(&self) -> Result<Contents> {
        Contents::read(self.mounted.path())
    }
}

fn fill(folder: &Path, orders: usize) -> Result {
    fs::create_dir(folder.join("ledger"))?;
    write(&folder.join("orders.db"), &random(orders)?)?;
    for month in 1..=6 {
        let entries: String = (0..500)
            .map(|entry| format!("{month:02}-{entry:04} paid\n"))
            .collect();
        write(
            &folder.join(format!("ledger/{month:02}.log")),
            entries.as_bytes(),
        )?;
    }
    Ok(())
}

fn random_key() -> Result<[u8; KEY_LEN]> {
    random(KEY_LEN)?
        .try_into()
        .map_err(|_| "a key of another length".into())
}
