use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use zfs_core::Result;
use zfs_core::props::{Properties, Source, UserProps};

const GIT_SHA: &str = "helix:git_sha";
const HELM_REVISION: &str = "helix:helm_revision";
const ACTOR: &str = "helix:actor";
const REASON: &str = "helix:reason";
const TAGS: &str = "helix:tags";

/// The change that a guard rail is taken before. It is written on each snapshot, as the user
/// properties `helix:git_sha`, `helix:helm_revision`, `helix:actor`, `helix:reason` and
/// `helix:tags`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct Change {
    /// The commit that is deployed.
    pub git_sha: Option<String>,
    /// The revision of the Helm release that is replaced. `None` also when what is written on the
    /// snapshot is no number.
    pub helm_revision: Option<u64>,
    /// Who makes the change: a person or a program.
    pub actor: Option<String>,
    /// Why, in words.
    pub reason: Option<String>,
    /// Words to find it by. Those that are empty are not written.
    pub tags: BTreeSet<String>,
}

impl Change {
    /// One that nothing is known of.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the commit that is deployed.
    #[must_use]
    pub fn git_sha(mut self, sha: impl Into<String>) -> Self {
        self.git_sha = Some(sha.into());
        self
    }

    /// Sets the revision of the Helm release that is replaced.
    #[must_use]
    pub fn helm_revision(mut self, revision: u64) -> Self {
        self.helm_revision = Some(revision);
        self
    }

    /// Says who makes the change.
    #[must_use]
    pub fn actor(mut self, actor: impl Into<String>) -> Self {
        self.actor = Some(actor.into());
        self
    }

    /// Says why, in words.
    #[must_use]
    pub fn reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Some(reason.into());
        self
    }

    /// Adds a word to find it by.
    #[must_use]
    pub fn tag(mut self, tag: impl Into<String>) -> Self {
        self.tags.insert(tag.into());
        self
    }

    pub(super) fn to_props(&self) -> Result<UserProps> {
        let revision = self.helm_revision.map(|revision| revision.to_string());
        let tags = join(&self.tags);
        let tags = (!tags.is_empty()).then_some(tags);
        [
            (GIT_SHA, &self.git_sha),
            (HELM_REVISION, &revision),
            (ACTOR, &self.actor),
            (REASON, &self.reason),
            (TAGS, &tags),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value.as_deref()?)))
        .try_fold(UserProps::new(), |props, (name, value)| {
            props.set(name, value)
        })
    }

    pub(super) fn read(props: &Properties) -> Self {
        let text = |name| own_property(props, name).map(str::to_owned);
        Self {
            git_sha: text(GIT_SHA),
            helm_revision: own_property(props, HELM_REVISION).and_then(|text| text.parse().ok()),
            actor: text(ACTOR),
            reason: text(REASON),
            tags: own_property(props, TAGS).map(split).unwrap_or_default(),
        }
    }
}

/// A user property of the object itself: one that it inherits says nothing about it.
pub(super) fn own_property<'p>(props: &'p Properties, name: &str) -> Option<&'p str> {
    match props.source(name) {
        Some(Source::Local | Source::Received) => props.user(name),
        _ => None,
    }
}

/// Tags as one text. A comma parts them, so that one inside of a tag is written as `%2c`.
fn join(tags: &BTreeSet<String>) -> String {
    let escaped: Vec<String> = tags
        .iter()
        .filter(|tag| !tag.is_empty())
        .map(|tag| tag.replace('%', "%25").replace(',', "%2c"))
        .collect();
    escaped.join(",")
}

fn split(text: &str) -> BTreeSet<String> {
    text.split(',')
        .filter(|tag| !tag.is_empty())
        .map(|tag| tag.replace("%2c", ",").replace("%25", "%"))
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn tags_are_read_as_they_were_written(
            tags in proptest::collection::btree_set("[a-c,%2 ]{1,6}", 0..5)
        ) {
            prop_assert_eq!(split(&join(&tags)), tags);
        }
    }

    #[test]
    fn empty_tags_are_not_written() {
        let tags = BTreeSet::from([String::new(), "a".to_owned()]);
        assert_eq!(join(&tags), "a");
        assert!(split(",,").is_empty());
    }
}
