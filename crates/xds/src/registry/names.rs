//! Names of resources: nearly always one, which is why it has a room of its own.

use std::collections::BTreeSet;
use std::sync::Arc;

/// At least one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Names {
    One(Arc<str>),
    Many(BTreeSet<Arc<str>>),
}

impl Names {
    /// In the order of the names.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Arc<str>> {
        let (one, many) = match self {
            Self::One(name) => (Some(name), None),
            Self::Many(names) => (None, Some(names)),
        };
        one.into_iter().chain(many.into_iter().flatten())
    }

    pub(super) fn first(&self) -> Option<&Arc<str>> {
        self.iter().next()
    }

    pub(super) fn add(&mut self, name: &Arc<str>) {
        match self {
            Self::One(known) if known == name => {}
            Self::One(known) => *self = Self::Many([known.clone(), name.clone()].into()),
            Self::Many(names) => drop(names.insert(name.clone())),
        }
    }

    /// True when nothing is left.
    pub(super) fn remove(&mut self, name: &Arc<str>) -> bool {
        match self {
            Self::One(known) => known == name,
            Self::Many(names) => {
                names.remove(name);
                names.is_empty()
            }
        }
    }
}
