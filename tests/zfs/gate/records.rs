//! What is on record: in the log, and in the pool's history.

use super::Place;
use crate::support::{TENANT, as_user, output, zfs};
use helix_zfs::gate::audit::{AuditAnchor, AuditEvent, AuditKind, AuditLog};
use helix_zfs::gate::{Gate, JobQueue, Operation, Refusal, RefusalReason, Rules, SqliteQueue};
use helix_zfs::zfs_core::{Dataset, DatasetName, ErrorKind, Pool};
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;

fn pool(place: &Place) -> Pool {
    zfs().pool(Dataset::name(&place.scratch).pool()).unwrap()
}

#[test]
fn every_grant_use_and_refusal_is_a_line_in_the_pools_history() {
    let place = Place::open("gate-history");
    let name = place.name("a");
    let job = place
        .job(Operation::Snapshot)
        .reason("audit-log=0 record=1 hash=0");
    place
        .gate
        .run(&job, |capability| {
            capability.allow(Operation::Snapshot, &name)?;
            capability.allow(Operation::Destroy, &name).unwrap_err();
            Ok::<_, Refusal>(())
        })
        .unwrap();
    // In the words of the command: a line is one that anybody reads.
    let text = output("zpool", &["history", pool(&place).name().as_str()]);
    let text = String::from_utf8(text.stdout).unwrap();
    let id = place.gate.audit().id().to_string();
    let lines: Vec<&str> = text.lines().filter(|line| line.contains(&id)).collect();
    let top = Dataset::name(&place.scratch);
    for (line, words) in lines.iter().zip([
        format!(": grant snapshot {top} by alice (job "),
        format!(": use snapshot {name} by alice (job "),
        format!(": refusal destroy {name} by alice (job "),
        format!(": end snapshot {top} by alice (job "),
    ]) {
        assert!(line.contains(&words), "{line} has no {words:?}");
    }
    assert_eq!(lines.len(), 4, "{lines:?}");

    let anchors = AuditAnchor::read(&pool(&place)).unwrap();
    let report = AuditLog::verify(place.log(), &anchors).unwrap();
    assert!(report.is_whole(), "{report:?}");
    assert_eq!(report.anchors, 4);
    // An end that is cut off is whole by itself.
    let whole = std::fs::read(place.log()).unwrap();
    let end = whole[..whole.len() - 1]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .unwrap();
    std::fs::write(place.log(), &whole[..=end]).unwrap();
    assert!(AuditLog::verify(place.log(), &[]).unwrap().is_whole());
    let broken = AuditLog::verify(place.log(), &anchors)
        .unwrap()
        .broken
        .unwrap();
    assert_eq!((broken.line, broken.after), (None, 4), "{broken:?}");
}

#[test]
fn what_cannot_be_put_on_record_is_refused() {
    let place = Place::open("gate-unrecorded");
    let name = place.name("a");
    let job = place.job(Operation::Snapshot);
    let capability = place.grant(&job);
    let before = place.history();
    std::fs::remove_file(place.log()).unwrap();
    let refusal = capability.allow(Operation::Snapshot, &name).unwrap_err();
    assert!(
        matches!(refusal.reason, RefusalReason::Audit { .. }),
        "{refusal}"
    );
    let lease = place.lease(&job, super::HOUR);
    assert!(place.gate.grant(&lease).is_err());
    assert_eq!(place.history(), before);
    // A log that others may write is none.
    std::fs::write(place.log(), "").unwrap();
    std::fs::set_permissions(place.log(), PermissionsExt::from_mode(0o620)).unwrap();
    assert!(AuditLog::open(place.log()).is_err());
}

#[test]
fn a_whole_batch_is_one_line_and_one_wait() {
    let place = Place::open("gate-batch");
    let capability = place.grant(&place.job(Operation::Snapshot));
    let names: Vec<DatasetName> = (0..100).map(|n| place.name(&format!("t{n}"))).collect();
    let before = place.gate.audit().stats();
    capability.allow_all(Operation::Snapshot, &names).unwrap();
    let after = place.gate.audit().stats();
    assert_eq!(after.records - before.records, 100);
    assert_eq!(after.syncs - before.syncs, 1);
    let anchors = AuditAnchor::read(&pool(&place)).unwrap();
    let own = |anchor: &&AuditAnchor| anchor.log == place.gate.audit().id();
    assert_eq!(anchors.iter().filter(own).count(), 2);
    assert!(AuditLog::verify(place.log(), &anchors).unwrap().is_whole());
}

#[test]
fn pools_that_are_not_there_are_no_reason_to_refuse() {
    let place = Place::open("gate-no-pool");
    let name = DatasetName::new("hz-nowhere").unwrap();
    let scope = helix_zfs::gate::Scope::below(&name);
    let job = helix_zfs::gate::JobSpec::new(Operation::ApplyLayout, scope, "alice");
    let capability = place.grant(&job);
    capability.allow(Operation::ApplyLayout, &name).unwrap();
    assert_eq!(place.kinds().last(), Some(&AuditKind::Use));
    let error = zfs()
        .pool("hz-nowhere")
        .unwrap()
        .add_history("x")
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
}

#[test]
fn a_user_without_privileges_leaves_lines_with_the_users_number() {
    let place = Place::open("gate-user");
    let name = place.name("a");
    let theirs = as_user(TENANT, || {
        let dir = tempfile::tempdir().unwrap();
        let queue: Arc<dyn JobQueue> = Arc::new(SqliteQueue::in_memory().unwrap());
        let audit = AuditLog::open(dir.path().join("audit.log")).unwrap();
        let gate = Gate::open(&zfs(), queue, audit, Rules::allow_all()).unwrap();
        gate.run(&place.job(Operation::Snapshot), |capability| {
            capability.allow(Operation::Snapshot, &name)
        })
        .unwrap();
        // What another user owns is no log of theirs.
        assert!(AuditLog::open(place.log()).is_err());
        gate.audit().id()
    });
    let anchors = AuditAnchor::read(&pool(&place)).unwrap();
    let users: Vec<_> = anchors
        .iter()
        .filter(|anchor| anchor.log == theirs)
        .map(|anchor| anchor.user)
        .collect();
    assert_eq!(users, [Some(u64::from(TENANT)); 3]);
    // A line of theirs that claims to be of our log changes nothing.
    let mark = place
        .gate
        .audit()
        .append(vec![AuditEvent::new(AuditKind::End)])
        .unwrap();
    let forged = format!(
        "gate: audit-log={} record={} hash={}: use",
        place.gate.audit().id(),
        mark[0].seq + 100,
        mark[0].hash
    );
    as_user(TENANT, || pool(&place).add_history(&forged)).unwrap();
    let anchors = AuditAnchor::read(&pool(&place)).unwrap();
    assert!(AuditLog::verify(place.log(), &anchors).unwrap().is_whole());
}
