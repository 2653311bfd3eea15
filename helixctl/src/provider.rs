//! Where the keys of tenants are kept: in files, in the environment, or in Vault.

use std::path::{Path, PathBuf};

use clap::Args;
use helix_zfs::key::vault::{Login, LoginSecret, Vault, VaultError, VaultKeys, VaultTransit};
use helix_zfs::key::{
    EnvironmentKeys, FileKeys, KeyError, KeyProblem, KeyProvider, KeyStore, TenantKeyError,
};

use serde::Deserialize;

use crate::failure::{Exit, Failure};

/// Where keys are in Vault, unless something else is said.
const MOUNT: &str = "secret";
const PATH: &str = "helix/{key}";

/// Where keys are kept: one of `--key-folder`, `--key-environment` and `--vault`. In a file they have
/// the same names, without the dashes before them.
#[derive(Clone, Debug, Args, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct ProviderArguments {
    /// Keys in files: FOLDER/KEY/VERSION, which only their owner can reach.
    #[arg(long, value_name = "FOLDER", conflicts_with_all = ["key_environment", "vault"])]
    key_folder: Option<PathBuf>,
    /// Keys in environment variables: HELIX_KEY_ACME has that of acme, in 64 hexadecimal digits.
    #[arg(long, conflicts_with = "vault")]
    key_environment: bool,
    /// Keys in Vault or OpenBao: its address, `https://HOST:PORT`.
    #[arg(long, value_name = "ADDRESS")]
    vault: Option<String>,
    /// The certificate of the authority that signed Vault's, in PEM. Else those of the system.
    #[arg(long, value_name = "FILE", requires = "vault")]
    vault_authority: Option<PathBuf>,
    /// Vault's namespace.
    #[arg(long, value_name = "NAME", requires = "vault")]
    vault_namespace: Option<String>,
    /// A file with a token, which only its owner can reach.
    #[arg(long, value_name = "FILE", requires = "vault", conflicts_with_all = ["vault_role_id", "vault_kubernetes"])]
    vault_token_file: Option<PathBuf>,
    /// The role of a login by AppRole.
    #[arg(long, value_name = "ID", requires_all = ["vault", "vault_secret_id_file"], conflicts_with = "vault_kubernetes")]
    vault_role_id: Option<String>,
    /// A file with the secret of that role, which only its owner can reach.
    #[arg(long, value_name = "FILE", requires = "vault_role_id")]
    vault_secret_id_file: Option<PathBuf>,
    /// The role of a login by the service account of a Kubernetes pod.
    #[arg(long, value_name = "ROLE", requires = "vault")]
    vault_kubernetes: Option<String>,
    /// The mount of the KV engine, version 2. `{key}` stands for the key's name.
    #[arg(
        long,
        value_name = "MOUNT",
        requires = "vault",
        default_value = MOUNT
    )]
    vault_mount: String,
    /// The path of a key in it. `{key}` stands for the key's name.
    #[arg(
        long,
        value_name = "PATH",
        requires = "vault",
        default_value = PATH
    )]
    vault_path: String,
    /// Keys are wrapped by Transit: its mount, a `/`, and the name of its key.
    #[arg(long, value_name = "MOUNT/KEY", requires = "vault")]
    vault_transit: Option<String>,
}

impl Default for ProviderArguments {
    fn default() -> Self {
        Self {
            key_folder: None,
            key_environment: false,
            vault: None,
            vault_authority: None,
            vault_namespace: None,
            vault_token_file: None,
            vault_role_id: None,
            vault_secret_id_file: None,
            vault_kubernetes: None,
            vault_mount: MOUNT.to_owned(),
            vault_path: PATH.to_owned(),
            vault_transit: None,
        }
    }
}

impl ProviderArguments {
    /// With its paths from `folder` on.
    pub(crate) fn relative_to(mut self, folder: &Path) -> Self {
        let paths = [
            &mut self.key_folder,
            &mut self.vault_authority,
            &mut self.vault_token_file,
            &mut self.vault_secret_id_file,
        ];
        for path in paths.into_iter().flatten() {
            *path = folder.join(&path);
        }
        self
    }

    /// Where keys can be had.
    pub(crate) fn provider(&self) -> Result<Box<dyn KeyProvider>, Failure> {
        if self.key_environment {
            return Ok(Box::new(EnvironmentKeys));
        }
        Ok(self.store()?)
    }

    /// Where new keys can be kept too.
    pub(crate) fn store(&self) -> Result<Box<dyn KeyStore>, Failure> {
        match (&self.key_folder, &self.vault) {
            (Some(folder), _) => Ok(Box::new(FileKeys::new(folder))),
            (None, Some(address)) => Ok(self.vault_store(address)?),
            (None, None) if self.key_environment => Err(Failure::usage(
                "no key can be stored in the environment: name --key-folder or --vault",
            )),
            (None, None) => Err(Failure::usage(
                "where are the keys? Name --key-folder, --key-environment or --vault",
            )),
        }
    }

    fn vault_store(&self, address: &str) -> Result<Box<dyn KeyStore>, Failure> {
        let mut builder = Vault::builder(address).login(self.login()?);
        if let Some(path) = &self.vault_authority {
            builder = builder.authority_file(path);
        }
        if let Some(name) = &self.vault_namespace {
            builder = builder.namespace(name);
        }
        let vault = builder.build()?;
        let (mount, path) = (&self.vault_mount, &self.vault_path);
        let Some(transit) = &self.vault_transit else {
            return Ok(Box::new(VaultKeys::new(&vault, mount, path)?));
        };
        let (transit, key) = transit
            .rsplit_once('/')
            .ok_or_else(|| Failure::usage("--vault-transit is MOUNT/KEY"))?;
        let keys = VaultTransit::new(&vault, transit, key, mount, path)?;
        Ok(Box::new(keys))
    }

    fn login(&self) -> Result<Login, Failure> {
        if let Some(path) = &self.vault_token_file {
            return Ok(Login::token(LoginSecret::file(path)));
        }
        if let (Some(role), Some(path)) = (&self.vault_role_id, &self.vault_secret_id_file) {
            return Ok(Login::app_role(role, LoginSecret::file(path)));
        }
        match &self.vault_kubernetes {
            Some(role) => Ok(Login::kubernetes(role)),
            None => Err(Failure::usage(
                "how to log in to Vault? Name --vault-token-file, --vault-role-id or \
                 --vault-kubernetes",
            )),
        }
    }
}

fn exit_of(problem: KeyProblem) -> Exit {
    match problem {
        KeyProblem::NotFound => Exit::NotFound,
        KeyProblem::Denied | KeyProblem::Permissions => Exit::Denied,
        KeyProblem::Malformed | KeyProblem::WrongKey | KeyProblem::Unsupported => Exit::Refused,
        KeyProblem::Conflict | KeyProblem::Throttled => Exit::Busy,
        _ => Exit::Failed,
    }
}

impl From<VaultError> for Failure {
    fn from(error: VaultError) -> Self {
        Self::new(exit_of(error.problem()), error.to_string())
    }
}

impl From<TenantKeyError> for Failure {
    fn from(error: TenantKeyError) -> Self {
        let exit = match error {
            TenantKeyError::Refused(refusal) => return refusal.into(),
            TenantKeyError::Zfs(ref error) => Exit::of(error.kind()),
            TenantKeyError::Key { ref error, .. } => exit_of(KeyError::problem(error)),
            TenantKeyError::InUse { .. } => Exit::Busy,
            TenantKeyError::Random { .. } => Exit::Failed,
            // All others are refusals.
            _ => Exit::Refused,
        };
        Self::new(exit, error.to_string())
    }
}
