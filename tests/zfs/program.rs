//! Channel programs.

use crate::examples::{fails, works};
use crate::support::{Scratch, TENANT, as_user, run, zfs, zfs_get};
use helix_zfs::zfs_core::nv::{NvMap, Value};
use helix_zfs::zfs_core::program::{ChannelProgram, ProgramResult};
use helix_zfs::zfs_core::props::UserProps;
use helix_zfs::zfs_core::{CreateOptions, Error, ErrorKind, Pool, SnapshotFilter};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

fn pool(of: &Scratch) -> Pool {
    zfs().pool(of.name().split('/').next().unwrap()).unwrap()
}

fn returned(pool: &Pool, lua: &str) -> ProgramResult {
    pool.run_program_read_only(&ChannelProgram::new(lua))
        .unwrap()
}

fn failed(pool: &Pool, program: &ChannelProgram) -> Error {
    pool.run_program_read_only(program).unwrap_err()
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Plan {
    tenant: String,
    limit: u64,
    offset: i32,
    urgent: bool,
    reason: Option<String>,
    mode: Mode,
    sizes: Vec<u64>,
    names: Vec<String>,
    none: Vec<u32>,
    steps: Vec<Step>,
    owners: BTreeMap<u32, String>,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Step {
    what: String,
    n: i64,
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    Careful,
    Bold { retries: u8 },
}

#[test]
fn arguments_and_results_pass_by_serde() {
    let scratch = Scratch::new("program");
    let pool = pool(&scratch);
    let mut plan = Plan {
        tenant: "acme".into(),
        limit: 1 << 62,
        offset: -7,
        urgent: true,
        reason: None,
        mode: Mode::Bold { retries: 3 },
        sizes: vec![1, 2, 3],
        names: vec!["a".into(), "b".into()],
        none: vec![],
        steps: (0..12)
            .map(|n| Step {
                what: format!("step {n}"),
                n,
            })
            .collect(),
        owners: BTreeMap::from([(1000, "alice".into()), (1001, "bob".into())]),
    };
    let echo = ChannelProgram::new("return ...");
    for _ in 0..2 {
        let program = echo.clone().arguments(&plan).unwrap();
        let result = pool.run_program_read_only(&program).unwrap();
        assert_eq!(result.get::<Plan>().unwrap(), plan);
        plan.mode = Mode::Careful;
        plan.reason = Some("because".into());
    }

    // Lua sees numbers, texts, arrays and tables.
    let lua = "
        args = ...
        return type(args.limit) .. ' ' .. type(args.urgent) .. ' ' .. args.sizes[3] .. ' '
            .. args.names[2] .. ' ' .. #args.none .. ' ' .. args.steps['12'].what .. ' '
            .. args.owners['1001'] .. ' ' .. tostring(args.absent)";
    let program = ChannelProgram::new(lua).arguments(&plan).unwrap();
    let result = pool.run_program_read_only(&program).unwrap();
    assert_eq!(result.text(), Some("number boolean 3 b 0 step 11 bob nil"));
    assert_eq!(result.get::<&str>().unwrap(), result.text().unwrap());

    let refused = |arguments: &BTreeMap<&str, f64>| {
        let error = ChannelProgram::new("").arguments(arguments).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidArgument);
    };
    refused(&BTreeMap::from([("share", 0.5)]));
    let number = ChannelProgram::new("").arguments(&7).unwrap_err();
    assert_eq!(number.kind(), ErrorKind::InvalidArgument);
}

#[test]
fn results_are_what_lua_returned() {
    let scratch = Scratch::new("program");
    let pool = pool(&scratch);
    assert_eq!(
        returned(&pool, "return 9007199254740993").number(),
        Some(9_007_199_254_740_993)
    );
    assert_eq!(returned(&pool, "return true").truth(), Some(true));
    assert_eq!(returned(&pool, "return 'text'").text(), Some("text"));
    for nothing in ["", "return", "return nil"] {
        let result = returned(&pool, nothing);
        assert_eq!(result.value(), None, "{nothing}");
        assert_eq!(result.get::<Option<bool>>().unwrap(), None);
        assert_eq!(
            result.get::<bool>().unwrap_err().kind(),
            ErrorKind::Protocol
        );
    }
    let result = returned(&pool, "return {5, 'x', {y = false}}");
    let table = result.table().unwrap();
    assert_eq!(
        (table.len(), table.i64("1"), table.str("2")),
        (3, Some(5), Some("x"))
    );
    assert_eq!(
        table.list("3").and_then(|inner| inner.get("y")),
        Some(&Value::BooleanValue(false))
    );
    assert_eq!(
        result
            .get::<(i32, String, BTreeMap<String, bool>)>()
            .unwrap(),
        (5, "x".to_owned(), BTreeMap::from([("y".to_owned(), false)]))
    );
    let error = result.get::<Vec<u8>>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Protocol);

    let mut table = NvMap::new();
    table.insert(c"flag", Value::Boolean);
    table.insert(c"wide", 5_u64);
    let program = ChannelProgram::new("a = ... return tostring(a.t.flag) .. a.t.wide .. a.u[2]")
        .argument("t", table)
        .argument("u", ["x", "y"]);
    let result = pool.run_program_read_only(&program).unwrap();
    assert_eq!(result.into_value(), Some(Value::String(c"true5y".into())));
}

#[test]
fn a_program_changes_many_datasets_at_once() {
    let scratch = Scratch::new("program");
    let pool = pool(&scratch);
    let names = ["a", "b", "c"].map(|name| format!("{}/{name}", scratch.name()));
    for name in &names {
        let dataset = zfs().dataset(name).unwrap();
        dataset.create(&CreateOptions::filesystem()).unwrap();
    }
    let program = ChannelProgram::new(
        "args = ...
         failed = {}
         count = 0
         for child in zfs.list.children(args.root) do
             err = zfs.sync.snapshot(child .. '@' .. args.name)
             if err ~= 0 then failed[child] = err else count = count + 1 end
             zfs.sync.set_prop(child, 'helix:run', args.run)
         end
         return {count = count, failed = failed}",
    )
    .argument("root", scratch.name())
    .argument("name", "together")
    .argument("run", "17");

    #[derive(Debug, PartialEq, Deserialize)]
    struct Outcome {
        count: u32,
        failed: BTreeMap<String, i32>,
    }
    let outcome: Outcome = pool.run_program(&program).unwrap().get().unwrap();
    assert_eq!((outcome.count, outcome.failed), (3, BTreeMap::new()));
    let txgs = names
        .each_ref()
        .map(|name| zfs_get("createtxg", format!("{name}@together")));
    assert!(txgs.iter().all(|txg| *txg == txgs[0]), "{txgs:?}");
    assert_eq!(zfs_get("helix:run", &names[2]), "17");

    // What a function refuses is a number for the program, and no error.
    let outcome: Outcome = pool.run_program(&program).unwrap().get().unwrap();
    assert_eq!(outcome.count, 0);
    assert_eq!(
        outcome.failed,
        names.iter().map(|name| (name.clone(), 17)).collect()
    );

    // A dry run does nothing.
    let dry = ChannelProgram::new("return zfs.check.destroy((...).name)")
        .argument("name", names[0].as_str());
    let answer = pool.run_program_read_only(&dry).unwrap();
    assert_ne!(answer.number(), Some(0), "it has a snapshot");
    assert!(zfs().dataset(&names[0]).unwrap().exists().unwrap());

    let history = run("zpool", &["history", pool.name().as_str()]);
    let line = format!("zfs program {} -", pool.name());
    assert!(
        history.lines().any(|known| known.ends_with(&line)),
        "{line}"
    );
}

#[test]
fn errors_have_lua_s_words() {
    let scratch = Scratch::new("program");
    let pool = pool(&scratch);
    let error = failed(&pool, &ChannelProgram::new("return +"));
    assert_eq!(error.kind(), ErrorKind::InvalidProgram, "{error}");
    assert!(
        error.detail().unwrap().contains("unexpected symbol"),
        "{error:?}"
    );

    let error = failed(
        &pool,
        &ChannelProgram::new("local x = 1\nerror('no more room')"),
    );
    assert_eq!(error.kind(), ErrorKind::ProgramFailed, "{error}");
    let detail = error.detail().unwrap();
    assert!(detail.contains(":2: no more room"), "{detail}");
    assert!(detail.contains("stack traceback"), "{detail}");
    let line = error.to_string();
    assert!(
        line.contains(":2: no more room") && !line.contains('\n'),
        "{line}"
    );

    for (lua, words) in [
        ("return 1, 2", "ultiple return"),
        ("return function() end", "function"),
        ("return {[1] = 'a', ['1'] = 'b'}", "1"),
        ("local t = {} t.t = t return t", ""),
        ("zfs.sync.snapshot('a@b')", "sync"),
        ("return zfs.exists('hz-no-such-pool/a')", "hz-no-such-pool"),
        ("return zfs.get_prop(nil, 'used')", ""),
        ("return absent.field", "absent"),
    ] {
        let error = failed(&pool, &ChannelProgram::new(lua));
        assert_eq!(error.kind(), ErrorKind::ProgramFailed, "{lua}: {error}");
        assert!(
            error.detail().is_some_and(|text| text.contains(words)),
            "{error:?}"
        );
    }
}

#[test]
fn limits_hold() {
    let scratch = Scratch::new("program");
    let pool = pool(&scratch);
    let endless = ChannelProgram::new("while true do end").instruction_limit(10_000);
    let error = failed(&pool, &endless);
    assert_eq!(error.kind(), ErrorKind::InstructionLimit, "{error}");
    let greedy = ChannelProgram::new("s = 'x' while true do s = s .. s end").memory_limit(1 << 20);
    let error = failed(&pool, &greedy);
    assert_eq!(error.kind(), ErrorKind::MemoryLimit, "{error}");
    for program in [
        ChannelProgram::new("").instruction_limit(0),
        ChannelProgram::new("").instruction_limit(100_000_001),
        ChannelProgram::new("").memory_limit(0),
        ChannelProgram::new("").memory_limit(usize::MAX),
        ChannelProgram::new("").argument("share", Value::Double(0.5)),
    ] {
        let error = failed(&pool, &program);
        assert_eq!(error.kind(), ErrorKind::InvalidArgument, "{error}");
    }

    // One table a hundred times is small in Lua and large in the answer. The program has run, once.
    let name = format!("{}@once", scratch.name());
    let large = ChannelProgram::new(
        "assert(zfs.sync.snapshot((...).name) == 0)
         t = {} for i = 1, 1000 do t[i] = i end
         r = {} for i = 1, 100 do r[i] = t end
         return r",
    )
    .argument("name", name.as_str())
    .memory_limit(1 << 20);
    let error = pool.run_program(&large).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooBig, "{error}");
    assert!(zfs().snapshot(&name).unwrap().exists().unwrap());

    // What fits is all there.
    let result = returned(&pool, "t = {} for i = 1, 20000 do t[i] = i end return t");
    let numbers: Vec<u64> = result.get().unwrap();
    assert_eq!((numbers.len(), numbers[19_999]), (20_000, 20_000));
}

#[test]
fn what_was_done_before_an_error_stays_done() {
    let scratch = Scratch::new("program");
    let pool = pool(&scratch);
    let half = ChannelProgram::new(
        "zfs.sync.snapshot((...).name .. '@before')
         error('stop')
         zfs.sync.snapshot((...).name .. '@after')",
    )
    .argument("name", scratch.name());
    let error = pool.run_program(&half).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ProgramFailed, "{error}");
    assert!(scratch.snapshot("before").unwrap().exists().unwrap());
    assert!(!scratch.snapshot("after").unwrap().exists().unwrap());
}

#[test]
fn only_root_runs_programs_and_on_pools_that_are_there() {
    let scratch = Scratch::new("program");
    let pool = pool(&scratch);
    let program = ChannelProgram::new("return 1");
    let error = as_user(TENANT, || pool.run_program(&program).unwrap_err());
    assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{error}");
    let absent = zfs().pool("hz-no-such-pool").unwrap();
    let error = absent.run_program(&program).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
    assert_eq!(error.object(), "hz-no-such-pool");
}

#[test]
fn existence_is_told_for_many_at_once() {
    let scratch = Scratch::new("program");
    let pool = pool(&scratch);
    scratch
        .snapshot("there")
        .unwrap()
        .create(&UserProps::new())
        .unwrap();
    let names = [
        scratch.name().to_owned(),
        format!("{}/absent", scratch.name()),
        format!("{}@there", scratch.name()),
        format!("{}@absent", scratch.name()),
        pool.name().to_string(),
    ];
    assert_eq!(
        pool.exist_together(&names).unwrap(),
        [true, false, true, false, true]
    );
    assert!(pool.exist_together::<&str>(&[]).unwrap().is_empty());
    let error = pool.exist_together(&["hz-elsewhere/a"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::CrossPool);
    let error = pool.exist_together(&["a//b"]).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidName);
    // Several thousand names fit the limits.
    let many = vec![scratch.name(); 5000];
    assert_eq!(pool.exist_together(&many).unwrap(), vec![true; 5000]);
}

#[test]
fn the_example_rotates_snapshots() {
    let scratch = Scratch::new("rotate");
    let children = ["a", "b"].map(|name| scratch.child(name).unwrap());
    for child in &children {
        child.create(&CreateOptions::filesystem()).unwrap();
        let other = child.snapshot("other").unwrap();
        other.create(&UserProps::new()).unwrap();
    }
    let rotate = |day: &str, options: &[&str]| {
        let mut arguments = vec![scratch.name(), "nightly-", day, "2"];
        arguments.extend_from_slice(options);
        works("channel_program", &arguments)
    };
    assert_eq!(
        rotate("1", &["--dry-run"]),
        "would be taken: 2\nwould be destroyed: 0\n"
    );
    assert_eq!(rotate("1", &[]), "taken: 2\ndestroyed: 0\n");
    assert_eq!(rotate("2", &[]), "taken: 2\ndestroyed: 0\n");
    assert_eq!(rotate("3", &[]), "taken: 2\ndestroyed: 2\n");
    for child in &children {
        let names: Vec<String> = child
            .snapshots(&SnapshotFilter::new())
            .unwrap()
            .iter()
            .map(|snapshot| snapshot.name.short().to_owned())
            .collect();
        assert_eq!(names, ["other", "nightly-2", "nightly-3"]);
    }
    assert!(fails("channel_program", &[]).starts_with("usage"));
    let message = fails("channel_program", &["hz-no-such-pool/a", "p-", "1", "1"]);
    assert!(message.contains("does not exist"), "{message}");
    let message = fails("channel_program", &[scratch.name(), "p-", "1", "0"]);
    assert!(message.contains("kept"), "{message}");
}
