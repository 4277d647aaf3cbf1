//! What the daemon says of its commits: one line of its log for each.

use std::time::{SystemTime, UNIX_EPOCH};

const US_PER_DAY: u64 = 24 * 60 * 60 * 1_000_000;

/// One commit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// When it was in force, us of the day in UTC.
    pub at_us: u64,
    /// Writes to maps.
    pub writes: u64,
    /// From taking up the change to its snapshot, us.
    pub read_us: u64,
    /// From the snapshot to the last write, us; the first time the programs are attached as well.
    pub commit_us: u64,
}

// === impl Commit ===

impl Commit {
    /// All commits of a log, in order.
    pub fn all(log: &str) -> Vec<Self> {
        log.lines().filter_map(Self::parse).collect()
    }

    /// From taking up the change to its being in force, us.
    pub fn took_us(&self) -> u64 {
        self.read_us + self.commit_us
    }

    /// From `since`, us of the day, to its being in force.
    pub fn after(&self, since_us: u64) -> u64 {
        (self.at_us + US_PER_DAY - since_us) % US_PER_DAY
    }

    fn parse(line: &str) -> Option<Self> {
        let (head, fields) = line.split_once(": committed ")?;
        let field = |name: &str| {
            let mut pairs = fields.split(' ').filter_map(|pair| pair.split_once('='));
            pairs.find(|(key, _)| *key == name)?.1.parse().ok()
        };
        Some(Self {
            at_us: time_of_day(head.split(' ').next()?)?,
            writes: field("writes")?,
            read_us: field("read_us")?,
            commit_us: field("commit_us")?,
        })
    }
}

/// Now, us of the day in UTC.
pub fn now_us() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    now.as_micros() as u64 % US_PER_DAY
}

/// When the first line with `text` was written, us of the day in UTC.
pub fn time_of(log: &str, text: &str) -> Option<u64> {
    let line = log.lines().find(|line| line.contains(text))?;
    time_of_day(line.split(' ').next()?)
}

/// Of `2025-01-31T12:00:00.000000Z`.
fn time_of_day(stamp: &str) -> Option<u64> {
    let (_, time) = stamp.trim_end_matches('Z').split_once('T')?;
    let (clock, fraction) = time.split_once('.')?;
    let mut seconds = 0;
    for part in clock.split(':') {
        seconds = seconds * 60 + part.parse::<u64>().ok()?;
    }
    Some(seconds * 1_000_000 + fraction.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_lines_about_commits_and_no_others() {
        let log = "2025-01-31T00:00:01.000002Z  INFO kmesh_daemon::agent: attached program=connect4\n\
                   2025-01-31T00:01:01.000002Z  INFO kmesh_daemon::agent: committed generation=1 \
                   services=10 writes=31 read_us=1500 commit_us=70\n";
        let commit = Commit { at_us: 61_000_002, writes: 31, read_us: 1500, commit_us: 70 };
        assert_eq!(Commit::all(log), [commit]);
        assert_eq!(commit.took_us(), 1570);
    }

    #[test]
    fn a_change_at_midnight_took_no_day() {
        let commit = Commit { at_us: 5, writes: 0, read_us: 0, commit_us: 0 };
        assert_eq!(commit.after(US_PER_DAY - 10), 15);
        assert_eq!(commit.after(1), 4);
    }
}
