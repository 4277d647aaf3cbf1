//! What did not go as it should: a line in a log for people, and a note for the daemon of each pod that
//! started without its answer. Nothing here may fail a call.

use std::fs::{self, OpenOptions, Permissions};
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use cni::outcome::Trouble;
use cni::runtime::{Error, Settings};
use cni::wire::{Note, Request, Sandbox};

/// At this size the log becomes the old one; the old one before is dropped.
const LOG_BYTES_MAX: u64 = 1024 * 1024;
/// Notes that may wait for the daemon. Beyond it only the log knows.
const NOTES_MAX: usize = 1024;
/// They name pods: for root alone.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// Writes a line to the log, and to standard error, which runtimes log.
pub fn log(settings: &Settings, request: &Request, trouble: &Trouble, result: &Result<(), Error>) {
    let (command, who) = match request {
        Request::Add(sandbox) => ("ADD", workload(sandbox)),
        Request::Check(sandbox) => ("CHECK", workload(sandbox)),
        Request::Del(sandbox) => ("DEL", workload(sandbox)),
        Request::Gc { network, .. } => ("GC", network.clone()),
        Request::Status => ("STATUS", String::new()),
    };
    let outcome = if result.is_ok() { "let go" } else { "refused" };
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let reason = trouble.name();
    let line = format!("{seconds} {command} {who} {outcome} ({reason}): {trouble}\n");
    // Who could be told that this fails?
    let _ = std::io::stderr().write_all(format!("kmesh-cni: {line}").as_bytes());
    let _ = append(&settings.log_file, &line);
}

/// Leaves a note for the daemon, in one step. It may find it, and be gone, at any time.
pub fn leave_note(settings: &Settings, sandbox: &Sandbox, trouble: &Trouble) {
    let note = Note {
        workload: workload(sandbox),
        attachment: sandbox.attachment.clone(),
        reason: trouble.name().to_owned(),
        detail: trouble.to_string(),
    };
    if let Err(error) = write_note(&settings.socket, &note) {
        let line = format!("no note for the daemon of {}: {error}\n", note.workload);
        let _ = append(&settings.log_file, &line);
    }
}

fn write_note(socket: &Path, note: &Note) -> std::io::Result<()> {
    let directory = socket.parent().unwrap_or(Path::new("/")).join(cni::NOTES);
    fs::create_dir_all(&directory)?;
    fs::set_permissions(&directory, Permissions::from_mode(DIRECTORY_MODE))?;
    if fs::read_dir(&directory)?.take(NOTES_MAX).count() == NOTES_MAX {
        return Err(std::io::Error::other(format!("{NOTES_MAX} wait for it already")));
    }
    let name = format!("{}-{}", note.attachment.container_id, note.attachment.ifname);
    let draft = directory.join(format!(".{name}"));
    let text = serde_json::to_vec(note)?;
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(FILE_MODE);
    options.open(&draft)?.write_all(&text)?;
    fs::rename(&draft, directory.join(name))
}

fn append(log: &Path, line: &str) -> std::io::Result<()> {
    if fs::metadata(log).is_ok_and(|found| found.len() > LOG_BYTES_MAX) {
        let old = PathBuf::from(format!("{}.old", log.display()));
        fs::rename(log, old)?;
    }
    let mut options = OpenOptions::new();
    options.append(true).create(true).mode(FILE_MODE).open(log)?.write_all(line.as_bytes())
}

fn workload(sandbox: &Sandbox) -> String {
    format!("{}/{}", sandbox.pod_namespace, sandbox.pod_name)
}
