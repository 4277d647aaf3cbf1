//! What would happen to a connection, asked of the live maps.

use serde::{Deserialize, Serialize};

/// Query of `GET /explain`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ExplainRequest {
    /// Who dials: `NAMESPACE/NAME` of an enrolled workload, the path of its network namespace, or
    /// the namespace's cookie.
    pub from: String,
    /// Where to: `ADDRESS:PORT` or `HOST:PORT`.
    pub to: String,
    /// `tcp` or `udp`; empty is `tcp`.
    #[serde(default)]
    pub protocol: String,
}

/// Answer to `GET /explain`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Explanation {
    /// Who dials, and where to.
    pub question: String,
    /// The stations that the connection passes, in order.
    pub stations: Vec<Station>,
    /// `balanced`, `passed` or `refused`, and why.
    pub verdict: String,
}

/// One station of the life of a connection.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Station {
    /// Its name, such as `enrolment`.
    pub name: String,
    /// The map or table that was asked.
    pub asked: String,
    /// What was found.
    pub found: String,
}
