//! Names of everything a scene makes: `kmesh-<scene>-<pid>-<n>`, so that leftovers tell whose they are.

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

/// Longest scene part, so that Unix socket paths below the temp dir stay under 108 bytes.
const SCENE_CHARS_MAX: usize = 24;

/// A name that no other scene of any living process has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ident {
    text: String,
    /// `kmesh-<scene>-`.
    scene: String,
}

impl Ident {
    /// A fresh name. Characters of `scene` that would confuse the parts become `_`.
    pub fn new(scene: &str) -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let scene: String = scene
            .chars()
            .take(SCENE_CHARS_MAX)
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '_' })
            .collect();
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let scene = format!("kmesh-{scene}-");
        Self { text: format!("{scene}{}-{number}", std::process::id()), scene }
    }

    /// `kmesh-<scene>-<pid>-<n>`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `kmesh-<scene>-`: what the names of all scenes of this name start with.
    pub fn scene(&self) -> &str {
        &self.scene
    }

    /// `kmesh-<scene>-<pid>-<n>-<part>`.
    pub fn part(&self, part: &str) -> String {
        format!("{}-{part}", self.text)
    }
}

impl fmt::Display for Ident {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The process that made `name`, when it has the form of an [`Ident`], with or without a part.
pub(crate) fn owner(name: &str) -> Option<u32> {
    let mut fields = name.split('-');
    if fields.next() != Some("kmesh") {
        return None;
    }
    let _scene = fields.next()?;
    let pid = fields.next()?.parse().ok()?;
    let _number: u32 = fields.next()?.parse().ok()?;
    Some(pid)
}

/// Whether `name` starts with `prefix` and was made by a process that is gone.
pub fn is_leftover(name: &str, prefix: &str) -> bool {
    name.starts_with(prefix)
        && owner(name).is_some_and(|pid| !Path::new("/proc").join(pid.to_string()).exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_tell_their_owner() {
        let (one, two) = (Ident::new("one-two three"), Ident::new("one-two three"));
        assert_ne!(one, two);
        assert!(one.as_str().starts_with("kmesh-one_two_three-"), "{one}");
        assert_eq!(owner(one.as_str()), Some(std::process::id()));
        assert_eq!(owner(&one.part("client-a")), Some(std::process::id()));
        assert!(!is_leftover(one.as_str(), "kmesh-"));
    }

    #[test]
    fn foreign_names_have_no_owner() {
        for name in ["kmesh", "kmesh-daemon", "kmesh-a-b-c", "cni-1234", "kmesh-scene-12-x-pod"] {
            assert_eq!(owner(name), None, "{name}");
        }
        assert!(is_leftover("kmesh-scene-4194305-0-node", "kmesh-"), "above the largest pid");
        assert!(!is_leftover("kmesh-scene-4194305-0-node", "kmesh-other"));
    }
}
