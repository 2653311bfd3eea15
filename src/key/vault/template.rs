use super::super::KeyId;

/// Where a key lies: a path in which `{key}` stands for its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Template(String);

impl Template {
    /// A path without `{key}` is one for all keys.
    pub(super) fn new(path: &str) -> Result<Self, &'static str> {
        check_path(&path.replace("{key}", "key"))?;
        Ok(Self(path.to_owned()))
    }

    pub(super) fn is_per_key(&self) -> bool {
        self.0.contains("{key}")
    }

    pub(super) fn path(&self, id: &KeyId) -> String {
        self.0.replace("{key}", id.as_str())
    }
}

/// That a path is put into an address as it stands: components of unreserved characters, none of
/// which means another folder.
pub(super) fn check_path(path: &str) -> Result<(), &'static str> {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.~".contains(&byte);
    for component in path.split('/') {
        if component.is_empty() || component.bytes().all(|byte| byte == b'.') {
            return Err("a path has an empty component, or one of dots");
        }
        if !component.bytes().all(is_allowed) {
            return Err("a path has other characters than letters, digits, '-', '_', '.' and '~'");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_a_path() {
        let id = KeyId::new("acme.2").unwrap();
        for (template, path) in [
            ("helix/{key}", "helix/acme.2"),
            ("kv-{key}/zfs/{key}", "kv-acme.2/zfs/acme.2"),
            ("secret", "secret"),
        ] {
            assert_eq!(Template::new(template).unwrap().path(&id), path);
        }
        for bad in [
            "", "/a", "a/", "a//b", "../{key}", "a/../b", "a?b", "a b", "{id}", "a%2f", "ä",
        ] {
            assert!(Template::new(bad).is_err(), "{bad:?}");
        }
    }
}
