//! A line on the terminal that says how far the loading of rules has come. Where standard error is
//! no terminal, or rules are few, nothing is said.

use std::io::{IsTerminal, Write};

/// Rules below which nobody waits long enough to be told.
const RULES_MIN: usize = 2048;
/// Width of the bar in letters.
const WIDTH: usize = 30;
/// Share of the bar that reading takes; the rest is compiling.
const READING: usize = WIDTH * 2 / 3;

/// The line; it is wiped when this goes.
pub struct Progress {
    /// Rules there are, about; 0: nothing is said.
    all: usize,
}

impl Progress {
    /// For these rule texts.
    pub fn of(texts: &[(String, Vec<u8>)]) -> Progress {
        let lines = texts
            .iter()
            .map(|(_, text)| text.split(|byte| *byte == b'\n'))
            .map(|lines| {
                lines
                    .filter(|line| line.first().is_some_and(u8::is_ascii_lowercase))
                    .count()
            })
            .sum();
        let told = lines >= RULES_MIN && std::io::stderr().is_terminal();
        Progress {
            all: if told { lines } else { 0 },
        }
    }

    /// So many rules have been read.
    pub fn read(&self, count: u32) {
        if self.all > 0 {
            let count = (count as usize).min(self.all);
            show(
                READING * count / self.all,
                &format!("{count} of {} rules read", self.all),
            );
        }
    }

    /// All are read, automata are built.
    pub fn compiling(&self) {
        if self.all > 0 {
            show(READING, &format!("{} rules read, compiling", self.all));
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.all > 0 {
            eprint!("\r\x1b[K");
            flush();
        }
    }
}

/// The bar's text.
fn line(done: usize, words: &str) -> String {
    let done = done.min(WIDTH);
    format!("[{}{}] {words}", "#".repeat(done), ".".repeat(WIDTH - done))
}

fn show(done: usize, words: &str) {
    eprint!("\r\x1b[K{}", line(done, words));
    flush();
}

/// A terminal that has gone is told nothing, and nobody minds.
fn flush() {
    let _ = std::io::stderr().flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bar_is_of_one_width_and_few_rules_have_none() {
        assert_eq!(line(0, "x").len(), line(99, "x").len());
        assert!(line(3, "9 of 9").starts_with("[###."));
        let few = [("a".to_string(), b"alert tcp\n# x\n".to_vec())];
        assert_eq!(Progress::of(&few).all, 0);
    }
}
