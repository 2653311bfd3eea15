use crate::pool::vdev::{Vdev, VdevClass, VdevKind};

/// How much a vdev of the top can lose, for comparison with another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Redundancy {
    pub(crate) kind: &'static str,
    pub(crate) children: usize,
    pub(crate) parity: u64,
}

impl Redundancy {
    /// That of a vdev of an existing pool; `None` for those that do not count.
    fn of(vdev: &Vdev) -> Option<Self> {
        let (kind, parity) = match vdev.kind {
            _ if vdev.class == VdevClass::Log => return None,
            VdevKind::Disk => ("disk", 0),
            VdevKind::File => ("file", 0),
            // A device that is being replaced, or stood in for, was one.
            VdevKind::Replacing | VdevKind::Spare => {
                return vdev.children.first().and_then(Self::of);
            }
            VdevKind::Mirror => ("mirror", 0),
            VdevKind::Raidz { parity } => ("raidz", parity),
            VdevKind::Draid { parity, .. } => ("draid", parity),
            _ => return None,
        };
        Some(Self {
            kind,
            children: vdev.children.len().max(1),
            parity,
        })
    }

    /// That of an existing pool: `None` when its vdevs differ, so that nothing can be held
    /// against one that differs too.
    pub(crate) fn of_pool(root: &Vdev) -> Option<Self> {
        Self::common(root.children.iter().filter_map(Self::of)).ok()?
    }

    /// What all of them have, or how two of them differ.
    pub(crate) fn common(all: impl IntoIterator<Item = Self>) -> Result<Option<Self>, String> {
        let mut last: Option<Self> = None;
        for next in all {
            if let Some(difference) = last.as_ref().and_then(|last| last.difference(&next)) {
                return Err(difference);
            }
            last = Some(next);
        }
        Ok(last)
    }

    /// How the two differ, in the eyes of the `zpool` command.
    pub(crate) fn difference(&self, other: &Self) -> Option<String> {
        let has_parity = |kind| matches!(kind, "raidz" | "draid");
        let equal = match (self.kind, other.kind) {
            (group, "mirror") if has_parity(group) => self.parity + 1 == other.children as u64,
            ("mirror", group) if has_parity(group) => other.parity + 1 == self.children as u64,
            (one, another) if one != another => {
                has_parity(one) && has_parity(another) && self.parity == other.parity
            }
            _ => self == other,
        };
        (!equal).then(|| format!("a {self} and a {other} differ in redundancy"))
    }
}

impl std::fmt::Display for Redundancy {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.kind {
            "mirror" => write!(f, "{}-way mirror", self.children),
            "raidz" | "draid" => write!(f, "{}{} of {}", self.kind, self.parity, self.children),
            kind => f.write_str(kind),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(kind: &'static str, children: usize, parity: u64) -> Redundancy {
        Redundancy {
            kind,
            children,
            parity,
        }
    }

    #[test]
    fn groups_that_can_lose_as_much_agree() {
        let agree = [
            [make("raidz", 5, 2), make("mirror", 3, 0)],
            [make("draid", 9, 1), make("mirror", 2, 0)],
            [make("raidz", 5, 2), make("draid", 9, 2)],
            [make("mirror", 2, 0), make("mirror", 2, 0)],
            [make("file", 1, 0), make("file", 1, 0)],
        ];
        for [one, other] in agree {
            assert_eq!(one.difference(&other), None);
            assert_eq!(other.difference(&one), None);
        }
    }

    #[test]
    fn others_do_not() {
        let differ = [
            [make("raidz", 5, 1), make("mirror", 3, 0)],
            [make("raidz", 5, 1), make("raidz", 6, 1)],
            [make("raidz", 5, 1), make("raidz", 5, 2)],
            [make("raidz", 5, 1), make("draid", 5, 2)],
            [make("mirror", 2, 0), make("mirror", 3, 0)],
            [make("mirror", 2, 0), make("file", 1, 0)],
            [make("disk", 1, 0), make("file", 1, 0)],
        ];
        for [one, other] in differ {
            assert!(one.difference(&other).is_some(), "{one} and {other}");
            assert!(other.difference(&one).is_some(), "{other} and {one}");
        }
        assert_eq!(
            Redundancy::common([make("mirror", 2, 0), make("raidz", 4, 2)]).unwrap_err(),
            "a 2-way mirror and a raidz2 of 4 differ in redundancy"
        );
    }
}
