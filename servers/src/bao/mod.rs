//! OpenBao, which speaks the protocol of HashiCorp Vault.

mod api;
mod authority;
mod install;

use std::fs;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result, bail};
use rustix::process::Signal;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::child::{self, Server};
use crate::port;

pub use install::{VERSION, install, program};

/// How a server differs from the usual one.
#[derive(Clone, Debug)]
pub struct BaoOptions {
    /// Names and addresses that its certificate holds besides `localhost` and the address that it
    /// listens on.
    pub names: Vec<String>,
    /// The address that it listens on.
    pub listen: IpAddr,
    /// The largest time to live of a token, in the server's words, such as `4s`.
    pub max_lease: Option<String>,
}

impl Default for BaoOptions {
    fn default() -> Self {
        Self {
            names: Vec::new(),
            listen: Ipv4Addr::LOCALHOST.into(),
            max_lease: None,
        }
    }
}

/// A real OpenBao server (not its `-dev` mode): storage on disk, TLS with an authority of its own,
/// initialised and unsealed.
///
/// Besides TLS it listens on a socket in its own folder, which [`request`](Self::request) uses, so
/// that a test can set it up whatever happens to its network.
#[derive(Debug)]
pub struct Bao {
    folder: TempDir,
    listen: IpAddr,
    port: u16,
    authority_pem: String,
    key: String,
    root_token: String,
    server: Mutex<Option<Server>>,
}

impl Bao {
    /// Starts a server; installs the program into the cache first when it is missing.
    ///
    /// # Errors
    ///
    /// When the program cannot be installed (with the advice to call `cargo xtask setup`), or the
    /// server does not come up: then with the end of its log.
    pub fn start(options: &BaoOptions) -> Result<Self> {
        program()?;
        let folder = tempfile::Builder::new().prefix("helix-bao-").tempdir()?;
        let port = port::free(options.listen)?;
        let cluster = port::free(options.listen)?;
        let mut names = options.names.clone();
        names.extend([options.listen.to_string(), "localhost".to_owned()]);
        let made = authority::make(names)?;
        fs::write(folder.path().join("authority.pem"), &made.authority)?;
        fs::write(folder.path().join("certificate.pem"), &made.certificate)?;
        fs::write(folder.path().join("key.pem"), &made.key)?;
        fs::create_dir(folder.path().join("storage"))?;
        let mut configuration = json!({
            "storage": {"raft": {
                "path": folder.path().join("storage"),
                "node_id": "one",
                // An election with one voter need not wait for others.
                "performance_multiplier": "1",
            }},
            "listener": [
                {"unix": {"address": folder.path().join("socket")}},
                {"tcp": {
                    "address": address(options.listen, port),
                    "cluster_address": address(options.listen, cluster),
                    "tls_cert_file": folder.path().join("certificate.pem"),
                    "tls_key_file": folder.path().join("key.pem"),
                }},
            ],
            "api_addr": format!("https://{}", address(options.listen, port)),
            "cluster_addr": format!("https://{}", address(options.listen, cluster)),
            "log_level": "warn",
        });
        if let (Some(lease), Some(map)) = (&options.max_lease, configuration.as_object_mut()) {
            map.insert("max_lease_ttl".to_owned(), json!(lease));
            map.insert("default_lease_ttl".to_owned(), json!(lease));
        }
        fs::write(folder.path().join("server.json"), configuration.to_string())?;
        let mut bao = Self {
            folder,
            listen: options.listen,
            port,
            authority_pem: made.authority,
            key: String::new(),
            root_token: String::new(),
            server: Mutex::new(None),
        };
        bao.run()?;
        let made = bao.ask(
            "PUT",
            "sys/init",
            &json!({"secret_shares": 1, "secret_threshold": 1}),
        )?;
        let text = |value: Option<&Value>| Some(value?.as_str()?.to_owned());
        bao.key = text(made.pointer("/keys_base64/0")).context("OpenBao gave no key")?;
        bao.root_token = text(made.get("root_token")).context("OpenBao gave no token")?;
        bao.unseal()?;
        Ok(bao)
    }

    /// Where it listens: `https://127.0.0.1:PORT`.
    #[must_use]
    pub fn address(&self) -> String {
        format!("https://{}", address(self.listen, self.port))
    }

    /// The port that it listens on.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The certificate of the authority that signed the server's own, as PEM.
    #[must_use]
    pub fn authority_pem(&self) -> &str {
        &self.authority_pem
    }

    /// The file that [`authority_pem`](Self::authority_pem) is in, while this value lives.
    #[must_use]
    pub fn authority_file(&self) -> PathBuf {
        self.folder.path().join("authority.pem")
    }

    /// The token that may do everything.
    #[must_use]
    pub fn root_token(&self) -> &str {
        &self.root_token
    }

    /// The id of the server's process, or `None` when it is stopped.
    #[must_use]
    pub fn process(&self) -> Option<u32> {
        self.server().as_ref().map(Server::id)
    }

    /// Sends a request with the root token, past the network: the status and the answer (`null`
    /// when it is empty). `path` is what comes after `/v1/`.
    ///
    /// # Errors
    ///
    /// When the server does not run, or answers with what is neither empty nor JSON. A status that
    /// tells an error is no error here.
    pub fn request(&self, method: &str, path: &str, body: &Value) -> Result<(u16, Value)> {
        api::request(
            &self.folder.path().join("socket"),
            method,
            path,
            &self.root_token,
            body,
        )
        .with_context(|| format!("OpenBao: {method} {path}"))
    }

    /// Sends a request as [`request`](Self::request) does, and expects success.
    ///
    /// # Errors
    ///
    /// Also when the answer's status tells an error.
    pub fn ask(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        match self.request(method, path, body)? {
            (200..=299, answer) => Ok(answer),
            (status, answer) => bail!("OpenBao: {method} {path}: status {status}: {answer}"),
        }
    }

    /// Seals it: from then on it answers with status 503.
    ///
    /// # Errors
    ///
    /// When the server does not run or refuses.
    pub fn seal(&self) -> Result<()> {
        self.ask("PUT", "sys/seal", &Value::Null).map(drop)
    }

    /// Unseals it, and waits until it is ready to serve.
    ///
    /// # Errors
    ///
    /// When the server does not run, or is not ready in two minutes.
    pub fn unseal(&self) -> Result<()> {
        let answer = self.ask("PUT", "sys/unseal", &json!({"key": self.key}))?;
        if answer.get("sealed") != Some(&Value::Bool(false)) {
            bail!("OpenBao did not unseal: {answer}");
        }
        let mut server = self.server();
        let server = server.as_mut().context("OpenBao is stopped")?;
        server.wait_until("OpenBao", || {
            matches!(
                self.request("GET", "sys/health", &Value::Null),
                Ok((200, _))
            )
        })
    }

    /// Ends it in good order. What it stores stays for [`restart`](Self::restart).
    ///
    /// # Errors
    ///
    /// When it does not end in a minute.
    pub fn stop(&self) -> Result<()> {
        match self.server().take() {
            Some(server) => server.end(Signal::TERM).map(drop),
            None => Ok(()),
        }
    }

    /// Kills it by SIGKILL. What it stores stays for [`restart`](Self::restart).
    ///
    /// # Errors
    ///
    /// When it cannot be killed.
    pub fn kill(&self) -> Result<()> {
        match self.server().take() {
            Some(server) => server.end(Signal::KILL).map(drop),
            None => Ok(()),
        }
    }

    /// Stops it when it runs, and starts it again on the same port, unsealed.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn restart(&self) -> Result<()> {
        self.restart_sealed()?;
        self.unseal()
    }

    /// As [`restart`](Self::restart), but leaves it sealed, as a real server comes up.
    ///
    /// # Errors
    ///
    /// As [`start`](Self::start).
    pub fn restart_sealed(&self) -> Result<()> {
        self.stop()?;
        self.run()
    }

    fn run(&self) -> Result<()> {
        let folder = self.folder.path();
        let socket = folder.join("socket");
        // Left by a server that was killed.
        let _ = fs::remove_file(&socket);
        let mut command = child::bound_to_this_process(&[], program()?);
        command
            .arg("server")
            .arg(with_value("-config=", &folder.join("server.json")))
            .current_dir(folder);
        let mut server = Server::start(command, &folder.join("log"))?;
        server.wait_until("OpenBao", || {
            api::request(&socket, "GET", "sys/seal-status", "", &Value::Null).is_ok()
        })?;
        *self.server() = Some(server);
        Ok(())
    }

    fn server(&self) -> MutexGuard<'_, Option<Server>> {
        self.server.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn address(host: IpAddr, port: u16) -> String {
    std::net::SocketAddr::new(host, port).to_string()
}

fn with_value(prefix: &str, path: &Path) -> std::ffi::OsString {
    let mut text = std::ffi::OsString::from(prefix);
    text.push(path);
    text
}
