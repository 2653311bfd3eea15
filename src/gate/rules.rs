use serde::{Deserialize, Serialize};
use zfs_core::DatasetName;

use super::{Operation, Scope};

/// Who may do what with which datasets.
///
/// What no rule allows is refused; without rules that is everything. What is to be done with
/// production data is restricted further, and nobody is exempt: see [`ProductionRules`].
///
/// As TOML, for example:
///
/// ```
/// # #[cfg(feature = "toml")] {
/// let rules = helix_zfs::gate::Rules::from_toml(r#"
/// [[rule]]
/// actors = ["deploy"]
/// operations = ["snapshot", "take-guard-rail", "roll-back"]
/// below = ["tank/tenants"]
///
/// [[rule]]
/// actors = ["alice", "bob"]
/// operations = "all"
/// below = "all"
///
/// [production]
/// ephemeral_area = ["tank/ephemeral"]
/// "#)?;
/// assert_eq!(rules.rules().len(), 2);
/// # }
/// # Ok::<(), helix_zfs::gate::RulesError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    #[serde(default, rename = "rule")]
    rules: Vec<Rule>,
    #[serde(default)]
    production: ProductionRules,
}

/// Lets some actors do some operations with some datasets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct Rule {
    /// Whom.
    pub actors: Select<String>,
    /// What.
    pub operations: Select<Operation>,
    /// With these datasets and all below them.
    pub below: Select<DatasetName>,
}

impl Rule {
    /// Lets `actors` do `operations` with what is `below`.
    #[must_use]
    pub fn new(
        actors: Select<String>,
        operations: Select<Operation>,
        below: Select<DatasetName>,
    ) -> Self {
        Self {
            actors,
            operations,
            below,
        }
    }

    fn allows(&self, actor: &str, operation: Operation, top: &DatasetName) -> bool {
        let below = match &self.below {
            Select::All => true,
            Select::These(tops) => Scope::of(tops).covers(top),
        };
        below && self.operations.has(|one| *one == operation) && self.actors.has(|one| one == actor)
    }
}

/// All, or some.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Selection<T>", into = "Selection<T>")]
#[serde(bound(serialize = "T: Clone + Serialize"))]
pub enum Select<T> {
    /// All: the word `all`.
    All,
    /// These: a list.
    These(Vec<T>),
}

impl<T> Select<T> {
    fn has(&self, is: impl Fn(&T) -> bool) -> bool {
        match self {
            Self::All => true,
            Self::These(these) => these.iter().any(is),
        }
    }
}

/// As it is written.
#[derive(Serialize, Deserialize)]
#[serde(untagged)]
enum Selection<T> {
    All(All),
    These(Vec<T>),
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum All {
    All,
}

impl<T> From<Selection<T>> for Select<T> {
    fn from(selection: Selection<T>) -> Self {
        match selection {
            Selection::All(All::All) => Self::All,
            Selection::These(these) => Self::These(these),
        }
    }
}

impl<T> From<Select<T>> for Selection<T> {
    fn from(select: Select<T>) -> Self {
        match select {
            Select::All => Self::All(All::All),
            Select::These(these) => Self::These(these),
        }
    }
}

/// What is production data, and what may be done with it.
///
/// A dataset is production if its user property `helix:production` is `on`, be it its own or
/// inherited, and so is every clone of one. Through a [`Gate`](super::Gate) it is never mounted, never
/// cloned outside of the ephemeral area, and never sent in the clear: only raw streams of encrypted
/// datasets leave. Nor is the mark taken off: not by setting or inheriting the property, not by a rename
/// to where it is not inherited, and not by promoting a clone that has no mark of its own.
///
/// That holds for everything that is made from [`Gate::zfs`](super::Gate::zfs), whatever capability is
/// at hand, and what is refused is an error of the kind
/// [`Forbidden`](zfs_core::ErrorKind::Forbidden) and on record. Any other value than `off` counts as
/// `on`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[non_exhaustive]
pub struct ProductionRules {
    /// Production may be cloned to what lies below these datasets. None by default.
    #[serde(default)]
    pub ephemeral_area: Vec<DatasetName>,
    /// Whether clones of production may be mounted there. Production itself never is. False by default.
    #[serde(default)]
    pub mount_ephemeral: bool,
}

impl ProductionRules {
    /// Those by which production may be cloned nowhere.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets production be cloned to what lies below `area`.
    #[must_use]
    pub fn ephemeral_below(mut self, area: DatasetName) -> Self {
        self.ephemeral_area.push(area);
        self
    }

    /// Lets clones of production be mounted where they may be.
    #[must_use]
    pub fn mount_ephemeral(mut self) -> Self {
        self.mount_ephemeral = true;
        self
    }
}

/// The rules cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the gate's rules cannot be read: {0}")]
pub struct RulesError(String);

impl Rules {
    /// Those by which nobody may do anything.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Those by which everybody may do everything, but for what is never done with production data.
    #[must_use]
    pub fn allow_all() -> Self {
        Self::new().allow(Rule::new(Select::All, Select::All, Select::All))
    }

    /// Allows what `rule` says, too.
    #[must_use]
    pub fn allow(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// What holds for production data.
    #[must_use]
    pub fn with_production(mut self, production: ProductionRules) -> Self {
        self.production = production;
        self
    }

    /// The rules of the TOML document `text`.
    ///
    /// # Errors
    ///
    /// What is wrong, and where.
    #[cfg(feature = "toml")]
    pub fn from_toml(text: &str) -> Result<Self, RulesError> {
        toml::from_str(text).map_err(|error| one_line(&error.to_string()))
    }

    /// The rules of the JSON document `text`.
    ///
    /// # Errors
    ///
    /// What is wrong, and where.
    pub fn from_json(text: &str) -> Result<Self, RulesError> {
        serde_json::from_str(text).map_err(|error| one_line(&error.to_string()))
    }

    /// The rules, of which one has to allow what is to be done.
    #[must_use]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// What holds for production data.
    #[must_use]
    pub fn production(&self) -> &ProductionRules {
        &self.production
    }

    /// The first dataset of `scope` with which `actor` may not do `operation`, if there is one.
    #[must_use]
    pub fn refused<'a>(
        &self,
        actor: &str,
        operation: Operation,
        scope: &'a Scope,
    ) -> Option<&'a DatasetName> {
        scope.tops().iter().find(|top| {
            !self
                .rules
                .iter()
                .any(|rule| rule.allows(actor, operation, top))
        })
    }
}

fn one_line(text: &str) -> RulesError {
    let lines: Vec<&str> = text.lines().map(str::trim).collect();
    RulesError(lines.join(" "))
}
