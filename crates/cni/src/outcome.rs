//! From the daemon's answer, or its silence, to what the runtime hears: the failure policy.

use crate::Policy;
use crate::runtime::{Error, code, failure};
use crate::wire::{Answer, Request};

/// Why there is no answer that helps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// Nobody listens.
    Away(String),
    /// Nothing came in time.
    Silent(String),
    /// What came is no answer.
    Unclear(String),
    /// The daemon does not know the pod, or is not ready.
    Undecided(String),
    /// The daemon could not do it.
    Failed(String),
}

/// What the plugin does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// What the runtime gets: success, with the result of the plugin before where it belongs, or an
    /// error.
    pub result: Result<(), Error>,
    /// What has to be written down: something did not go as it should.
    pub trouble: Option<Trouble>,
    /// A pod starts of which nobody has said whether it belongs to the mesh: the daemon has to know.
    pub let_go: bool,
}

/// What a runtime hears. `version` is that of the configuration.
pub fn decide(
    request: &Request,
    policy: Policy,
    answer: Result<Answer, Trouble>,
    version: &str,
) -> Outcome {
    let trouble = match answer {
        Ok(Answer::Done { .. }) => return Outcome::well(),
        Ok(Answer::Wrong { why }) => return Outcome::wrong(version, why),
        Ok(Answer::Undecided { why }) => Trouble::Undecided(why),
        Ok(Answer::Failed { why }) => Trouble::Failed(why),
        Err(trouble) => trouble,
    };
    let code = match (request, policy) {
        // What is gone is also found by the daemon itself.
        (Request::Del(_) | Request::Gc { .. }, _) | (_, Policy::Open) => None,
        (Request::Status, Policy::Closed) => Some(code::NOT_AVAILABLE),
        (Request::Add(_) | Request::Check(_), Policy::Closed) => Some(code::TRY_AGAIN_LATER),
    };
    let result = code.map_or(Ok(()), |code| {
        let details = "the entry of kmesh-cni in the conflist has policy closed: no pod starts \
                       without the kmesh daemon of this node; look at `kmeshctl status`";
        Err(failure(version, code, trouble.to_string(), details))
    });
    let let_go = matches!(request, Request::Add(_)) && result.is_ok();
    Outcome { result, trouble: Some(trouble), let_go }
}

// === impl Outcome ===

impl Outcome {
    fn well() -> Self {
        Self { result: Ok(()), trouble: None, let_go: false }
    }

    fn wrong(version: &str, why: String) -> Self {
        let details = "the daemon corrects it by itself when its watch is connected; \
                       see `kmeshctl status`";
        let error = failure(version, code::NOT_AS_ENROLLED, why, details);
        Self { result: Err(error), trouble: None, let_go: false }
    }
}

// === impl Trouble ===

impl Trouble {
    /// All names, in metrics and notes.
    pub const NAMES: [&str; 5] =
        ["daemon_away", "daemon_silent", "answer_unclear", "pod_undecided", "enrolment_failed"];

    /// The name in metrics and notes.
    pub fn name(&self) -> &'static str {
        let [away, silent, unclear, undecided, failed] = Self::NAMES;
        match self {
            Self::Away(_) => away,
            Self::Silent(_) => silent,
            Self::Unclear(_) => unclear,
            Self::Undecided(_) => undecided,
            Self::Failed(_) => failed,
        }
    }
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Away(why) => write!(f, "the kmesh daemon cannot be reached: {why}"),
            Self::Silent(why) => write!(f, "the kmesh daemon gives no answer: {why}"),
            Self::Unclear(why) => write!(f, "the kmesh daemon's answer has no meaning: {why}"),
            Self::Undecided(why) => {
                write!(f, "it is not known whether the pod belongs to the mesh: {why}")
            }
            Self::Failed(why) => write!(f, "the kmesh daemon could not do it: {why}"),
        }
    }
}
