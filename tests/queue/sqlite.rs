use std::time::Duration;

use helix_zfs::gate::{JobQueue, JobSpec, JobState, Operation, Scope, SqliteQueue};

#[test]
fn a_job_is_submitted_leased_and_completed() {
    let folder = tempfile::tempdir().unwrap();
    let queue = SqliteQueue::open(folder.path().join("jobs")).unwrap();
    let scope = Scope::below(&"tank/a".parse().unwrap());
    let spec = JobSpec::new(Operation::Snapshot, scope, "ada");
    let id = queue.submit(&spec).unwrap();
    let lease = queue
        .lease("worker", Duration::from_secs(60), &[])
        .unwrap()
        .unwrap();
    assert_eq!(*lease.id(), id);
    queue.complete(&lease, "done").unwrap();
    assert_eq!(queue.job(&id).unwrap().state, JobState::Done);
}
