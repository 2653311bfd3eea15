use std::time::Duration;

use helix_zfs::gate::{JobFilter, JobQueue, JobState, PostgresQueue, QueueError};
use postgres::NoTls;
use servers::Postgres;

use crate::contract::{self, LONG, Open, spec};
use crate::server::Schema;

fn on_a_server(test: fn(Open<'_>)) {
    let schema = Schema::make();
    test(&|| Box::new(PostgresQueue::connect(&schema.url()).unwrap()));
}

contract::for_each_test!(on_a_server);

#[test]
fn a_connection_that_was_cut_is_made_again() {
    let schema = Schema::make();
    let queue = PostgresQueue::connect(&schema.url()).unwrap();
    let cut = || assert_eq!(schema.cut(), 1);
    let id = queue.submit(&spec()).unwrap();
    cut();
    // No attempt is lost by it.
    let lease = queue.lease_job(&id, "worker", LONG).unwrap().unwrap();
    assert_eq!(lease.job().attempts, 1);
    cut();
    let lease = queue.renew(&lease, LONG).unwrap();
    cut();
    queue.complete(&lease, "").unwrap();
    cut();
    assert_eq!(queue.list(&JobFilter::new()).unwrap().len(), 1);
    cut();
    queue.submit(&spec()).unwrap();
    assert_eq!(queue.list(&JobFilter::new()).unwrap().len(), 2);
}

#[test]
fn what_was_acknowledged_survives_the_servers_end() {
    let server = Postgres::start().unwrap();
    let queue = PostgresQueue::connect(&server.url()).unwrap();
    let done = queue.submit(&spec()).unwrap();
    let lease = queue.lease("worker", LONG, &[]).unwrap().unwrap();
    queue.complete(&lease, "kept").unwrap();
    let held = queue.submit(&spec()).unwrap();
    let lease = queue.lease("worker", LONG, &[]).unwrap().unwrap();
    server.kill().unwrap();
    let error = queue.submit(&spec()).unwrap_err();
    assert!(matches!(error, QueueError::Unavailable { .. }), "{error:?}");
    let error = queue.lease("worker", LONG, &[]).unwrap_err();
    assert!(matches!(error, QueueError::Unavailable { .. }), "{error:?}");
    server.restart().unwrap();
    assert_eq!(queue.job(&done).unwrap().result.as_deref(), Some("kept"));
    assert_eq!(queue.job(&held).unwrap().state, JobState::Leased);
    queue.complete(&lease, "").unwrap();
    assert_eq!(queue.list(&JobFilter::new()).unwrap().len(), 2);
}

#[test]
fn what_is_no_queue_is_refused() {
    for url in [
        "postgresql://",
        "not a url",
        "postgresql://u:secret@127.0.0.1:1/d",
    ] {
        let error = PostgresQueue::connect(url).unwrap_err();
        assert!(matches!(error, QueueError::Unavailable { .. }), "{error:?}");
        assert!(!format!("{error} {error:?}").contains("secret"));
    }
    let schema = Schema::make();
    let queue = PostgresQueue::connect(&schema.url()).unwrap();
    assert!(!format!("{queue:?}").contains("search_path"));
    schema
        .plain()
        .batch_execute("INSERT INTO helix_queue VALUES (2)")
        .unwrap();
    let error = PostgresQueue::connect(&schema.url()).unwrap_err();
    assert!(
        matches!(
            error,
            QueueError::Version {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{error:?}"
    );
    schema
        .plain()
        .batch_execute("DROP TABLE helix_jobs")
        .unwrap();
    let error = queue.submit(&spec()).unwrap_err();
    assert!(matches!(error, QueueError::Corrupt { .. }), "{error:?}");
}

#[test]
fn its_connections_can_be_made_by_the_caller() {
    let schema = Schema::make();
    let url = schema.url();
    let queue = PostgresQueue::with(move || postgres::Client::connect(&url, NoTls)).unwrap();
    let id = queue.submit(&spec()).unwrap();
    assert!(queue.lease_job(&id, "worker", LONG).unwrap().is_some());
}

#[test]
fn a_worker_does_not_wait_for_another() {
    let schema = Schema::make();
    let queue = PostgresQueue::connect(&schema.url()).unwrap();
    let taken = queue.submit(&spec()).unwrap();
    let free = queue.submit(&spec()).unwrap();
    let mut other = schema.plain();
    let mut transaction = other.transaction().unwrap();
    let lock = "SELECT seq FROM helix_jobs WHERE id = $1 FOR UPDATE";
    transaction.query(lock, &[&taken.as_str()]).unwrap();
    let lease = queue.lease("worker", LONG, &[]).unwrap().unwrap();
    assert_eq!(lease.id(), &free);
    assert!(
        queue
            .lease("worker", Duration::from_secs(60), &[])
            .unwrap()
            .is_none()
    );
    transaction.rollback().unwrap();
    assert_eq!(
        queue.lease("worker", LONG, &[]).unwrap().unwrap().id(),
        &taken
    );
}
