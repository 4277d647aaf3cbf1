//! Random meshes change at random, with restarts in between.

use std::collections::HashMap;
use std::net::IpAddr;

use abi::authz::Change;
use abi::limits::Limits;
use model::{PolicyName, Snapshot};
use proptest::prelude::*;

use super::kernel::{Answer, Kernel};
use super::random::Random;
use super::{Dial, Expected, expected};
use crate::{Authz, Decision, Matched, Options, Outcome};

/// A daemon, and the maps that it writes.
pub(super) struct World {
    pub(super) authz: Authz,
    pub(super) kernel: Kernel,
    pub(super) snapshot: Snapshot,
    pub(super) node: Vec<IpAddr>,
    limits: Limits,
    /// Names of policies by their numbers.
    names: HashMap<u32, PolicyName>,
    /// A daemon that starts gives numbers to policies anew, and refuses identities that it does not
    /// know until it knows whose they are.
    is_restarted: bool,
}

fn options(limits: Limits) -> Options {
    Options { node: "here".into(), network: String::new(), limits }
}

impl World {
    pub(super) fn new(limits: Limits) -> Self {
        Self {
            authz: Authz::new(options(limits)),
            kernel: Kernel::default(),
            snapshot: Snapshot::default(),
            node: vec![[10, 0, 0, 0].into()],
            limits,
            names: HashMap::new(),
            is_restarted: false,
        }
    }

    pub(super) fn update(&mut self) -> Vec<Change> {
        let changes = self.authz.update(&self.snapshot, &self.node, true);
        let names = self.authz.policies().map(|(slot, name)| (slot, name.clone()));
        self.names.extend(names);
        changes
    }

    pub(super) fn release(&mut self) {
        self.kernel.grace_period();
        self.authz.release().iter().for_each(|change| self.kernel.apply(change));
    }

    fn restart(&mut self) {
        self.kernel.grace_period();
        let (authz, changes) = Authz::recover(options(self.limits), &self.kernel.contents());
        self.authz = authz;
        self.is_restarted = true;
        changes.iter().for_each(|change| self.kernel.apply(change));
    }

    /// What the program says, in the words of what is expected.
    pub(super) fn answer(&self, dial: Dial) -> Expected {
        let Dial { source, destination, port } = dial;
        let matched = |term: abi::authz::Term| Matched {
            policy: self.names[&term.policy].clone(),
            rule: term.rule.into(),
        };
        match self.kernel.judge(source, destination, port) {
            Answer::NotJudged => Expected::NotJudged,
            Answer::FromNode => Expected::FromNode,
            Answer::Trusted => Expected::Trusted,
            Answer::Closed => Expected::Closed,
            Answer::Judged(is_allowed, term) => {
                Expected::Judged(match (is_allowed, term.map(matched)) {
                    (true, Some(by)) => Decision::Allowed(by),
                    (true, None) => Decision::Unrestricted,
                    (false, Some(by)) => Decision::Denied(by),
                    (false, None) => Decision::NotAllowed,
                })
            }
        }
    }

    fn explained(&self, dial: Dial) -> Expected {
        match self.authz.explain(dial.source, dial.destination, dial.port).outcome {
            Outcome::NotJudged => Expected::NotJudged,
            Outcome::FromNode => Expected::FromNode,
            Outcome::FromWaypoint(_) => Expected::Trusted,
            Outcome::Closed(_) => Expected::Closed,
            Outcome::Judged(verdict) => Expected::Judged(verdict.decision),
        }
    }

    pub(super) fn expected(&self, dial: Dial) -> Expected {
        expected(&self.snapshot, &self.snapshot, &self.node, dial)
    }
}

fn dial(random: &mut Random) -> Dial {
    Dial { source: random.address(), destination: random.address(), port: random.port() }
}

/// What may happen on the way from one snapshot to the next.
fn on_the_way(before: &Snapshot, after: &Snapshot, node: &[IpAddr], dial: Dial) -> Vec<Expected> {
    let mut pairs = vec![(before, before), (after, after)];
    if !before.policies.is_empty() && !after.policies.is_empty() {
        pairs.extend([(before, after), (after, before)]);
    }
    pairs.into_iter().map(|(sources, policies)| expected(sources, policies, node, dial)).collect()
}

/// Changes a mesh `rounds` times and looks at each step of each change.
fn judged_right_at_every_step(seed: u64, rounds: usize) {
    let mut random = Random(seed);
    let mut world = World::new(Limits::DEFAULT);
    for _ in 0..rounds {
        let before = world.snapshot.clone();
        (0..=random.below(6)).for_each(|_| random.change(&mut world.snapshot));
        let dials: Vec<(Dial, Vec<Expected>)> = (0..12)
            .map(|_| {
                let dial = dial(&mut random);
                (dial, on_the_way(&before, &world.snapshot, &world.node, dial))
            })
            .collect();
        for change in world.update() {
            world.kernel.apply(&change);
            for (dial, allowed) in &dials {
                let answer = world.answer(*dial);
                let is_right = |it: &Expected| match world.is_restarted {
                    true => !answer.is_allowed() || it.is_allowed(),
                    false => *it == answer,
                };
                assert!(allowed.iter().any(is_right), "{dial:?}: {answer:?} not in {allowed:?}");
            }
        }
        world.is_restarted = false;
        for (dial, _) in &dials {
            assert_eq!(world.answer(*dial), world.expected(*dial), "{dial:?}");
            assert_eq!(world.explained(*dial), world.expected(*dial), "explained {dial:?}");
        }
        assert!(!world.authz.is_unfinished());
        if random.one_in(2) {
            world.release();
        }
        if random.one_in(6) {
            world.restart();
        }
    }
}

/// The same with so little room that not everything can be enforced.
fn refused_where_there_is_no_room(seed: u64, limits: Limits) {
    let mut random = Random(seed);
    let mut world = World::new(limits);
    for _ in 0..6 {
        (0..=random.below(6)).for_each(|_| random.change(&mut world.snapshot));
        for _ in 0..3 {
            world.update().iter().for_each(|change| world.kernel.apply(change));
            world.release();
        }
        let mut is_short = false;
        for dial in (0..20).map(|_| dial(&mut random)).collect::<Vec<_>>() {
            let (answer, expected) = (world.answer(dial), world.expected(dial));
            is_short |= answer != expected;
            // A waypoint that had no room is not trusted, and then judged as any other.
            let is_right = [&expected, &Expected::Closed].contains(&&answer);
            assert!(is_right || expected == Expected::Trusted, "{dial:?} {answer:?} {expected:?}");
            let explained = world.explained(dial);
            assert_eq!(explained, answer, "{dial:?}");
        }
        assert!(!is_short || !world.authz.problems().is_empty());
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn at_every_step_a_connection_is_judged_by_the_old_policies_or_the_new_ones(
        seed in any::<u64>(),
    ) {
        judged_right_at_every_step(seed, 6);
    }

    #[test]
    fn what_has_no_room_is_refused_and_the_rest_is_judged(
        seed in any::<u64>(),
        sets in 2..8_u32,
        words in 2..40_u32,
        entries in 3..30_u32,
    ) {
        let limits = Limits {
            authz_sets_max: sets,
            authz_words_max: words,
            authz_rows_max: entries,
            authz_blocks_max: entries,
            authz_terms_max: words * 64,
            authz_sources_max: entries,
            authz_destinations_max: entries,
            ..Limits::DEFAULT
        };
        refused_where_there_is_no_room(seed, limits);
    }
}
