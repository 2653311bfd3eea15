//! That ours is what the command prints.

use super::printed::{Printed, Row, json};
use super::report;
use crate::support::{TestPool, module};
use helix_zfs::zfs_core::pool::{
    ActivityState, CheckpointState, DamagedObject, PoolReport, RebuildState, Repair, ScanFunction,
    ScanState, ScanStatus, StatusCode, VdevAux, VdevClass, VdevKind,
};
use helix_zfs::zfs_core::{Health, Vdev};
use serde_json::Value as Json;
use std::time::Duration;

/// Compares all that the command tells as well, and returns the report.
///
/// Between two looks at a pool that works it changes: so there is one before the command's and one
/// after it, what the command prints is one of both, and its figures lie between them. A change
/// in the very middle is looked at again.
pub(crate) fn agrees(of: &TestPool) -> PoolReport {
    const TRIES: usize = 8;
    for tries in 1.. {
        let before = report(of);
        let printed = Printed::of(of);
        let json = json(of);
        let after = report(of);
        let (old, new) = (expected(of, &before), expected(of, &after));
        let figures = json.map_or(Ok(()), |json| figures(&before, &json, &after));
        if (printed == old || printed == new) && figures.is_ok() {
            return after;
        }
        if tries == TRIES {
            assert_eq!(new, printed);
            figures.unwrap();
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    unreachable!()
}

/// What the command has to print.
fn expected(of: &TestPool, report: &PoolReport) -> Printed {
    let status = &report.status;
    let vdev = |id: u64| status.root.children.iter().find(|top| top.id == Some(id));
    Printed {
        state: status.health.to_string(),
        code: match report.advice.code {
            // Of one text.
            StatusCode::Rebuilding => StatusCode::Resilvering,
            StatusCode::IoFailureContinue => StatusCode::IoFailureWait,
            code => code,
        },
        see: report.advice.code.message_id().map(String::from),
        scans: scans(report),
        remove: status.removal.as_ref().map(|removal| {
            assert!(vdev(removal.vdev).is_some());
            let under_way = removal.state == ScanState::Scanning;
            if under_way { "Evacuation" } else { "Removal" }.into()
        }),
        checkpoint: status.checkpoint.as_ref().map(|checkpoint| {
            let exists = checkpoint.state == CheckpointState::Exists;
            if exists { "created" } else { "discarding" }.into()
        }),
        expand: status.expansion.as_ref().map(|expansion| {
            assert!(vdev(expansion.vdev).is_some());
            let under_way = expansion.state == ScanState::Scanning;
            if under_way { "expansion" } else { "expanded" }.into()
        }),
        rows: rows(of, report),
        errors: report.error_log.as_ref().map(|log| {
            let mut files: Vec<String> = log.iter().map(listed).collect();
            files.sort_unstable();
            files
        }),
    }
}

/// Which scans the command prints: a scrub always, and the later one of resilver and rebuilds.
fn scans(report: &PoolReport) -> Vec<String> {
    let scan = report.status.scan.as_ref();
    let line = |scan: &ScanStatus| {
        let what = match scan.function {
            ScanFunction::Scrub => "scrub",
            ScanFunction::Resilver => "resilver",
            ref other => panic!("{other:?}"),
        };
        match scan.state {
            ScanState::Finished => format!("{what} finished with {}", scan.errors),
            ScanState::Scanning if scan.paused.is_some() => format!("{what} paused"),
            ScanState::Scanning => format!("{what} in"),
            ScanState::Canceled => format!("{what} canceled"),
            ref other => panic!("{other:?}"),
        }
    };
    let is = |function| move |scan: &&ScanStatus| scan.function == function;
    let mut lines = Vec::new();
    if let Some(scrub) = scan.filter(is(ScanFunction::Scrub)) {
        lines.push(line(scrub));
    }
    let tops = || {
        let tops = report.status.root.children.iter();
        tops.filter_map(|top| Some((top, top.rebuild.as_ref()?)))
    };
    let rebuilding = tops().any(|(_, rebuild)| rebuild.state == RebuildState::Active);
    let rebuilt = tops().filter_map(|(_, rebuild)| rebuild.end).max();
    match scan.filter(is(ScanFunction::Resilver)) {
        Some(resilver)
            if resilver.state == ScanState::Scanning || !rebuilding && resilver.end > rebuilt =>
        {
            lines.push(line(resilver));
        }
        _ => {
            for (top, rebuild) in tops() {
                lines.push(match rebuild.state {
                    RebuildState::Active => format!("rebuild {top} in"),
                    RebuildState::Complete => {
                        format!("rebuild {top} finished with {}", rebuild.errors)
                    }
                    ref other => panic!("{other:?}"),
                });
            }
        }
    }
    lines
}

/// The table of vdevs.
fn rows(of: &TestPool, report: &PoolReport) -> Vec<Row> {
    let status = &report.status;
    let tops = |class: VdevClass| {
        let all = status.root.children.iter();
        all.filter(move |top| top.class == class)
    };
    let mut rows = Vec::new();
    let mut root = row(&status.root, 0);
    root.name = of.name().into();
    // The command has the state of the vdevs here, and that of the pool above.
    root.state = status.root.health().to_string();
    rows.push(root);
    for top in tops(VdevClass::Data) {
        add(top, 2, &mut rows);
    }
    for (class, name) in [
        (VdevClass::Dedup, "dedup"),
        (VdevClass::Special, "special"),
        (VdevClass::Log, "logs"),
    ] {
        add_class(name, tops(class), &mut rows);
    }
    add_class("cache", status.caches.iter(), &mut rows);
    add_class("spares", status.spares.iter(), &mut rows);
    rows
}

fn add_class<'a>(name: &str, vdevs: impl Iterator<Item = &'a Vdev>, rows: &mut Vec<Row>) {
    let start = rows.len();
    for vdev in vdevs {
        add(vdev, 2, rows);
    }
    if rows.len() > start {
        let header = Row {
            depth: 0,
            name: name.into(),
            state: String::new(),
            counts: Vec::new(),
            note: String::new(),
        };
        rows.insert(start, header);
    }
}

fn add(vdev: &Vdev, depth: usize, rows: &mut Vec<Row>) {
    if matches!(vdev.kind, VdevKind::Hole | VdevKind::Indirect) {
        return;
    }
    rows.push(row(vdev, depth));
    for child in &vdev.children {
        add(child, depth + 2, rows);
    }
}

fn row(vdev: &Vdev, depth: usize) -> Row {
    let stats = vdev.stats.as_ref().unwrap();
    let counts = [
        stats.read_errors,
        stats.write_errors,
        stats.checksum_errors,
        stats.slow_ios,
    ];
    let is_spare = vdev.class == VdevClass::Spare;
    Row {
        depth,
        name: vdev.to_string(),
        state: vdev.health().to_string(),
        counts: if is_spare { Vec::new() } else { counts.into() },
        note: note(vdev),
    }
}

/// What the command says behind a vdev.
fn note(vdev: &Vdev) -> String {
    let stats = vdev.stats.as_ref().unwrap();
    let why = match vdev.aux {
        _ if vdev.not_present => format!("was {}", vdev.path.as_ref().unwrap().display()),
        VdevAux::None => String::new(),
        VdevAux::OpenFailed => "cannot open".into(),
        VdevAux::NoReplicas => "insufficient replicas".into(),
        VdevAux::Spared => "currently in use".into(),
        VdevAux::TooManyErrors => "too many errors".into(),
        VdevAux::IoFailure => "experienced I/O failures".into(),
        VdevAux::External | VdevAux::ExternalPersist => "external device fault".into(),
        VdevAux::ChildrenOffline => "all children offline".into(),
        VdevAux::BadLabel => "invalid label".into(),
        VdevAux::CorruptData => "corrupted data".into(),
        ref other => panic!("{other:?}"),
    };
    // The command of 2.1 has it nowhere but in the line of the removal.
    let removing = if stats.removing && module() >= (2, 3) {
        "(removing)"
    } else {
        ""
    };
    let repair = match vdev.repair {
        None => "",
        Some(Repair::Resilvering) => "(resilvering)",
        Some(Repair::Repairing) => "(repairing)",
        Some(Repair::AwaitingResilver) => "(awaiting resilver)",
        Some(other) => panic!("{other:?}"),
    };
    let is_leaf = vdev.children.is_empty();
    let active = |state, text| {
        if is_leaf && state == ActivityState::Active {
            text
        } else {
            ""
        }
    };
    let parts = [
        why.as_str(),
        removing,
        repair,
        active(stats.initialize.state, "(initializing)"),
        active(stats.trim.state, "(trimming)"),
    ];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(" ")
}

/// A damaged file as the command lists it: below its mount point if it is mounted.
fn listed(object: &DamagedObject) -> String {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    let mount_point = mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (source, target) = (words.next()?, words.next()?);
        (Some(source) == object.dataset.as_deref()).then_some(target)
    });
    mount_point
        .and_then(|mount_point| object.path_below(mount_point))
        .map_or_else(|| object.to_string(), |path| path.display().to_string())
}

/// Compares the figures of the command's JSON. Those that are zero are not in it.
fn figures(before: &PoolReport, json: &Json, after: &PoolReport) -> Result<(), String> {
    let (old, new) = (serde_json::to_value(before), serde_json::to_value(after));
    let (old, new) = (old.unwrap(), new.unwrap());
    let check = |json: &Json, theirs: &str, at: &str| between(&old, &new, at, json, theirs);
    check(json, "txg", "/txg")?;
    check(json, "error_count", "/error_count")?;
    if json["pool_guid"].as_u64() != Some(after.status.guid) {
        return Err(format!("{} is not the guid", json["pool_guid"]));
    }
    if json["msgid"].as_str() != after.advice.code.message_id() {
        return Err(format!("{} is not the message", json["msgid"]));
    }
    for (section, theirs, ours) in [
        ("scan_stats", "start_time", "/scan/start"),
        ("scan_stats", "to_examine", "/scan/to_examine"),
        ("scan_stats", "examined", "/scan/examined"),
        ("scan_stats", "skipped", "/scan/skipped"),
        ("scan_stats", "processed", "/scan/processed"),
        ("scan_stats", "errors", "/scan/errors"),
        ("scan_stats", "bytes_per_scan", "/scan/pass_examined"),
        ("scan_stats", "pass_start", "/scan/pass_start"),
        (
            "scan_stats",
            "scrub_spent_paused",
            "/scan/pass_spent_paused",
        ),
        ("scan_stats", "issued_bytes_per_scan", "/scan/pass_issued"),
        ("scan_stats", "issued", "/scan/issued"),
        ("checkpoint_stats", "start_time", "/checkpoint/start"),
        ("checkpoint_stats", "space", "/checkpoint/space"),
        ("removal_stats", "removing_vdev", "/removal/vdev"),
        ("removal_stats", "start_time", "/removal/start"),
        ("removal_stats", "to_copy", "/removal/to_copy"),
        ("removal_stats", "copied", "/removal/copied"),
        ("removal_stats", "mapping_memory", "/removal/mapping_memory"),
        ("raidz_expand_stats", "expanding_vdev", "/expansion/vdev"),
        ("raidz_expand_stats", "start_time", "/expansion/start"),
        ("raidz_expand_stats", "to_reflow", "/expansion/to_reflow"),
        ("raidz_expand_stats", "reflowed", "/expansion/reflowed"),
    ] {
        if let Some(section) = json.get(section) {
            check(section, theirs, ours)?;
        }
    }
    vdevs(json, &old, &new)
}

/// All vdevs of the command's JSON: they nest in maps called `vdevs`, and there is a map for each
/// class.
fn vdevs(json: &Json, old: &Json, new: &Json) -> Result<(), String> {
    for section in ["vdevs", "special", "dedup", "logs", "l2cache", "spares"] {
        for vdev in json
            .get(section)
            .and_then(Json::as_object)
            .into_iter()
            .flatten()
        {
            let guid = vdev.1["guid"].to_string();
            let is_spare = section == "spares";
            let find = |report| find(report, &guid, is_spare);
            let (Some(before), Some(after)) = (find(old), find(new)) else {
                return Err(format!("no vdev {guid} {}", vdev.0));
            };
            for (theirs, ours) in [
                ("alloc_space", "/stats/allocated"),
                ("total_space", "/stats/size"),
                ("def_space", "/stats/deflated_size"),
                ("rep_dev_size", "/stats/replaceable_size"),
                ("ex_dev_size", "/stats/expandable_size"),
                ("phys_space", "/stats/physical_size"),
                ("self_healed", "/stats/self_healed"),
                ("read_errors", "/stats/read_errors"),
                ("write_errors", "/stats/write_errors"),
                ("checksum_errors", "/stats/checksum_errors"),
                ("slow_ios", "/stats/slow_ios"),
                ("scan_processed", "/stats/scan_processed"),
                ("checkpoint_space", "/stats/checkpoint_space"),
                ("initialized", "/stats/initialize/done"),
                ("to_initialize", "/stats/initialize/estimate"),
                ("init_time", "/stats/initialize/since"),
                ("trimmed", "/stats/trim/done"),
                ("to_trim", "/stats/trim/estimate"),
                ("trim_time", "/stats/trim/since"),
            ] {
                if let Some(figure) = vdev.1.get(theirs) {
                    between(before, after, ours, vdev.1, theirs)
                        .map_err(|error| format!("{} {figure}: {error}", vdev.0))?;
                }
            }
            let state = |ours: &Json| match ours["state"].as_str() {
                // The text has other words for these.
                Some("cant_open") if !is_spare => Json::from("CANT_OPEN"),
                Some("closed") if !is_spare => Json::from("CLOSED"),
                _ => ours["health"].clone(),
            };
            if ![before, after].map(state).contains(&vdev.1["state"]) {
                return Err(format!("{} {}", vdev.0, vdev.1["state"]));
            }
            if !is_spare {
                vdevs(vdev.1, old, new)?;
            }
        }
    }
    Ok(())
}

/// A vdev of ours. A spare in use is in the tree and among the spares.
fn find<'a>(json: &'a Json, guid: &str, is_spare: bool) -> Option<&'a Json> {
    fn below<'a>(vdev: &'a Json, guid: &str) -> Option<&'a Json> {
        if vdev["guid"] == guid {
            return Some(vdev);
        }
        let children = vdev["children"].as_array()?;
        children.iter().find_map(|child| below(child, guid))
    }
    let list = |key: &str| {
        let list = json[key].as_array().into_iter().flatten();
        list.into_iter().find_map(|vdev| below(vdev, guid))
    };
    match is_spare {
        true => list("spares"),
        false => below(&json["root"], guid).or_else(|| list("caches")),
    }
}

/// Whether the command's figure is between two of ours.
fn between(old: &Json, new: &Json, at: &str, json: &Json, theirs: &str) -> Result<(), String> {
    let ours = |report: &Json| report.pointer(at).and_then(Json::as_u64);
    if json[theirs].is_null() && ours(new).is_none() {
        return Ok(());
    }
    let (Some(old), Some(new), Some(figure)) = (ours(old), ours(new), json[theirs].as_u64()) else {
        return Err(format!(
            "{theirs}: {} and {:?}",
            json[theirs],
            new.pointer(at)
        ));
    };
    if (old.min(new)..=old.max(new)).contains(&figure) {
        return Ok(());
    }
    Err(format!("{theirs}: {figure} is not from {old} to {new}"))
}

/// That the pool is well.
pub(super) fn well(report: &PoolReport) {
    assert_eq!(report.status.health, Health::Online);
    assert_eq!(report.advice.code, StatusCode::Ok);
}
