//! States that a run leaves when it dies, made by hand.

use super::Pair;
use crate::support::{may, run, zfs, zfs_get};
use helix_zfs::gate::Operation;
use helix_zfs::replicate::Replicator;

fn recover(pair: &Pair) {
    let receive = may(Operation::Receive, &pair.target);
    Replicator::new(&zfs())
        .recover(receive, &pair.target)
        .unwrap();
}

#[test]
fn a_promotion_is_finished_from_wherever_it_stopped() {
    let pair = Pair::encrypted("rep-recover");
    pair.write("a", "first");
    pair.snapshot("first");
    pair.replicate();
    pair.change(2);
    let (_, files) = pair.snapshot("second");
    pair.replicate();
    let name = |child: &str| pair.of_target(child).name().as_str().to_owned();
    let (chain, current, next) = (name("chain"), name("current"), name("next"));
    let (first, second) = (format!("{chain}@first"), format!("{chain}@second"));
    let whole = || {
        recover(&pair);
        assert_eq!(zfs_get("origin", &current), second);
        assert_eq!(zfs_get("userrefs", &first), "0");
        assert_eq!(zfs_get("userrefs", &second), "1");
        let children = zfs().dataset(pair.target.as_str()).unwrap().children();
        assert_eq!(children.unwrap().len(), 2);
        assert_eq!(pair.readers().files(), files);
    };
    whole();
    // Cloned, not published: the second for the first.
    run("zfs", &["destroy", &current]);
    run("zfs", &["clone", &first, &current]);
    run("zfs", &["clone", &second, &next]);
    whole();
    // The first taken away, the second not there yet.
    run("zfs", &["clone", &first, &name("retired-7")]);
    run("zfs", &["rename", &current, &next]);
    whole();
    // Not even cloned.
    run("zfs", &["destroy", &current]);
    run("zfs", &["release", "helix-replicate", &second]);
    run("zfs", &["hold", "helix-replicate", &first]);
    whole();
    // A clone of what was to be promoted before.
    run("zfs", &["clone", &first, &next]);
    whole();
}

#[test]
fn what_was_received_and_not_verified_is_verified() {
    let pair = Pair::encrypted("rep-unverified");
    pair.write("a", "first");
    let (first, files) = pair.snapshot("first");
    pair.replicate();
    let chain = pair.of_target("chain");
    let kept = chain.snapshot("first").unwrap();
    // As if the run had died before it was verified: no data has to come again.
    run(
        "zfs",
        &["destroy", pair.of_target("current").name().as_str()],
    );
    run("zfs", &["inherit", "helix:verified", kept.name().as_str()]);
    kept.release("helix-replicate").unwrap();
    let outcome = pair.replicate();
    assert_eq!(outcome.replicated[0].bytes, 0);
    assert_eq!(pair.readers().files(), files);

    // An increment, received by other means.
    pair.change(2);
    let (second, newer) = pair.snapshot("second");
    let by_hand = format!(
        "zfs send -w -i {} {} | zfs receive -u {}",
        first.name(),
        second.name(),
        chain.name()
    );
    run("sh", &["-c", &by_hand]);
    assert_eq!(pair.readers().files(), files);
    let outcome = pair.replicate();
    assert_eq!(
        (outcome.replicated[0].bytes, &*outcome.replicated[0].name),
        (0, "second")
    );
    assert_eq!(pair.readers().files(), newer);
}

#[test]
fn what_was_being_given_up_is_given_up() {
    let pair = Pair::plain("rep-discard");
    pair.write("a", "first");
    let (first, files) = pair.snapshot("first");
    pair.replicate();
    let chain = pair.of_target("chain");
    let guid = first.stat().unwrap().guid;
    pair.change(2);
    let (second, newer) = pair.snapshot("second");
    let by_hand = format!(
        "zfs send -w -i {} {} | zfs receive -u {}",
        first.name(),
        second.name(),
        chain.name()
    );
    // Before the snapshot was destroyed, and after: the chain is not rolled back then.
    for destroyed in [false, true] {
        run("sh", &["-c", &by_hand]);
        let intent = format!("helix:discarding={guid}");
        run("zfs", &["set", &intent, chain.name().as_str()]);
        if destroyed {
            chain.snapshot("second").unwrap().destroy().unwrap();
        }
        recover(&pair);
        assert_eq!(pair.chain(), ["first"]);
        assert_eq!(pair.readers().files(), files);
    }
    assert!(pair.replicate().replicated[0].bytes > 0);
    assert_eq!(pair.readers().files(), newer);

    // All of it.
    for short in ["first", "second"] {
        let _ = chain.snapshot(short).unwrap().release("helix-replicate");
    }
    run(
        "zfs",
        &["destroy", pair.of_target("current").name().as_str()],
    );
    run(
        "zfs",
        &["set", "helix:discarding=all", chain.name().as_str()],
    );
    recover(&pair);
    assert!(!chain.exists().unwrap());
    pair.replicate();
    assert_eq!(pair.readers().files(), newer);
}
