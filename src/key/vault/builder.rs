use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::crypto::ring;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};

use super::client::{Client, Limits};
use super::error::VaultError;
use super::http::Endpoint;
use super::login::Login;
use super::session::Sessions;
use super::{Vault, template};
use crate::key::KeyProblem;

/// Where Debian, and where Fedora keeps the certificates of the public authorities.
const SYSTEM_ROOTS: [&str; 2] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
];

/// How a [`Vault`] is reached.
#[derive(Clone, Debug)]
pub struct VaultBuilder {
    address: String,
    authorities: Option<Authorities>,
    namespace: Option<String>,
    login: Option<Login>,
    connect_timeout: Duration,
    limits: Limits,
}

#[derive(Clone, Debug)]
enum Authorities {
    Pem(Vec<u8>),
    File(PathBuf),
}

impl VaultBuilder {
    pub(super) fn new(address: String) -> Self {
        Self {
            address,
            authorities: None,
            namespace: None,
            login: None,
            connect_timeout: Duration::from_secs(5),
            limits: Limits {
                request: Duration::from_secs(10),
                call: Duration::from_secs(30),
                attempts: 4,
            },
        }
    }

    /// How the client logs in. There is no default.
    #[must_use]
    pub fn login(mut self, login: Login) -> Self {
        self.login = Some(login);
        self
    }

    /// The certificates, in PEM, of the only authorities that are trusted: none of the system's is
    /// beside them.
    #[must_use]
    #[doc(alias = "VAULT_CACERT_BYTES")]
    pub fn authority_pem(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.authorities = Some(Authorities::Pem(pem.into()));
        self
    }

    /// The same, of a file. It is read once, by [`build`](Self::build).
    ///
    /// Without either, the system's authorities are trusted.
    #[must_use]
    #[doc(alias = "VAULT_CACERT")]
    pub fn authority_file(mut self, path: impl Into<PathBuf>) -> Self {
        self.authorities = Some(Authorities::File(path.into()));
        self
    }

    /// The namespace of all requests.
    #[must_use]
    #[doc(alias = "VAULT_NAMESPACE")]
    pub fn namespace(mut self, namespace: impl Into<String>) -> Self {
        self.namespace = Some(namespace.into());
        self
    }

    /// How long looking up the host's name and connecting may take; 5 s by default.
    #[must_use]
    pub fn connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit;
        self
    }

    /// How long one request may take, from connecting to the last byte; 10 s by default.
    #[must_use]
    pub fn request_timeout(mut self, limit: Duration) -> Self {
        self.limits.request = limit;
        self
    }

    /// How long a call may take, with its login, all attempts and the waits between; 30 s by
    /// default. A key provider makes up to four calls for one key.
    #[must_use]
    pub fn call_timeout(mut self, limit: Duration) -> Self {
        self.limits.call = limit;
        self
    }

    /// How often a request is tried at most; 4 times by default.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.limits.attempts = attempts.max(1);
        self
    }

    /// The client. It has not connected yet: the first call does.
    ///
    /// # Errors
    ///
    /// | Problem | When |
    /// |---|---|
    /// | `Unsupported` | the address is not `https://HOST[:PORT]`, the namespace or a mount is no path, there is no login |
    /// | `Malformed` | there is no certificate in what should have them |
    /// | `Io` | the file of certificates cannot be read |
    pub fn build(self) -> Result<Vault, VaultError> {
        let error = |problem, why: String| VaultError::new(problem, self.address.as_str(), why);
        let unsupported = |why: &str| error(KeyProblem::Unsupported, why.to_owned());
        let login = self
            .login
            .clone()
            .ok_or_else(|| unsupported("no login is given"))?;
        login.check().map_err(unsupported)?;
        if let Some(namespace) = &self.namespace {
            let path = namespace.strip_suffix('/').unwrap_or(namespace);
            template::check_path(path).map_err(unsupported)?;
        }
        let pem = match &self.authorities {
            Some(Authorities::Pem(pem)) => pem.clone(),
            Some(Authorities::File(path)) => {
                read(path).map_err(|why| error(KeyProblem::Io, why))?
            }
            None => SYSTEM_ROOTS
                .iter()
                .find_map(|path| std::fs::read(path).ok())
                .ok_or_else(|| {
                    error(
                        KeyProblem::Io,
                        String::from("the system has no authorities"),
                    )
                })?,
        };
        let tls = tls(&pem).map_err(|why| error(KeyProblem::Malformed, why))?;
        let endpoint = Endpoint::new(&self.address, Arc::new(tls), self.connect_timeout)
            .map_err(unsupported)?;
        Ok(Vault(Arc::new(Client {
            endpoint,
            namespace: self.namespace,
            login,
            limits: self.limits,
            sessions: Sessions::default(),
        })))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, String> {
    std::fs::read(path).map_err(|error| format!("{}: {error}", path.display()))
}

/// TLS 1.2 and 1.3 with these authorities, and nothing of the process's defaults.
fn tls(pem: &[u8]) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_slice_iter(pem) {
        let certificate = certificate.map_err(|error| format!("an authority's PEM: {error}"))?;
        // The system's file has certificates that are not understood; those are not trusted.
        let _ = roots.add(certificate);
    }
    if roots.is_empty() {
        return Err(String::from("there is no certificate of an authority"));
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("TLS: {error}"))?;
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}
