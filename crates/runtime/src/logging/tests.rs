//! What is logged at which level, and in what form.

use std::sync::Arc;

use super::*;

/// Collects what is logged.
#[derive(Clone, Default)]
struct Sink(Arc<Mutex<Vec<u8>>>);

impl Sink {
    fn take(&self) -> String {
        let bytes = std::mem::take(&mut *self.0.lock().expect("no panic while logging"));
        String::from_utf8(bytes).expect("text")
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic while logging").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn emit() {
    tracing::debug!("detail");
    tracing::debug!(target: "bpf", "loaded");
}

#[test]
fn each_logger_has_its_own_level_and_it_can_change() {
    let sink = Sink::default();
    let writer = sink.clone();
    let (subscriber, loggers) = build(Level::Info, move || writer.clone());
    tracing::subscriber::with_default(subscriber, || {
        emit();
        assert_eq!(sink.take(), "");
        assert_eq!(loggers.set("bpf", "3"), Ok(Level::Debug));
        emit();
        let text = sink.take();
        assert!(text.contains("loaded") && !text.contains("detail"), "{text}");
        assert_eq!(loggers.set("bpf", "error"), Ok(Level::Error));
        assert_eq!(loggers.set("default", "debug"), Ok(Level::Debug));
        emit();
        let text = sink.take();
        assert!(text.contains("detail") && !text.contains("loaded"), "{text}");
    });
    assert_eq!(loggers.get("bpf"), Ok(Level::Error));
    assert_eq!(loggers.get("default"), Ok(Level::Debug));
}

#[test]
fn an_event_is_one_plain_line() {
    let sink = Sink::default();
    let writer = sink.clone();
    let (subscriber, _loggers) = build(Level::Info, move || writer.clone());
    tracing::subscriber::with_default(subscriber, || {
        tracing::warn!(target: "bpf", "first\nsecond\n");
    });
    let text = sink.take();
    assert_eq!(text.matches('\n').count(), 1, "{text}");
    assert!(text.contains(" WARN bpf: first\\nsecond"), "{text}");
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn unknown_names_say_what_there_is() {
    let (_subscriber, loggers) = build(Level::Info, io::sink);
    let error = loggers.set("fileOnly", "info").expect_err("no such logger");
    assert_eq!(error.to_string(), "logger fileOnly does not exist; there are: default, bpf");
    assert_eq!(loggers.get("x"), Err(LoggingError::UnknownLogger("x".into())));
    for (name, level) in [("default", "1"), ("bpf", "4"), ("default", "loud"), ("bpf", "")] {
        let error = loggers.set(name, level).expect_err("no such level");
        assert_eq!(error, LoggingError::UnknownLevel(level.into()));
    }
    assert_eq!("Warning".parse(), Ok(Level::Warn));
}

#[test]
fn the_reply_is_that_of_kmesh() {
    assert_eq!(reply("default", Level::Debug), "OK");
    assert_eq!(reply("bpf", Level::Debug), "set BPF Log Level: 3");
}
