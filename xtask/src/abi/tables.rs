//! The tables `layout!`, `words!`, `constants!` and `requests!` of zfs-core-sys, turned into C assertions.
//!
//! The compiler holds the Rust structures to these tables, and here the same tables are held
//! against C, so that no number is written twice.

use anyhow::{Context, Result, bail};

/// The C assertions of all tables in a source file, for one version.
pub(super) fn assertions(source: &str, version: &str) -> Result<Vec<String>> {
    let code: String = source
        .lines()
        .map(str::trim)
        .filter(|line| !line.starts_with("//"))
        .collect::<Vec<_>>()
        .join(" ");
    let mut found = Vec::new();
    for body in bodies(&code, "layout! {") {
        layout(body, version, &mut found)?;
    }
    for body in bodies(&code, "words! {") {
        words(body, version, &mut found)?;
    }
    for body in bodies(&code, "constants! {") {
        constants(body, version, &mut found)?;
    }
    for body in bodies(&code, "requests! {") {
        requests(body, version, &mut found)?;
    }
    Ok(found)
}

/// What the braces of every use of a macro hold.
fn bodies<'a>(code: &'a str, start: &'a str) -> impl Iterator<Item = &'a str> {
    code.split(start)
        .skip(1)
        .filter_map(|rest| rest.split_once('}').map(|(body, _)| body))
}

/// `NAME: SIZE [since "V"], align N; FIELD = OFFSET [since "V"], …`
fn layout(body: &str, version: &str, found: &mut Vec<String>) -> Result<()> {
    let (head, fields) = body.split_once(';').context("a layout without fields")?;
    let (name, rest) = head.split_once(':').context("a layout without a size")?;
    let name = name.trim();
    let (size, align) = rest.split_once(", align ").context("no alignment")?;
    if let Some(size) = value(size, version)? {
        found.push(assertion(&format!("sizeof (struct {name}) == {size}")));
    }
    found.push(assertion(&format!(
        "_Alignof (struct {name}) == {}",
        align.trim()
    )));
    for field in entries(fields, ',') {
        let (path, offset) = pair(field)?;
        if let Some(offset) = value(offset, version)? {
            // The one union that C leaves without a name.
            let path = path
                .strip_prefix("zc_tail.")
                .map_or(path, |inner| inner.strip_prefix("fields.").unwrap_or(inner));
            found.push(assertion(&format!(
                "offsetof(struct {name}, {path}) == {offset}"
            )));
        }
    }
    Ok(())
}

/// `STRUCT; NAME: FIELD = WORD [since|before "V"]; …`
fn words(body: &str, version: &str, found: &mut Vec<String>) -> Result<()> {
    let (name, fields) = body.split_once(';').context("words without a structure")?;
    let name = name.trim();
    for entry in entries(fields, ';') {
        let (declaration, word) = pair(entry)?;
        let (_, field) = declaration
            .split_once(':')
            .context("a word without a field")?;
        if let Some(word) = value(word, version)? {
            let field = field.trim();
            found.push(assertion(&format!(
                "offsetof(struct {name}, {field}) == 8 * {word}"
            )));
        }
    }
    Ok(())
}

/// `NAME: TYPE = NUMBER [since "V"]; …`
fn constants(body: &str, version: &str, found: &mut Vec<String>) -> Result<()> {
    for entry in entries(body, ';') {
        let (declaration, number) = pair(entry)?;
        let (name, _) = declaration
            .split_once(':')
            .context("a constant without a type")?;
        if let Some(number) = value(number, version)? {
            // Rust groups digits, C of these headers' age does not.
            let number = number.replace('_', "");
            found.push(assertion(&format!("{name} == {number}")));
        }
    }
    Ok(())
}

/// `NAME = NUMBER [since "V"]; …`
fn requests(body: &str, version: &str, found: &mut Vec<String>) -> Result<()> {
    for entry in entries(body, ';') {
        let (name, number) = pair(entry)?;
        if let Some(number) = value(number, version)? {
            found.push(assertion(&format!("{name} == 0x5a00 + {number}")));
        }
    }
    Ok(())
}

fn entries(list: &str, separator: char) -> impl Iterator<Item = &str> {
    list.split(separator)
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
}

fn pair(entry: &str) -> Result<(&str, &str)> {
    let (name, value) = entry
        .split_once('=')
        .with_context(|| format!("no value in {entry:?}"))?;
    Ok((name.trim(), value.trim()))
}

/// The number of `NUMBER [since|before "V"]`, unless it is not this version's.
fn value<'a>(text: &'a str, version: &str) -> Result<Option<&'a str>> {
    let text = text.trim();
    let Some((number, condition)) = text.split_once(' ') else {
        return Ok(Some(text));
    };
    let (word, other) = condition
        .split_once(' ')
        .with_context(|| format!("cannot read {text:?}"))?;
    let other = other.trim_matches('"');
    // All versions are 2 and one digit, so that text compares as they do.
    let holds = match word {
        "since" => version >= other,
        "before" => version < other,
        _ => bail!("cannot read {text:?}"),
    };
    Ok(holds.then_some(number))
}

fn assertion(condition: &str) -> String {
    format!("_Static_assert({condition}, \"{condition}\");")
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLES: &str = r#"
        layout! {
            zfs_cmd: 368 since "2.4", align 8;
            zc_name = 0,
            zc_tail.fields.zc_flags = 12,
            zc_new = 352 since "2.4",
        }
        words! {
            vdev_stat;
            /// A word; with punctuation.
            VS_OLD: vs_pspace = 45 before "2.2";
            VS_NEW: vs_pspace = 46 since "2.2";
        }
        super::constants! {
            /// A number.
            DMU_MAGIC: u64 = 0x2_f5ba_cbac;
        }
        requests! {
            ZFS_IOC_A = 0x00;
            ZFS_IOC_B = 0x58 since "2.3";
        }
    "#;

    #[test]
    fn conditions_choose_the_lines_of_a_version() {
        let of = |version| -> Vec<String> {
            assertions(TABLES, version)
                .unwrap()
                .into_iter()
                .map(|line| line.split('"').nth(1).unwrap().to_owned())
                .collect()
        };
        assert_eq!(
            of("2.1"),
            [
                "_Alignof (struct zfs_cmd) == 8",
                "offsetof(struct zfs_cmd, zc_name) == 0",
                "offsetof(struct zfs_cmd, zc_flags) == 12",
                "offsetof(struct vdev_stat, vs_pspace) == 8 * 45",
                "DMU_MAGIC == 0x2f5bacbac",
                "ZFS_IOC_A == 0x5a00 + 0x00",
            ]
        );
        assert_eq!(
            of("2.4"),
            [
                "sizeof (struct zfs_cmd) == 368",
                "_Alignof (struct zfs_cmd) == 8",
                "offsetof(struct zfs_cmd, zc_name) == 0",
                "offsetof(struct zfs_cmd, zc_flags) == 12",
                "offsetof(struct zfs_cmd, zc_new) == 352",
                "offsetof(struct vdev_stat, vs_pspace) == 8 * 46",
                "DMU_MAGIC == 0x2f5bacbac",
                "ZFS_IOC_A == 0x5a00 + 0x00",
                "ZFS_IOC_B == 0x5a00 + 0x58",
            ]
        );
    }

    #[test]
    fn an_unknown_condition_is_an_error() {
        let table = "requests! { ZFS_IOC_A = 0x00 until \"2.3\"; }";
        assert!(assertions(table, "2.1").is_err());
    }
}
