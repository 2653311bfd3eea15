//! The lines of what guests write.

use std::io::Write;

/// A line of a guest, with the guest's name before it.
pub(crate) fn print_line(guest: &str, line: &str) {
    // A reader that went away is no reason to end the tests.
    let _ = writeln!(std::io::stdout(), "[{guest}] {line}");
}

/// Cuts a stream of bytes into lines.
#[derive(Debug, Default)]
pub(crate) struct LineSplitter(Vec<u8>);

impl LineSplitter {
    pub(crate) fn feed(&mut self, bytes: &[u8], line: &mut dyn FnMut(&str)) {
        self.0.extend_from_slice(bytes);
        while let Some(end) = self.0.iter().position(|byte| *byte == b'\n') {
            let rest = self.0.split_off(end + 1);
            self.0.truncate(end);
            line(&String::from_utf8_lossy(&self.0));
            self.0 = rest;
        }
    }

    pub(crate) fn finish(&mut self, line: &mut dyn FnMut(&str)) {
        if !self.0.is_empty() {
            line(&String::from_utf8_lossy(&self.0));
            self.0.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::LineSplitter;

    #[test]
    fn lines_are_put_together() {
        let mut lines = Vec::new();
        let mut splitter = LineSplitter::default();
        for piece in ["a", "b\nc\n\nd", "", "e"] {
            splitter.feed(piece.as_bytes(), &mut |line| lines.push(line.to_owned()));
        }
        splitter.finish(&mut |line| lines.push(line.to_owned()));
        assert_eq!(lines, ["ab", "c", "", "de"]);
    }
}
