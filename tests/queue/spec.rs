//! What a job's description says, with no store.

use std::time::Duration;

use helix_zfs::gate::{JobId, JobSpec, JobState};
use proptest::prelude::*;

use crate::contract::spec;

#[test]
fn delays_double_up_to_the_longest() {
    let seconds = Duration::from_secs;
    let spec = spec().backoff(seconds(2), seconds(60));
    let delays: Vec<u64> = (1..=8).map(|it| spec.delay_after(it).as_secs()).collect();
    assert_eq!(delays, [2, 4, 8, 16, 32, 60, 60, 60]);
    assert_eq!(spec.delay_after(u32::MAX), seconds(60));
    assert_eq!(spec.delay_after(0), seconds(2));
}

#[test]
fn names_and_states_are_checked() {
    for text in ["", "Ü", "a b", "A", "a'", &"a".repeat(65)] {
        assert!(text.parse::<JobId>().is_err(), "{text:?}");
        assert!(serde_json::from_value::<JobId>(text.into()).is_err());
    }
    let id = JobId::generate().unwrap();
    assert_eq!(id.as_str().parse::<JobId>().unwrap(), id);
    for state in JobState::ALL {
        assert_eq!(state.name().parse::<JobState>().unwrap(), state);
    }
    assert!("gone".parse::<JobState>().is_err());
}

proptest! {
    #[test]
    fn delays_grow_and_have_an_end(first: u64, longest: u64, attempt: u32) {
        let (first, longest) = (Duration::from_millis(first), Duration::from_millis(longest));
        let spec = spec().backoff(first, longest);
        let delay = spec.delay_after(attempt);
        prop_assert!(delay <= longest);
        prop_assert!(delay >= first.min(longest));
        prop_assert!(delay <= spec.delay_after(attempt.saturating_add(1)));
    }

    #[test]
    fn a_description_is_what_it_was_after_json(
        actor in "\\PC{1,20}", reason in "\\PC{0,40}", key in proptest::option::of("\\PC{1,20}"),
        attempts in 1..u32::MAX, first: u32, longest: u32, text: String,
    ) {
        let mut spec = JobSpec::new(spec().operation(), spec().scope().clone(), actor)
            .reason(reason)
            .payload(serde_json::json!({ "text": text }))
            .max_attempts(attempts)
            .backoff(Duration::from_millis(first.into()), Duration::from_millis(longest.into()));
        if let Some(key) = key {
            spec = spec.key(key);
        }
        let json = serde_json::to_string(&spec).unwrap();
        prop_assert_eq!(serde_json::from_str::<JobSpec>(&json).unwrap(), spec);
    }

    #[test]
    fn no_text_panics(text: String) {
        let _ = serde_json::from_str::<JobSpec>(&text);
        let _ = text.parse::<JobId>();
    }
}
