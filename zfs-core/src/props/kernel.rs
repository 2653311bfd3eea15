//! What the loaded module says of a property.
//!
//! A property that was never set is absent from the kernel's answers, and its default is not the
//! same in all versions. The module publishes its own table under `/sys`.

use super::index::Xattr;
use super::table::{Form, Kinds, Prop};
use crate::nv::Value;
use once_cell::sync::OnceCell;
use std::collections::HashMap;
use std::path::Path;

const TABLE: &str = "/sys/module/zfs/properties.dataset";

/// A property of which the versions say different things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) default: u64,
    pub(super) kinds: Kinds,
}

/// The table of the loaded module. A module cannot go while a process has ZFS open, so that it is
/// read once.
static FACTS: OnceCell<HashMap<Prop, Facts>> = OnceCell::new();

/// `None` for a property that the module does not have, and where there is no `/sys` to tell.
pub(super) fn facts(prop: Prop) -> Option<Facts> {
    FACTS
        .get_or_try_init(|| read(Path::new(TABLE)))
        .ok()?
        .get(&prop)
        .copied()
}

fn read(table: &Path) -> std::io::Result<HashMap<Prop, Facts>> {
    table.metadata()?;
    let has_long_names = table.join(Prop::LongName.name()).exists();
    let facts = Prop::ALL
        .iter()
        .filter(|prop| prop.differs())
        .filter_map(|&prop| {
            let text =
                |attribute| std::fs::read_to_string(table.join(prop.name()).join(attribute)).ok();
            let default = default(prop, text("default")?.trim_end(), has_long_names)?;
            Some((
                prop,
                Facts {
                    default,
                    kinds: kinds(&text("datasets")?),
                },
            ))
        });
    Ok(facts.collect())
}

fn default(prop: Prop, text: &str, has_long_names: bool) -> Option<u64> {
    match prop.entry().form {
        // The word moved from one value to the other in the version that brought long names.
        Form::Index(..) if prop == Prop::Xattr && text == "on" => Some(
            if has_long_names {
                Xattr::Sa
            } else {
                Xattr::Dir
            }
            .raw(),
        ),
        Form::Index(names, _) => (names.raw)(text),
        Form::Number(_) => text.parse().ok(),
        Form::Text(_) | Form::Ratio | Form::List => None,
    }
}

fn kinds(text: &str) -> Kinds {
    text.split_whitespace().fold(Kinds::NONE, |kinds, kind| {
        kinds.and(match kind {
            "filesystem" => Kinds::FILESYSTEM,
            "volume" => Kinds::VOLUME,
            "snapshot" => Kinds::SNAPSHOT,
            _ => Kinds::NONE,
        })
    })
}

impl Prop {
    /// The datasets that it applies to.
    pub(super) fn kinds(self) -> Kinds {
        let known = self.entry().kinds;
        if self.differs() {
            facts(self).map_or(known, |facts| facts.kinds)
        } else {
            known
        }
    }

    /// The value of a dataset that it was never set on; `None` when there is none, or none that is
    /// known.
    pub(super) fn default_value(self) -> Option<Value> {
        let entry = self.entry();
        if self.is_read_only() {
            return None;
        }
        let number = |known| {
            if self.differs() {
                facts(self).map(|facts| facts.default)
            } else {
                Some(known)
            }
        };
        match entry.form {
            Form::Number(known) | Form::Index(_, known) => number(known).map(Value::Uint64),
            Form::Text(text) => Value::string(text?).ok(),
            Form::Ratio | Form::List => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_module_publishes() {
        assert_eq!(default(Prop::Compression, "off", false), Some(2));
        assert_eq!(default(Prop::Compression, "on", true), Some(1));
        assert_eq!(default(Prop::Relatime, "off", false), Some(0));
        assert_eq!(default(Prop::Xattr, "on", false), Some(Xattr::Dir.raw()));
        assert_eq!(default(Prop::Xattr, "on", true), Some(Xattr::Sa.raw()));
        assert_eq!(default(Prop::Xattr, "sa", true), Some(Xattr::Sa.raw()));
        assert_eq!(default(Prop::SpecialSmallBlocks, "0", true), Some(0));
        assert_eq!(default(Prop::Prefetch, "new", true), None);
        assert_eq!(
            kinds("filesystem volume \n"),
            Kinds::FILESYSTEM.and(Kinds::VOLUME)
        );
    }

    #[test]
    fn no_table_is_no_default() {
        assert!(read(Path::new("/nonexistent")).is_err());
    }
}
