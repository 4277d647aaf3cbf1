//! Tables of calls and outcomes, and properties of the conflist's edits.

mod conflist;
mod outcome;
mod runtime;
