//! What is found out about one object while it is read. The store makes problems of it, because only
//! the store knows what the consequence of an error is.

use crate::Severity;

/// One finding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    pub(crate) severity: Severity,
    pub(crate) field: String,
    pub(crate) message: String,
    /// Empty for an error: the store decides it.
    pub(crate) consequence: &'static str,
}

/// The findings about one object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Findings(Vec<Finding>);

/// The consequence of a field that this data path has no use for.
pub(crate) const IGNORED_BY_L4: &str = "ignored by the L4 data path";

impl Findings {
    /// The object can't be in force.
    pub(crate) fn error(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.push(Severity::Error, field, message, "");
    }

    /// Part of the object is not in force.
    pub(crate) fn warning(
        &mut self,
        field: impl Into<String>,
        message: impl Into<String>,
        consequence: &'static str,
    ) {
        self.push(Severity::Warning, field, message, consequence);
    }

    /// Good to know.
    pub(crate) fn info(
        &mut self,
        field: impl Into<String>,
        message: impl Into<String>,
        consequence: &'static str,
    ) {
        self.push(Severity::Info, field, message, consequence);
    }

    /// A field of the API that is set and not implemented.
    pub(crate) fn unsupported<T>(
        &mut self,
        field: impl Into<String>,
        value: &Option<T>,
        consequence: &'static str,
    ) {
        if value.is_some() {
            self.warning(field, "not supported", consequence);
        }
    }

    /// Takes the value, or the error for `field`.
    pub(crate) fn take<T>(
        &mut self,
        field: impl Into<String>,
        value: Result<T, String>,
    ) -> Option<T> {
        match value {
            Ok(value) => Some(value),
            Err(message) => {
                self.error(field, message);
                None
            }
        }
    }

    pub(crate) fn has_errors(&self) -> bool {
        self.0.iter().any(|finding| finding.severity == Severity::Error)
    }

    /// The findings, with the place of the object inside its document before each field.
    pub(crate) fn into_vec(self, prefix: &str) -> Vec<Finding> {
        let mut list = self.0;
        if !prefix.is_empty() {
            for finding in &mut list {
                finding.field = match finding.field.as_str() {
                    "" => prefix.to_owned(),
                    field => format!("{prefix}.{field}"),
                };
            }
        }
        list
    }

    fn push(
        &mut self,
        severity: Severity,
        field: impl Into<String>,
        message: impl Into<String>,
        consequence: &'static str,
    ) {
        self.0.push(Finding {
            severity,
            field: field.into(),
            message: message.into(),
            consequence,
        });
    }
}
