//! What there is to say about resources.

use std::fmt;

/// A resource that is not valid. What was known under its name stays in force.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{resource}: {field}: {message}")]
pub struct Refusal {
    /// Name of the resource.
    pub resource: String,
    /// Name of the field, as in the `.proto` file.
    pub field: &'static str,
    /// What is wrong with it.
    pub message: String,
}

/// A resource, or a part of it, that is not in force.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Finding {
    /// Name of the resource.
    pub resource: String,
    /// It was refused as a whole; else only this part of it has no effect.
    pub is_refused: bool,
    /// Name of the field, as in the `.proto` file.
    pub field: &'static str,
    /// What is wrong with it, or what happens instead.
    pub message: String,
}

impl From<Refusal> for Finding {
    fn from(refusal: Refusal) -> Self {
        let Refusal { resource, field, message } = refusal;
        Self { resource, is_refused: true, field, message }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = if self.is_refused { "refused" } else { "no effect" };
        write!(f, "{}: {}: {} ({what})", self.resource, self.field, self.message)
    }
}
