//! The failure policy as a table.

use crate::Policy::{Closed, Open};
use crate::outcome::{Trouble, decide};
use crate::runtime::code;
use crate::wire::{Answer, Request, Sandbox};

fn commands() -> [Request; 5] {
    let sandbox = Sandbox::default;
    [
        Request::Add(sandbox()),
        Request::Check(sandbox()),
        Request::Del(sandbox()),
        Request::Gc { network: "n".into(), valid: Vec::new() },
        Request::Status,
    ]
}

#[test]
fn an_answer_is_passed_on_whatever_the_policy() {
    for request in commands() {
        for policy in [Open, Closed] {
            let done = Answer::Done { enrolled: false, why: String::new() };
            let outcome = decide(&request, policy, Ok(done), "1.0.0");
            assert_eq!((outcome.result, outcome.trouble, outcome.let_go), (Ok(()), None, false));
            let wrong = Answer::Wrong { why: "not enrolled".into() };
            let error = decide(&request, policy, Ok(wrong), "1.0.0").result.expect_err("wrong");
            assert_eq!((error.code, error.cni_version.as_str()), (code::NOT_AS_ENROLLED, "1.0.0"));
        }
    }
}

#[test]
fn every_kind_of_trouble_follows_the_policy() {
    let why = || "why".to_owned();
    let troubles: [(Result<Answer, Trouble>, &str); 5] = [
        (Err(Trouble::Away(why())), "daemon_away"),
        (Err(Trouble::Silent(why())), "daemon_silent"),
        (Err(Trouble::Unclear(why())), "answer_unclear"),
        (Ok(Answer::Undecided { why: why() }), "pod_undecided"),
        (Ok(Answer::Failed { why: why() }), "enrolment_failed"),
    ];
    assert_eq!(troubles.clone().map(|(_, name)| name), Trouble::NAMES);
    let [add, check, del, gc, status] = commands();
    let rows = [
        (&add, Open, None, true),
        (&add, Closed, Some(code::TRY_AGAIN_LATER), false),
        (&check, Open, None, false),
        (&check, Closed, Some(code::TRY_AGAIN_LATER), false),
        (&del, Open, None, false),
        (&del, Closed, None, false),
        (&gc, Open, None, false),
        (&gc, Closed, None, false),
        (&status, Open, None, false),
        (&status, Closed, Some(code::NOT_AVAILABLE), false),
    ];
    for (request, policy, code, let_go) in rows {
        for (answer, name) in troubles.clone() {
            let outcome = decide(request, policy, answer, "0.4.0");
            assert_eq!(
                outcome.result.err().map(|error| error.code),
                code,
                "{request:?} {policy:?}"
            );
            assert_eq!(outcome.trouble.map(|trouble| trouble.name()), Some(name));
            assert_eq!(outcome.let_go, let_go, "{request:?} {policy:?}");
        }
    }
}
