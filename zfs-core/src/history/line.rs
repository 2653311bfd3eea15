//! The words of a line.

use crate::nv::{NvMap, Value};
use crate::props::shown_value;
use std::fmt::{Display, Write};

/// The longest line, in bytes, as of the commands.
pub(super) const MAX_LEN: usize = 8192;

/// A line for the history, in the words of a command.
#[derive(Debug)]
pub(crate) struct Line(String);

impl Line {
    /// `zfs snapshot`, for example.
    pub(crate) fn new(command: &str) -> Self {
        Self(command.to_owned())
    }

    /// An argument, quoted as a shell would need it.
    pub(crate) fn arg(mut self, argument: impl Display) -> Self {
        self.0.push(' ');
        self.push_quoted(&argument.to_string());
        self
    }

    /// Any number of arguments. Those that do not fit are counted.
    pub(crate) fn args<T: Display>(mut self, arguments: impl IntoIterator<Item = T>) -> Self {
        let mut left_out: u64 = 0;
        for argument in arguments {
            if left_out > 0 || self.0.len() > MAX_LEN - 640 {
                left_out += 1;
            } else {
                self = self.arg(argument);
            }
        }
        if left_out > 0 {
            let _infallible = write!(self.0, " (and {left_out} more)");
        }
        self
    }

    /// `flag`, if `wanted`.
    pub(crate) fn flag(self, flag: &str, wanted: bool) -> Self {
        match wanted {
            true => self.arg(flag),
            false => self,
        }
    }

    /// `name=value` for each property, each behind `flag` if there is one.
    pub(crate) fn properties(mut self, flag: Option<&str>, props: &NvMap) -> Self {
        for (name, value) in props.iter() {
            let name = name.to_string_lossy();
            // Of no use to a reader: it is drawn anew for each passphrase.
            if name == "pbkdf2salt" {
                continue;
            }
            self = match (value, flag) {
                // What a receive leaves out.
                (Value::Boolean, _) => self.arg("-x").arg(name),
                (value, flag) => {
                    let line = flag.into_iter().fold(self, Self::arg);
                    line.arg(format_args!("{name}={}", shown_value(&name, value)))
                }
            };
        }
        self
    }

    fn push_quoted(&mut self, argument: &str) {
        let plain = |c: char| c.is_alphanumeric() || "-_./:=@#%+,^~[]{}".contains(c);
        if !argument.is_empty() && argument.chars().all(plain) {
            self.0.push_str(argument);
        } else {
            self.0.push('\'');
            self.0.push_str(&argument.replace('\'', r"'\''"));
            self.0.push('\'');
        }
    }
}

impl From<Line> for String {
    fn from(line: Line) -> Self {
        line.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_those_of_a_command() {
        let mut props = NvMap::new();
        props.insert(c"compression", 15_u64);
        props.insert(c"quota", 1_u64 << 30);
        props.insert(c"pbkdf2salt", 7_u64);
        props.insert(c"helix:note", Value::from(c"it's late"));
        let line = Line::new("zfs create")
            .flag("-p", false)
            .flag("-u", true)
            .properties(Some("-o"), &props)
            .arg("tank/a");
        assert_eq!(
            String::from(line),
            r"zfs create -u -o compression=lz4 -o quota=1073741824 -o 'helix:note=it'\''s late' tank/a"
        );
        assert_eq!(String::from(Line::new("zfs hold").arg("")), "zfs hold ''");
    }

    #[test]
    fn a_batch_that_is_too_long_is_counted() {
        let line = Line::new("zfs snapshot").args((0..10_000).map(|n| format!("tank/{n:04}@a")));
        let line = String::from(line);
        assert!(line.len() <= MAX_LEN, "{}", line.len());
        assert!(line.starts_with("zfs snapshot tank/0000@a tank/0001@a "));
        let named = line.matches('@').count();
        assert!(
            line.ends_with(&format!(" (and {} more)", 10_000 - named)),
            "{line}"
        );
    }
}
