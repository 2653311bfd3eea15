//! A server that is down, sealed, slow, strange or not the right one.

use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use helix_zfs::key::vault::{Login, LoginSecret, Vault, VaultBuilder};
use helix_zfs::key::{
    KeyError, KeyMaterial, KeyProblem, KeyProvider, KeyStore, KeyVersion, ProvidedKey,
};
use servers::{Bao, BaoOptions};

use crate::support::https::{Authority, Https};
use crate::support::{Fault, Place, Proxy, id, key, problem};

/// A place with a key, a proxy before it, and the file that a client through it has logged in with.
struct Through {
    place: Place<'static>,
    proxy: Proxy,
    key: KeyMaterial,
}

impl Through {
    fn new() -> Self {
        let place = Place::new();
        let proxy = place.proxy();
        let key = KeyMaterial::generate().unwrap();
        let keys = place.keys(&place.root());
        keys.store(&id("acme"), KeyVersion::NONE, &key).unwrap();
        Self { place, proxy, key }
    }

    fn builder(&self) -> VaultBuilder {
        self.place.through(&self.proxy).attempts(1)
    }

    fn read(&self, builder: VaultBuilder) -> Result<ProvidedKey, KeyError> {
        self.place
            .keys(&builder.build().unwrap())
            .current(&id("acme"))
    }

    /// That reading through this fault comes to this problem, and that neither key nor token is in
    /// the error.
    fn fails(&self, fault: Fault, expected: KeyProblem) {
        let what = format!("{fault:?}");
        self.proxy.set_next("/data/", [fault]);
        let error = self.read(self.builder()).unwrap_err();
        assert_eq!(error.problem(), expected, "{what}: {error}");
        self.holds_no_secret(&format!("{error} {error:?} {}", error.detail()));
    }

    fn holds_no_secret(&self, text: &str) {
        let secrets = [
            STANDARD.encode(self.key.bytes()),
            self.key.to_hex().to_string(),
            self.place.bao.root_token().to_owned(),
        ];
        for secret in secrets {
            assert!(!text.contains(&secret), "{text}");
        }
        assert!(!text.contains('\n'), "{text}");
    }
}

#[test]
fn a_server_that_is_down_or_sealed_and_back_again() {
    let bao = Bao::start(&BaoOptions::default()).unwrap();
    let place = Place::at(&bao);
    let vault = place.root();
    let acme = id("acme");
    for keys in [
        Box::new(place.keys(&vault)) as Box<dyn KeyStore>,
        Box::new(place.transit(&vault)),
    ] {
        keys.store(&acme, KeyVersion::NONE, &key(1)).unwrap();
        let all_fail = |expected| {
            assert_eq!(problem(keys.current(&acme)), expected);
            assert_eq!(problem(keys.version(&acme, KeyVersion(1))), expected);
            assert_eq!(problem(keys.versions(&acme)), expected);
            assert_eq!(problem(keys.store(&acme, KeyVersion(1), &key(2))), expected);
            assert_eq!(problem(keys.retire(&acme, KeyVersion(1))), expected);
        };
        bao.seal().unwrap();
        all_fail(KeyProblem::Sealed);
        bao.kill().unwrap();
        all_fail(KeyProblem::Unreachable);
        bao.restart_sealed().unwrap();
        all_fail(KeyProblem::Sealed);
        bao.unseal().unwrap();
        // The client is the same, and so is its token.
        let current = keys.current(&acme).unwrap();
        assert_eq!(current.version, KeyVersion(1));
        assert!(current.key.is_same(&key(1)));
        keys.store(&acme, KeyVersion(1), &key(2)).unwrap();
    }
}

#[test]
fn a_server_that_comes_back_in_time_is_waited_for() {
    let bao = Bao::start(&BaoOptions::default()).unwrap();
    let place = Place::at(&bao);
    let keys = place.keys(&place.root());
    keys.store(&id("acme"), KeyVersion::NONE, &key(1)).unwrap();
    bao.stop().unwrap();
    let patient = Vault::builder(bao.address())
        .authority_file(bao.authority_file())
        .login(place.root_login())
        .attempts(1000)
        .call_timeout(Duration::from_secs(120))
        .build()
        .unwrap();
    let keys = place.keys(&patient);
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| keys.current(&id("acme")));
        // It comes up sealed, which is not waited for: somebody has to do something.
        bao.restart_sealed().unwrap();
        let outcome = reading.join().unwrap();
        assert_eq!(problem(outcome), KeyProblem::Sealed);
    });
}

#[test]
fn a_server_that_is_not_the_one_is_told_nothing() {
    let place = Place::new();
    let (ours, theirs) = (Authority::new(), Authority::new());
    for (config, authority) in [
        (theirs.server("127.0.0.1"), &ours),
        (ours.server("127.0.0.2"), &ours),
        (ours.server("vault.internal"), &ours),
        (ours.expired_server("127.0.0.1"), &ours),
    ] {
        let https = Https::start(config, |_, _| {});
        let vault = Vault::builder(https.address())
            .authority_pem(authority.pem())
            .login(place.root_login())
            .build()
            .unwrap();
        let error = place.keys(&vault).current(&id("acme")).unwrap_err();
        assert_eq!(error.problem(), KeyProblem::Untrusted, "{error}");
        assert!(https.take_seen().is_empty());
    }
    // The system's authorities have not signed it, and a name is checked as an address is.
    let by_name = place.bao.address().replace("127.0.0.1", "localhost");
    let with = |builder: VaultBuilder| {
        let vault = builder.login(place.root_login()).build().unwrap();
        place.keys(&vault).current(&id("acme"))
    };
    let system = with(Vault::builder(&by_name));
    assert_eq!(problem(system), KeyProblem::Untrusted);
    let private = with(Vault::builder(&by_name).authority_file(place.bao.authority_file()));
    assert_eq!(problem(private), KeyProblem::NotFound);
    let nowhere = with(
        Vault::builder("https://nowhere.invalid")
            .authority_pem(ours.pem())
            .attempts(1),
    );
    assert!(
        [KeyProblem::Unreachable, KeyProblem::TimedOut].contains(&problem(nowhere)),
        "a name that does not exist"
    );
}

#[test]
fn what_speaks_no_tls_is_unreachable() {
    let through = Through::new();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("https://{}", listener.local_addr().unwrap());
    let vault = |builder: VaultBuilder| {
        builder
            .authority_pem(through.proxy.authority_pem())
            .login(through.place.root_login())
    };
    std::thread::scope(|scope| {
        scope.spawn(|| {
            use std::io::Write;
            for answer in [
                "HTTP/1.1 400 Bad Request\r\n\r\n",
                "",
                "SSH-2.0-OpenSSH_9.2\r\n",
            ] {
                let (mut socket, _) = listener.accept().unwrap();
                socket.write_all(answer.as_bytes()).unwrap();
            }
        });
        for _ in 0..3 {
            let error = through
                .read(vault(Vault::builder(&address)).attempts(1))
                .unwrap_err();
            assert_eq!(error.problem(), KeyProblem::Unreachable, "{error}");
        }
    });
    // It takes connections and says nothing.
    let silent = vault(Vault::builder(&address))
        .attempts(1)
        .request_timeout(Duration::from_millis(300));
    assert_eq!(problem(through.read(silent)), KeyProblem::TimedOut);
    drop(TcpStream::connect(listener.local_addr().unwrap()));
    drop(listener);
    let gone = vault(Vault::builder(&address)).attempts(2);
    assert_eq!(problem(through.read(gone)), KeyProblem::Unreachable);
}

#[test]
fn statuses_are_typed() {
    let through = Through::new();
    for (status, body, expected) in [
        (400, r#"{"errors":["what?"]}"#, KeyProblem::Unsupported),
        (
            403,
            r#"{"errors":["permission denied"]}"#,
            KeyProblem::Denied,
        ),
        (404, r#"{"errors":[]}"#, KeyProblem::NotFound),
        (404, "<html>not here</html>", KeyProblem::NotFound),
        (405, "", KeyProblem::Unsupported),
        (429, "", KeyProblem::Throttled),
        (500, r#"{"errors":["internal error"]}"#, KeyProblem::Failed),
        (502, "<html>bad gateway</html>", KeyProblem::Failed),
        (503, "<html>no backend</html>", KeyProblem::Failed),
        (503, r#"{"errors":["Vault is sealed"]}"#, KeyProblem::Sealed),
        (504, "", KeyProblem::TimedOut),
        (307, "", KeyProblem::Unreachable),
        (999, "", KeyProblem::Malformed),
    ] {
        through.fails(Fault::Answer(status, body.to_owned()), expected);
    }
}

#[test]
fn what_is_no_answer_of_such_a_server_is_malformed() {
    let through = Through::new();
    let number = r#"{"data":{"data":{"key":17},"metadata":{"version":1}}}"#;
    let negative = r#"{"data":{"data":{"key":""},"metadata":{"version":-1}}}"#;
    let deep = "[".repeat(100_000);
    for body in [
        "",
        "null",
        "{}",
        "[]",
        "<html></html>",
        "{\"data\":",
        number,
        negative,
        &deep,
    ] {
        through.fails(Fault::Answer(200, body.to_owned()), KeyProblem::Malformed);
    }
    let endless = format!("HTTP/1.1 200 OK\r\n\r\n{}", "x".repeat(1 << 20));
    let head = format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(1 << 16));
    let length = "HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n";
    for raw in ["garbage\r\n\r\n", "\0\0\0\0", &endless, &head, length] {
        through.fails(Fault::Raw(raw.as_bytes().to_vec()), KeyProblem::Malformed);
    }
    let not_utf8 = [
        b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n".to_vec(),
        vec![0xff; 4],
    ]
    .concat();
    through.fails(Fault::Raw(not_utf8), KeyProblem::Malformed);
    // A right answer to another question.
    let keys = through.place.keys(&through.builder().build().unwrap());
    let number = |version| format!("\"version\":{version}");
    through
        .proxy
        .set_next("/data/", [Fault::Replace(number(1), number(7))]);
    assert_eq!(
        problem(keys.version(&id("acme"), KeyVersion(1))),
        KeyProblem::Malformed
    );
}

#[test]
fn what_is_sent_back_does_not_get_into_an_error() {
    let through = Through::new();
    for status in [200, 400, 403, 404, 500] {
        through.proxy.set_next("/data/", [Fault::Echo(status)]);
        let error = through.read(through.builder()).unwrap_err();
        through.holds_no_secret(&format!("{error} {error:?}"));
        // What is stored is in what is sent back.
        through.proxy.set(move |seen| {
            if seen.method == "POST" && seen.path.contains("/data/") {
                Fault::Echo(status)
            } else {
                Fault::None
            }
        });
        let keys = through.place.keys(&through.builder().build().unwrap());
        let stored = keys.store(
            &id(&format!("echo{status}")),
            KeyVersion::NONE,
            &through.key,
        );
        let error = stored.unwrap_err();
        through.holds_no_secret(&format!("{error} {error:?}"));
    }
    let token = LoginSecret::text(through.place.bao.root_token().to_owned());
    let builder = through.builder();
    let vault = through.builder().build().unwrap();
    let keys = through.place.keys(&vault);
    let transit = through.place.transit(&vault);
    keys.current(&id("acme")).unwrap();
    let printed = format!("{token:?} {builder:?} {vault:?} {keys:?} {transit:?}");
    through.holds_no_secret(&printed);
}

#[test]
fn an_answer_that_is_cut_is_unreachable_wherever_it_is_cut() {
    let through = Through::new();
    for len in [0, 1, 8, 17, 100, 250] {
        through.fails(Fault::Cut(len), KeyProblem::Unreachable);
    }
    through.fails(Fault::Drop, KeyProblem::Unreachable);
    through.fails(Fault::LoseAnswer, KeyProblem::Unreachable);
}

#[test]
fn a_slow_server_is_timed_out() {
    let through = Through::new();
    let hasty = || {
        let builder = through.builder();
        builder.request_timeout(Duration::from_secs(2))
    };
    for fault in [
        Fault::Drip(Duration::from_millis(100)),
        Fault::Hang(Duration::from_secs(10)),
    ] {
        through.proxy.set_next("/data/", [fault.clone(), fault]);
        assert_eq!(problem(through.read(hasty())), KeyProblem::TimedOut);
        // The limit of the whole call holds whatever is left to be tried.
        let whole = hasty().attempts(1000).call_timeout(Duration::from_secs(3));
        through.proxy.set(|seen| {
            if seen.path.contains("/data/") {
                Fault::Hang(Duration::from_secs(10))
            } else {
                Fault::None
            }
        });
        assert_eq!(problem(through.read(whole)), KeyProblem::TimedOut);
    }
}

#[test]
fn what_may_be_tried_again_is_until_the_limit() {
    let through = Through::new();
    let unwell = [
        Fault::Answer(500, String::new()),
        Fault::Raw(b"HTTP/1.1 429 Slow\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n".to_vec()),
        Fault::Cut(20),
        Fault::Drop,
    ];
    for faults in unwell.windows(3) {
        through.proxy.set_next("/data/", faults.to_vec());
        let read = through.read(through.builder().attempts(4)).unwrap();
        assert!(read.key.is_same(&through.key));
        // One to look the token up, three that fail and one that does not.
        assert_eq!(through.proxy.take_seen().len(), 5);
    }
    for (fault, expected) in [
        (Fault::Answer(500, String::new()), KeyProblem::Failed),
        (Fault::Answer(429, String::new()), KeyProblem::Throttled),
        (Fault::Drop, KeyProblem::Unreachable),
    ] {
        through.proxy.set_next("/data/", vec![fault; 10]);
        assert_eq!(
            problem(through.read(through.builder().attempts(3))),
            expected
        );
        assert_eq!(through.proxy.take_seen().len(), 4);
    }
    for fault in [
        Fault::Answer(403, String::new()),
        Fault::Answer(404, String::from(r#"{"errors":[]}"#)),
        Fault::Answer(503, String::from(r#"{"errors":["Vault is sealed"]}"#)),
        Fault::Answer(200, String::from("{}")),
        // Longer than is waited for.
        Fault::Raw(b"HTTP/1.1 429 Slow\r\nRetry-After: 900\r\nContent-Length: 0\r\n\r\n".to_vec()),
    ] {
        through.proxy.set_next("/data/", vec![fault; 10]);
        through.read(through.builder().attempts(4)).unwrap_err();
        assert_eq!(through.proxy.take_seen().len(), 2);
    }
}

/// The answer to a store is lost, or is none: was it stored?
#[test]
fn a_store_whose_answer_is_lost_is_told_from_one_that_was_not_done() {
    let through = Through::new();
    let transit = through.place.transit(&through.place.root());
    transit
        .store(&id("acme"), KeyVersion::NONE, &key(1))
        .unwrap();
    let vault = through.builder().attempts(3).build().unwrap();
    let stores: [(&str, Box<dyn KeyStore>); 2] = [
        ("/helix/", Box::new(through.place.keys(&vault))),
        ("/wrapped/", Box::new(through.place.transit(&vault))),
    ];
    let acme = id("acme");
    for (path, keys) in stores {
        let set = |fault: Fault| {
            let left = std::sync::Mutex::new(Some(fault));
            through.proxy.set(move |seen| {
                let is_store = seen.method == "POST" && seen.path.contains(path);
                let next = is_store.then(|| left.lock().unwrap().take()).flatten();
                next.unwrap_or(Fault::None)
            });
        };
        let mut newest = KeyVersion(1);
        for done in [
            Fault::LoseAnswer,
            Fault::Cut(30),
            Fault::DoneBut(500, String::new()),
            Fault::DoneBut(504, String::from("<html></html>")),
            Fault::DoneBut(200, String::from("{}")),
        ] {
            set(done);
            let key = KeyMaterial::generate().unwrap();
            let stored = keys.store(&acme, newest, &key).unwrap();
            assert_eq!(stored, KeyVersion(newest.0 + 1));
            assert!(keys.current(&acme).unwrap().key.is_same(&key));
            newest = stored;
        }
        for (undone, expected) in [
            (Fault::Drop, KeyProblem::Unreachable),
            (Fault::Answer(500, String::new()), KeyProblem::Failed),
            (
                Fault::Answer(200, String::from("{}")),
                KeyProblem::Malformed,
            ),
            (Fault::Answer(403, String::new()), KeyProblem::Denied),
        ] {
            set(undone);
            assert_eq!(problem(keys.store(&acme, newest, &key(3))), expected);
            assert_eq!(keys.current(&acme).unwrap().version, newest);
        }
        // What was certainly not done is done again.
        for again in [
            Fault::Answer(429, String::new()),
            Fault::Answer(
                400,
                String::from("Upgrading from non-versioned to versioned data."),
            ),
        ] {
            set(again);
            newest = keys.store(&acme, newest, &key(4)).unwrap();
        }
    }
}

#[test]
fn an_address_or_an_authority_that_cannot_be_used_is_refused() {
    let place = Place::new();
    let login = place.root_login();
    let build = |builder: VaultBuilder| builder.login(login.clone()).build().unwrap_err().problem();
    let authority = Authority::new();
    for address in [
        "http://127.0.0.1:8200",
        "127.0.0.1:8200",
        "https://",
        "https://127.0.0.1:port",
        "https://127.0.0.1:8200/v1",
        "https://user:secret@127.0.0.1:8200",
        "https://[::1",
        "https://a b",
        "https://127.0.0.1:99999",
    ] {
        let builder = Vault::builder(address).authority_pem(authority.pem());
        assert_eq!(build(builder), KeyProblem::Unsupported, "{address:?}");
    }
    for address in [
        "https://[::1]:8200",
        "https://vault.internal",
        "https://127.0.0.1:1/",
    ] {
        let builder = Vault::builder(address).authority_pem(authority.pem());
        builder.login(login.clone()).build().unwrap();
    }
    let https = "https://127.0.0.1:8200";
    let begun = authority.pem().get(..100).unwrap();
    for pem in ["", "no certificate", begun] {
        assert_eq!(
            build(Vault::builder(https).authority_pem(pem)),
            KeyProblem::Malformed
        );
    }
    let file = Vault::builder(https).authority_file("/nonexistent/authority.pem");
    assert_eq!(build(file), KeyProblem::Io);
    let nobody = Vault::builder(https).authority_pem(authority.pem()).build();
    assert_eq!(nobody.unwrap_err().problem(), KeyProblem::Unsupported);
    let namespace = Vault::builder(https)
        .authority_pem(authority.pem())
        .namespace("a\r\nX: b");
    assert_eq!(build(namespace), KeyProblem::Unsupported);
    let mount = Login::app_role("a", LoginSecret::text(String::from("b"))).mount("../sys");
    let mount = Vault::builder(https)
        .authority_pem(authority.pem())
        .login(mount)
        .build();
    assert_eq!(mount.unwrap_err().problem(), KeyProblem::Unsupported);
}
