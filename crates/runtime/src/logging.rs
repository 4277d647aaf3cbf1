//! Logging: one line per event on standard error, with a level per logger that can be changed while
//! the program runs.
//!
//! There are two loggers: `bpf` has the events with target `bpf` (messages of libbpf and of the
//! programs), `default` all others.

use std::fmt;
use std::io::{self, Write};
use std::str::FromStr;
use std::sync::{Mutex, OnceLock, PoisonError};

use tracing::Subscriber;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Registry, reload};

/// Name of the logger for everything that has no logger of its own.
pub const DEFAULT: &str = "default";
/// Name of the logger, and target of the events, of libbpf and of the programs.
pub const BPF: &str = "bpf";

/// The loggers of this process once [`init`] has run.
static LOGGERS: OnceLock<Loggers> = OnceLock::new();

/// How much is logged: everything up to this level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// What failed.
    Error,
    /// What is wrong but did not fail.
    Warn,
    /// What an operator wants to see.
    Info,
    /// What helps to find a defect.
    Debug,
    /// Everything.
    Trace,
}

/// Why a level could not be read or changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoggingError {
    /// There is no such logger.
    #[error("logger {0} does not exist; there are: default, bpf")]
    UnknownLogger(String),
    /// There is no such level.
    #[error("{0:?} is not a log level; use error, warn, info, debug or trace (for bpf also 0-3)")]
    UnknownLevel(String),
    /// [`init`] has not run.
    #[error("logging is not set up yet")]
    NotReady,
    /// [`init`] has run before, or another subscriber is installed.
    #[error("logging is set up already")]
    AlreadySetUp,
}

/// Sets up logging for the process; both loggers start at `level`.
pub fn init(level: Level) -> Result<(), LoggingError> {
    let (subscriber, loggers) = build(level, io::stderr);
    LOGGERS.set(loggers).map_err(|_| LoggingError::AlreadySetUp)?;
    tracing::subscriber::set_global_default(subscriber).map_err(|_| LoggingError::AlreadySetUp)
}

/// Names of the loggers, in the order in which they are listed.
pub fn names() -> [&'static str; 2] {
    [DEFAULT, BPF]
}

/// The level of a logger.
pub fn get(name: &str) -> Result<Level, LoggingError> {
    LOGGERS.get().ok_or(LoggingError::NotReady)?.get(name)
}

/// Changes the level of a logger. `level` is one of the five names; for `bpf` also `0` (error) to
/// `3` (debug).
pub fn set(name: &str, level: &str) -> Result<Level, LoggingError> {
    LOGGERS.get().ok_or(LoggingError::NotReady)?.set(name, level)
}

/// What the admin API answers once [`set`] has set a level.
pub fn reply(name: &str, level: Level) -> String {
    match name {
        BPF => format!("set BPF Log Level: {}", level as u8),
        _ => "OK".to_owned(),
    }
}

// === impl Level ===

impl Level {
    /// All levels, the fewest events first.
    pub const ALL: [Level; 5] =
        [Level::Error, Level::Warn, Level::Info, Level::Debug, Level::Trace];

    /// The name in the admin API.
    pub fn name(self) -> &'static str {
        match self {
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        }
    }

    fn filter(self) -> LevelFilter {
        match self {
            Level::Error => LevelFilter::ERROR,
            Level::Warn => LevelFilter::WARN,
            Level::Info => LevelFilter::INFO,
            Level::Debug => LevelFilter::DEBUG,
            Level::Trace => LevelFilter::TRACE,
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Level {
    type Err = LoggingError;

    fn from_str(text: &str) -> Result<Self, LoggingError> {
        let lower = text.to_ascii_lowercase();
        // Kmesh also takes the long form.
        let lower = if lower == "warning" { "warn" } else { &lower };
        let level = Level::ALL.into_iter().find(|level| level.name() == lower);
        level.ok_or_else(|| LoggingError::UnknownLevel(text.to_owned()))
    }
}

// === Loggers ===

/// The levels and the way to change them.
struct Loggers {
    /// Of `default` and of `bpf`.
    levels: Mutex<[Level; 2]>,
    handle: reload::Handle<Targets, Registry>,
}

impl Loggers {
    fn get(&self, name: &str) -> Result<Level, LoggingError> {
        let index = index(name)?;
        Ok(self.levels.lock().unwrap_or_else(PoisonError::into_inner)[index])
    }

    fn set(&self, name: &str, text: &str) -> Result<Level, LoggingError> {
        let index = index(name)?;
        let level = match text.parse::<usize>() {
            Ok(number @ 0..=3) if name == BPF => Level::ALL[number],
            _ => text.parse()?,
        };
        let mut levels = self.levels.lock().unwrap_or_else(PoisonError::into_inner);
        let mut wanted = *levels;
        wanted[index] = level;
        self.handle.reload(targets(wanted)).map_err(|_| LoggingError::NotReady)?;
        *levels = wanted;
        Ok(level)
    }
}

fn index(name: &str) -> Result<usize, LoggingError> {
    let found = names().iter().position(|known| *known == name);
    found.ok_or_else(|| LoggingError::UnknownLogger(name.to_owned()))
}

fn targets([default, bpf]: [Level; 2]) -> Targets {
    Targets::new().with_default(default.filter()).with_target(BPF, bpf.filter())
}

fn build<W>(level: Level, writer: W) -> (impl Subscriber + Send + Sync, Loggers)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let levels = [level; 2];
    let (filter, handle) = reload::Layer::new(targets(levels));
    let lines = tracing_subscriber::fmt::layer().with_ansi(false).with_writer(OneLine(writer));
    let subscriber = tracing_subscriber::registry().with(filter).with(lines);
    (subscriber, Loggers { levels: Mutex::new(levels), handle })
}

// === OneLine ===

/// Keeps every event on one line: a newline inside it is written as `\n`.
struct OneLine<W>(W);

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for OneLine<W> {
    type Writer = OneLine<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        OneLine(self.0.make_writer())
    }
}

impl<W: Write> Write for OneLine<W> {
    /// The formatting layer hands over each event whole.
    fn write(&mut self, event: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(event);
        let line = text.trim_end_matches('\n').replace('\n', "\\n");
        self.0.write_all(format!("{line}\n").as_bytes())?;
        Ok(event.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

#[cfg(test)]
mod tests;
