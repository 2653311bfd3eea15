//! What a command answers: the same for people, as text, and for scripts, as JSON.

use comfy_table::{CellAlignment, Table, presets};
use serde::Serialize;
use serde_json::Value;

use crate::console::to_json;
use crate::failure::{Exit, Failure};

/// What a command answers.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) exit: Exit,
    pub(crate) data: Value,
    pub(crate) text: String,
    /// Why a part of it was not done.
    pub(crate) failure: Option<Failure>,
}

impl Answer {
    /// `data` for scripts, and the same as `text` for people.
    pub(crate) fn new(data: &impl Serialize, text: impl Into<String>) -> Result<Self, Failure> {
        Ok(Self {
            exit: Exit::Done,
            data: to_json(data)?,
            text: text.into(),
            failure: None,
        })
    }

    /// A text as it is.
    pub(crate) fn raw(text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            exit: Exit::Done,
            data: Value::from(text.as_str()),
            text,
            failure: None,
        }
    }

    /// It ended as `exit`.
    pub(crate) fn ended(mut self, exit: Exit) -> Self {
        self.exit = exit;
        self
    }

    /// It is what can be told of a command that failed.
    pub(crate) fn failed(mut self, failure: Failure) -> Self {
        self.exit = failure.exit;
        self.failure = Some(failure);
        self
    }
}

/// A table with a title for each column.
pub(crate) struct Rows {
    table: Table,
    empty: &'static str,
}

impl Rows {
    /// Columns whose title ends with `>` are aligned to the right. `empty` is said in place of a
    /// table without rows.
    pub(crate) fn new(titles: &[&str], empty: &'static str) -> Self {
        let mut table = Table::new();
        table.load_preset(presets::NOTHING);
        table.set_header(titles.iter().map(|title| title.trim_end_matches('>')));
        for (column, title) in table.column_iter_mut().zip(titles) {
            column.set_padding((0, 2));
            if title.ends_with('>') {
                column.set_cell_alignment(CellAlignment::Right);
            }
        }
        Self { table, empty }
    }

    pub(crate) fn row<T: ToString>(&mut self, cells: impl IntoIterator<Item = T>) {
        self.table
            .add_row(cells.into_iter().map(|cell| cell.to_string()));
    }

    pub(crate) fn text(&self) -> String {
        if self.table.is_empty() {
            return format!("{}\n", self.empty);
        }
        self.table.lines().fold(String::new(), |mut text, line| {
            text += line.trim_end();
            text.push('\n');
            text
        })
    }
}

/// What is there, or a dash.
pub(crate) fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| String::from("-"), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_titles_and_no_trailing_blanks() {
        let mut rows = Rows::new(&["NAME", "USED>"], "nothing");
        assert_eq!(rows.text(), "nothing\n");
        rows.row(["tank/a", "1 KiB"]);
        rows.row(["tank/longer", "12 KiB"]);
        assert_eq!(
            rows.text(),
            "NAME           USED\ntank/a        1 KiB\ntank/longer  12 KiB\n"
        );
    }
}
