//! The way through a tree of datasets.

use super::row::{Row, RowName};
use super::source::{Cursor, Plan};
use crate::error::{ErrorKind, Result};
use crate::list::DatasetKind;
use crate::name::DatasetName;
use std::collections::VecDeque;

/// Something to be done about one dataset.
#[derive(Debug)]
pub(super) struct Todo {
    pub(super) name: DatasetName,
    kind: DatasetKind,
    depth: usize,
    next: Next,
}

#[derive(Debug)]
enum Next {
    /// Its own row, before anything else of it.
    Start(Box<Row>),
    Snapshots(Cursor),
    Bookmarks,
    Children(Cursor),
}

/// What came of it.
#[derive(Default)]
pub(super) struct Found {
    pub(super) rows: Vec<Row>,
    /// The next step about the same dataset.
    pub(super) rest: Option<Todo>,
    /// Datasets below it, in order.
    pub(super) below: Vec<Todo>,
}

impl Todo {
    pub(super) fn start(row: Row, depth: usize) -> Self {
        let name = match row.name() {
            RowName::Dataset(name) => name.clone(),
            RowName::Snapshot(name) => name.dataset(),
            RowName::Bookmark(name) => name.dataset(),
        };
        Self {
            name,
            kind: row.kind(),
            depth,
            next: Next::Start(Box::new(row)),
        }
    }

    /// Takes the next step. A dataset that is gone has no more of them.
    pub(super) fn step(self, plan: &Plan) -> Result<Found> {
        match self.try_step(plan) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Found::default()),
            outcome => outcome,
        }
    }

    fn try_step(self, plan: &Plan) -> Result<Found> {
        let Self {
            name,
            kind,
            depth,
            next,
        } = self;
        let mut found = Found::default();
        let next = match next {
            Next::Start(row) => {
                if plan.shows(&row) {
                    found.rows.push(*row);
                }
                Some(Next::Snapshots(0))
            }
            Next::Snapshots(_) if !plan.has_snapshots() => Some(Next::Bookmarks),
            Next::Snapshots(from) => {
                let part = plan.snapshots(&name, kind, from)?;
                found.rows = part.rows;
                Some(part.rest.map_or(Next::Bookmarks, Next::Snapshots))
            }
            Next::Bookmarks => {
                if plan.has_bookmarks() {
                    found.rows = plan.bookmarks(&name, kind)?;
                }
                Some(Next::Children(0))
            }
            Next::Children(_) if !plan.goes_below(kind, depth) => None,
            Next::Children(from) => {
                let part = plan.children(&name, from)?;
                let below = |row| Self::start(row, depth + 1);
                found.below = part.rows.into_iter().map(below).collect();
                part.rest.map(Next::Children)
            }
        };
        found.rest = next.map(|next| Self {
            name,
            kind,
            depth,
            next,
        });
        Ok(found)
    }
}

/// A listing by the thread that takes the rows.
#[derive(Debug)]
pub(super) struct Walk {
    plan: Plan,
    /// What is to be done, the next at the end.
    todo: Vec<Todo>,
}

impl Walk {
    pub(super) fn new(plan: Plan, first: Todo) -> Self {
        Self {
            plan,
            todo: vec![first],
        }
    }

    /// Goes on a little; false at the end.
    pub(super) fn step(&mut self, ready: &mut VecDeque<Result<Row>>) -> bool {
        let Some(todo) = self.todo.pop() else {
            return false;
        };
        match todo.step(&self.plan) {
            Ok(found) => {
                ready.extend(found.rows.into_iter().map(Ok));
                // In the order of the kernel there can be more children, which come later.
                self.todo.extend(found.rest);
                self.todo.extend(found.below.into_iter().rev());
            }
            Err(error) => ready.push_back(Err(error)),
        }
        true
    }
}
