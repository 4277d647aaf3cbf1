//! Where results go, and in which form.

use std::io::{self, ErrorKind, Write};

use anyhow::Context;
use clap::ValueEnum;

/// Form of a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// Columns for people.
    Table,
    /// JSON for programs.
    Json,
}

/// Writes a result to standard output. A reader that has seen enough, such as `head`, is no error.
pub fn print(text: &str) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(()),
        done => done.context("cannot write to standard output"),
    }
}

/// The text with exactly one newline at its end.
pub fn line(text: &str) -> String {
    format!("{}\n", text.trim_end_matches('\n'))
}

/// A value as indented JSON.
pub fn json(value: &impl serde::Serialize) -> anyhow::Result<String> {
    Ok(line(&serde_json::to_string_pretty(value)?))
}
