//! What the demo prints: numbered steps, plain sentences, tables; at most 100 columns.

use std::cell::Cell;
use std::io::Write;
use std::path::Path;

/// Columns of a plain terminal.
const WIDTH: usize = 100;

thread_local! {
    static STEP: Cell<usize> = const { Cell::new(0) };
    /// Whether the last thing printed was a table: a sentence keeps its distance.
    static AFTER_TABLE: Cell<bool> = const { Cell::new(false) };
}

/// The heading of the next step.
pub fn step(title: &str) {
    let number = STEP.get() + 1;
    STEP.set(number);
    AFTER_TABLE.set(false);
    print(&format!("\n{number}  {title}\n"));
}

/// A sentence or more, wrapped and indented.
pub fn say(text: &str) {
    let gap = if AFTER_TABLE.replace(false) { "\n" } else { "" };
    print(&format!("{gap}{}", wrap(text, "   ")));
}

/// A table with its heading, after an empty line.
pub fn table<const N: usize>(heading: [&str; N], rows: &[[String; N]]) {
    print(&format!("\n{}", testkit::table(heading, rows)));
    AFTER_TABLE.set(true);
}

/// Text as it is.
pub fn print(text: &str) {
    // A reader that went away, such as `head`, must not keep the demo from cleaning up.
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// 3.1 MiB.
pub fn mebibytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / (1024.0 * 1024.0))
}

/// Relative to the working directory, when it is below it.
pub fn short(path: &Path) -> String {
    let here = std::env::current_dir().unwrap_or_default();
    path.strip_prefix(&here).unwrap_or(path).display().to_string()
}

fn wrap(text: &str, indent: &str) -> String {
    let mut lines = vec![indent.to_owned()];
    for word in text.split_whitespace() {
        let last = lines.len() - 1;
        let is_empty = lines[last] == indent;
        if !is_empty && lines[last].chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push(format!("{indent}{word}"));
        } else {
            lines[last] += if is_empty { "" } else { " " };
            lines[last] += word;
        }
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_filled_and_never_too_long() {
        let text = wrap(&"word ".repeat(60), "   ");
        let lengths: Vec<usize> = text.lines().map(str::len).collect();
        assert_eq!(lengths.len(), 4, "{text}");
        assert!(lengths.iter().all(|length| *length <= WIDTH), "{text}");
        assert!(text.starts_with("   word word"), "{text}");
    }
}
