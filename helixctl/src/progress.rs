//! How far a command is, on a terminal and nowhere else.

use std::fmt;

use helix_zfs::Step;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::console::Console;

/// A line that shows how far a command is. It is gone when this is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Bar(ProgressBar);

impl Bar {
    pub(crate) fn new(console: &Console) -> Self {
        let bar = ProgressBar::no_length();
        bar.set_draw_target(match console.has_watcher() {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        });
        Self(bar)
    }

    fn style(&self, template: &str) {
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.0.set_style(style);
        }
    }

    /// A stream of bytes.
    pub(crate) fn bytes(&self, what: &str, done: u64, total: Option<u64>) {
        match total {
            Some(total) => {
                self.style("{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}");
                self.0.set_length(total.max(done));
            }
            None => self.style("{msg} {spinner} {bytes} {bytes_per_sec}"),
        }
        if self.0.message() != what {
            self.0.set_message(what.to_owned());
        }
        self.0.set_position(done);
    }

    /// A change of several.
    pub(crate) fn step<T: fmt::Display>(&self, step: &Step<'_, T>) {
        match step {
            Step::Starting(change) => {
                self.style("{spinner} {pos} done, now: {wide_msg}");
                self.0.set_message(change.to_string());
                self.0.tick();
            }
            Step::Done(_) => self.0.inc(1),
            _ => {}
        }
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
