//! What can be delegated.

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::props::Prop;
use std::borrow::Cow;
use std::fmt;

/// The longest name of a set, in bytes, with its `@`.
const MAX_SET_LEN: usize = 63;

/// Something that can be delegated: an operation, the right to set a property, or a set of these.
///
/// There are constants for the operations of 2.1 and newer; a [`Prop`] stands for the right to
/// change that property. Most operations need more than one permission: the docs of each method say
/// which.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "serde", derive(serde::Serialize))]
#[cfg_attr(feature = "serde", serde(transparent))]
pub struct Permission(pub(super) Cow<'static, str>);

macro_rules! permissions {
    ($($(#[$doc:meta])* $name:ident = $text:literal;)*) => {
        impl Permission {
            $($(#[$doc])* pub const $name: Self = Self(Cow::Borrowed($text));)*
        }
    };
}

permissions! {
    /// Delegating permissions that one has oneself.
    ALLOW = "allow";
    /// Creating bookmarks.
    BOOKMARK = "bookmark";
    /// Changing keys.
    CHANGE_KEY = "change-key";
    /// Cloning snapshots.
    CLONE = "clone";
    /// Creating datasets.
    CREATE = "create";
    /// Destroying datasets, snapshots and bookmarks.
    DESTROY = "destroy";
    /// Comparing snapshots.
    DIFF = "diff";
    /// Setting quotas of single groups.
    GROUP_QUOTA = "groupquota";
    /// Setting limits of the objects of single groups.
    GROUP_OBJECT_QUOTA = "groupobjquota";
    /// Reading the space of groups.
    GROUP_USED = "groupused";
    /// Reading the number of objects of groups.
    GROUP_OBJECTS_USED = "groupobjused";
    /// Holding snapshots.
    HOLD = "hold";
    /// Loading and unloading keys.
    LOAD_KEY = "load-key";
    /// Mounting, as far as ZFS is concerned: it goes with creating, destroying, renaming and more.
    /// Linux itself lets only root mount.
    MOUNT = "mount";
    /// Reading the number of objects of projects.
    PROJECT_OBJECTS_USED = "projectobjused";
    /// Setting limits of the objects of single projects.
    PROJECT_OBJECT_QUOTA = "projectobjquota";
    /// Setting quotas of single projects.
    PROJECT_QUOTA = "projectquota";
    /// Reading the space of projects.
    PROJECT_USED = "projectused";
    /// Promoting clones.
    PROMOTE = "promote";
    /// Receiving.
    RECEIVE = "receive";
    /// Receiving without force. Since ZFS 2.3.2.
    RECEIVE_APPEND = "receive:append";
    /// Releasing holds.
    RELEASE = "release";
    /// Renaming.
    RENAME = "rename";
    /// Rolling back.
    ROLLBACK = "rollback";
    /// Sending.
    SEND = "send";
    /// Sending encrypted datasets raw, and nothing else. Since ZFS 2.4.
    SEND_ENCRYPTED = "send:encrypted";
    /// Sending raw. Since ZFS 2.4.
    SEND_RAW = "send:raw";
    /// Sharing.
    SHARE = "share";
    /// Creating snapshots.
    SNAPSHOT = "snapshot";
    /// Setting user properties.
    USER_PROPERTIES = "userprop";
    /// Setting quotas of single users.
    USER_QUOTA = "userquota";
    /// Setting limits of the objects of single users.
    USER_OBJECT_QUOTA = "userobjquota";
    /// Reading the space of users.
    USER_USED = "userused";
    /// Reading the number of objects of users.
    USER_OBJECTS_USED = "userobjused";
}

impl Permission {
    /// The permission of this name, or the set of permissions if it begins with `@`.
    ///
    /// # Errors
    ///
    /// `InvalidArgument` for a name that no permission and no set can have. Whether the module
    /// knows the permission is found when it is delegated.
    pub fn new(name: &str) -> Result<Self> {
        let refuse = |why: &str| {
            Err(Error::refused(
                Operation::SetPermissions,
                name,
                ErrorKind::InvalidArgument,
                why,
            ))
        };
        if name.starts_with('@') {
            check_set(name)?;
        } else if name.is_empty() || !name.bytes().all(|b| b.is_ascii_graphic() && b != b'$') {
            return refuse("not the name of a permission");
        }
        Ok(Self(Cow::Owned(name.to_owned())))
    }

    /// Its name, as the `zfs` command has it.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.0
    }

    /// Whether it is a set, whose name begins with `@`.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.starts_with('@')
    }
}

impl From<Prop> for Permission {
    fn from(prop: Prop) -> Self {
        Self(Cow::Borrowed(prop.name()))
    }
}

impl fmt::Display for Permission {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// By what a set is named.
pub(super) fn check_set(name: &str) -> Result<()> {
    let allowed = |b: u8| b.is_ascii_alphanumeric() || b"-_.: ".contains(&b);
    let why = match name.strip_prefix('@') {
        None | Some("") => "a set's name begins with an @ and goes on",
        Some(_) if name.len() > MAX_SET_LEN => "63 bytes is the longest name of a set",
        Some(rest) if !rest.bytes().all(allowed) => "a character that is not allowed",
        Some(_) => return Ok(()),
    };
    Err(Error::refused(
        Operation::SetPermissions,
        name,
        ErrorKind::InvalidArgument,
        why,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        for name in ["", "a b", "a$b", "ä", "a\0", "@", "@a/b", "@a$"] {
            assert!(Permission::new(name).is_err(), "{name:?}");
        }
        assert!(Permission::new(&format!("@{}", "x".repeat(63))).is_err());
        assert!(
            Permission::new(&format!("@{}", "x".repeat(62)))
                .unwrap()
                .is_set()
        );
        assert_eq!(Permission::new("snapshot").unwrap(), Permission::SNAPSHOT);
        assert_eq!(Permission::from(Prop::Quota).name(), "quota");
    }
}
