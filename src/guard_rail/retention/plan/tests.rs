use super::*;
use crate::KeepOverride;
use proptest::prelude::*;

fn at(seconds: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
}

fn rail(txg: u64, taken: u64) -> RailInfo {
    RailInfo {
        name: format!("r{txg}"),
        txg,
        taken: at(taken),
        reason: None,
        tags: BTreeSet::new(),
    }
}

/// Guard rails at these times, in this order.
fn rails(times: &[u64]) -> Vec<RailInfo> {
    (1..)
        .zip(times)
        .map(|(txg, time)| rail(txg, *time))
        .collect()
}

fn kept(plan: &RetentionPlan) -> Vec<&str> {
    plan.keep.iter().map(|kept| &*kept.rail.name).collect()
}

const HOUR: u64 = 3600;
const DAY: u64 = 24 * HOUR;
/// 2026-11-23, a Monday, 00:00.
const MONDAY: u64 = 1_795_392_000;

#[test]
fn the_newest_of_an_hour_a_day_and_a_week_stay() {
    let parsed = humantime::parse_rfc3339("2026-11-23T00:00:00Z").unwrap();
    assert_eq!(parsed, at(MONDAY));
    let rails = rails(&[
        MONDAY - 8 * DAY,
        MONDAY - 1,
        MONDAY,
        MONDAY + HOUR - 1,
        MONDAY + HOUR,
        MONDAY + DAY,
    ]);
    let now = at(MONDAY + 2 * DAY);
    let plan = |keep| Retention::new(keep).plan(&rails, now);
    assert_eq!(kept(&plan(Keep::new())), ["r6"]);
    assert_eq!(kept(&plan(Keep::new().last(2))), ["r5", "r6"]);
    assert_eq!(kept(&plan(Keep::new().hourly(3))), ["r4", "r5", "r6"]);
    assert_eq!(kept(&plan(Keep::new().daily(2))), ["r5", "r6"]);
    assert_eq!(kept(&plan(Keep::new().daily(3))), ["r2", "r5", "r6"]);
    assert_eq!(kept(&plan(Keep::new().weekly(9))), ["r1", "r2", "r6"]);
    let day = Duration::from_secs(2 * DAY - HOUR);
    assert_eq!(kept(&plan(Keep::new().within(day))), ["r5", "r6"]);
    let all = plan(
        Keep::new()
            .last(1)
            .daily(1)
            .within(Duration::from_secs(DAY)),
    );
    let because = &all.keep[0].because;
    use KeptBecause::{Daily, Last, Newest, Within};
    assert_eq!(*because, [Newest, Last, Daily, Within]);
    assert_eq!(all.remove.len(), 5);
}

#[test]
fn reasons_and_tags_are_counted_apart() {
    let mut rails = rails(&[1, 2, 3, 4, 5, 6]);
    for n in [0, 2] {
        rails[n].reason = Some("migration".into());
    }
    for n in [1, 2] {
        rails[n].tags.insert("audit".into());
    }
    let policy = Retention::new(Keep::new().last(1))
        .and(KeepOverride::reason("migration", Keep::new().last(1)))
        .and(KeepOverride::tag("audit", Keep::new().last(5)));
    // The third is of the first override, although it has the tag of the second.
    assert_eq!(kept(&policy.plan(&rails, at(9))), ["r2", "r3", "r6"]);
}

#[test]
fn times_at_the_ends_are_times() {
    let early = SystemTime::UNIX_EPOCH - Duration::from_secs(5);
    let mut strange = rails(&[0, 10]);
    strange[0].taken = early;
    let policy = Retention::new(Keep::new().hourly(1).within(Duration::MAX));
    let plan = policy.plan(&strange, early);
    assert_eq!(plan.remove, []);
    let json = serde_json::to_value(&plan).unwrap();
    assert_eq!(json["keep"][0]["rail"]["taken"], serde_json::Value::Null);
    assert_eq!(json["keep"][1]["rail"]["taken"], "1970-01-01T00:00:10.000Z");
    assert_eq!(
        Retention::default().plan(&[], at(0)),
        RetentionPlan::default()
    );
}

#[test]
fn a_policy_is_read_as_it_was_written() {
    let policy = Retention::new(Keep::new().last(3).within(Duration::from_secs(36 * HOUR)))
        .and(KeepOverride::tag("audit", Keep::new().weekly(4)));
    let json = serde_json::to_string(&policy).unwrap();
    assert!(json.contains(r#""for":"1day 12h""#), "{json}");
    assert_eq!(serde_json::from_str::<Retention>(&json).unwrap(), policy);
    for bad in [
        "{}",
        r#"{"default":{"lst":3}}"#,
        r#"{"default":{"for":"soon"}}"#,
        r#"{"default":{"last":-1}}"#,
        r#"{"default":{},"overrides":[{"reason":"x"}]}"#,
    ] {
        assert!(serde_json::from_str::<Retention>(bad).is_err(), "{bad}");
    }
}

fn any_rails() -> impl Strategy<Value = Vec<RailInfo>> {
    let one = (
        0..60_u64,
        0..40 * DAY,
        proptest::option::of(prop_oneof!["migration", "deploy"]),
        proptest::collection::btree_set("[ab]", 0..2),
    );
    proptest::collection::vec(one, 0..60).prop_map(|all| {
        let one = |(n, (gap, taken, reason, tags))| RailInfo {
            name: format!("r{n}"),
            // Some of the same transaction group.
            txg: n / 2 + gap,
            taken: at(MONDAY + taken),
            reason,
            tags,
        };
        (0_u64..).zip(all).map(one).collect()
    })
}

fn any_keep() -> impl Strategy<Value = Keep> {
    let within = proptest::option::of((0..50 * DAY).prop_map(Duration::from_secs));
    (0..5_u32, 0..5_u32, 0..5_u32, 0..5_u32, within).prop_map(
        |(last, hourly, daily, weekly, within)| Keep {
            last,
            hourly,
            daily,
            weekly,
            within,
        },
    )
}

fn any_policy() -> impl Strategy<Value = Retention> {
    (any_keep(), any_keep(), any_keep()).prop_map(|(default, reason, tag)| {
        Retention::new(default)
            .and(KeepOverride::reason("migration", reason))
            .and(KeepOverride::tag("a", tag))
    })
}

/// Those of one rule, newest first.
fn of_rule<'r>(policy: &Retention, rails: &'r [RailInfo], rule: usize) -> Vec<&'r RailInfo> {
    let mut found: Vec<&RailInfo> = rails
        .iter()
        .filter(|rail| policy.rule(rail).0 == rule)
        .collect();
    found.sort_by(|a, b| (b.txg, &b.name).cmp(&(a.txg, &a.name)));
    found
}

proptest! {
    #[test]
    fn every_guard_rail_stays_or_goes_and_the_newest_stays(
        rails in any_rails(), policy in any_policy(), now in 0..60 * DAY,
    ) {
        let plan = policy.plan(&rails, at(MONDAY + now));
        let mut all: Vec<&str> = kept(&plan);
        all.extend(plan.remove.iter().map(|rail| &*rail.name));
        all.sort_unstable();
        let mut given: Vec<&str> = rails.iter().map(|rail| &*rail.name).collect();
        given.sort_unstable();
        prop_assert_eq!(all, given);
        let newest = rails.iter().max_by_key(|rail| (rail.txg, &rail.name));
        prop_assert_eq!(plan.keep.last().map(|kept| &kept.rail), newest);
        prop_assert!(plan.keep.iter().all(|kept| !kept.because.is_empty()));
    }

    #[test]
    fn no_less_stays_than_the_policy_says(
        rails in any_rails(), policy in any_policy(), now in 0..60 * DAY,
    ) {
        let now = at(MONDAY + now);
        let plan = policy.plan(&rails, now);
        let stays = |rail: &RailInfo| plan.keep.iter().any(|kept| kept.rail == *rail);
        let rules = policy.overrides.iter().map(|other| &other.keep).chain([&policy.default]);
        for (rule, keep) in rules.enumerate() {
            let of_rule = of_rule(&policy, &rails, rule);
            for rail in of_rule.iter().take(keep.last as usize) {
                prop_assert!(stays(rail), "one of the last {}", keep.last);
            }
            for (most, length, shift) in
                [(keep.hourly, HOUR, 0), (keep.daily, DAY, 0), (keep.weekly, 7 * DAY, 3 * DAY)]
            {
                // Periods in the order of their newest guard rails, which must stay.
                let mut seen = Vec::new();
                for rail in &of_rule {
                    let period = (seconds(rail.taken).unwrap() + shift) / length;
                    if !seen.contains(&period) && seen.len() < most as usize {
                        seen.push(period);
                        prop_assert!(stays(rail), "the newest of its period");
                    }
                }
            }
            if let Some(within) = keep.within {
                for rail in &of_rule {
                    let young = now.duration_since(rail.taken).is_ok_and(|age| age <= within);
                    prop_assert!(!young || stays(rail), "not old enough");
                }
            }
        }
    }

    #[test]
    fn no_more_stays_than_the_policy_says(rails in any_rails(), policy in any_policy()) {
        // So late that nothing is young.
        let plan = policy.plan(&rails, at(MONDAY + 1000 * DAY));
        let most: u32 = policy
            .overrides
            .iter()
            .map(|other| &other.keep)
            .chain([&policy.default])
            .map(|keep| keep.last + keep.hourly + keep.daily + keep.weekly)
            .sum();
        prop_assert!(plan.keep.len() <= most as usize + 1);
    }

    #[test]
    fn the_order_does_not_matter_and_a_second_run_removes_nothing(
        rails in any_rails(), policy in any_policy(), now in 0..60 * DAY,
    ) {
        let now = at(MONDAY + now);
        let plan = policy.plan(&rails, now);
        let mut turned = rails.clone();
        turned.reverse();
        prop_assert_eq!(&policy.plan(&turned, now), &plan);
        let left: Vec<RailInfo> = plan.keep.iter().map(|kept| kept.rail.clone()).collect();
        prop_assert_eq!(policy.plan(&left, now).remove, vec![]);
    }

    #[test]
    fn a_larger_policy_keeps_no_less_and_a_later_time_no_more(
        rails in any_rails(), policy in any_policy(), more in any_keep(), now in 0..60 * DAY, later in 0..60 * DAY,
    ) {
        let plan = policy.plan(&rails, at(MONDAY + now));
        let mut larger = policy.clone();
        let default = &policy.default;
        larger.default = Keep {
            last: default.last + more.last,
            hourly: default.hourly + more.hourly,
            daily: default.daily + more.daily,
            weekly: default.weekly + more.weekly,
            within: default.within.max(more.within),
        };
        let with_more = larger.plan(&rails, at(MONDAY + now));
        for name in kept(&plan) {
            prop_assert!(kept(&with_more).contains(&name));
        }
        let at_a_later_time = policy.plan(&rails, at(MONDAY + now + later));
        for name in kept(&at_a_later_time) {
            prop_assert!(kept(&plan).contains(&name));
        }
    }
}
