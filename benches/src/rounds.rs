//! Interleaved rounds: the baseline first and last, the subjects between, each first and last in turn.

use testkit::Interrupt;

use crate::ratio::Round;
use crate::report::{self, Measured, Subject};

/// What is compared.
#[derive(Clone, Copy, Debug)]
pub struct Comparison<'a> {
    /// What is measured.
    pub title: &'a str,
    /// What the reader calls the baseline.
    pub baseline: &'a str,
    /// How often.
    pub rounds: u32,
}

// === impl Comparison ===

impl Comparison<'_> {
    /// Measures the baseline and the subjects by `sample`, which gives a rate and the CPU time of one
    /// request, and prints the ratios; returns the sentences about bounds that were missed.
    ///
    /// # Errors
    /// What `sample` says, or an interruption.
    pub fn run<W: Copy>(
        &self,
        baseline: W,
        subjects: &[(W, Subject)],
        interrupt: &Interrupt,
        sample: impl Fn(W) -> anyhow::Result<(f64, f64)>,
    ) -> anyhow::Result<Vec<String>> {
        let sample = |way: W| interrupt.check().map_err(Into::into).and_then(|()| sample(way));
        let mut measured = Measured::default();
        for number in 0..self.rounds as usize {
            let before = sample(baseline)?;
            let mut others = vec![(0.0, 0.0); subjects.len()];
            for place in 0..subjects.len() {
                let index = (place + number) % subjects.len();
                others[index] = sample(subjects[index].0)?;
            }
            let both = [before, sample(baseline)?];
            eprintln!("{}: round {} of {}", self.title, number + 1, self.rounds);
            let round = |figure: fn((f64, f64)) -> f64| Round {
                baseline: both.map(figure),
                others: others.iter().copied().map(figure).collect(),
            };
            measured.rates.push(round(|(rate, _)| rate));
            measured.cpu.push(round(|(_, cpu)| cpu));
        }
        let subjects: Vec<Subject> = subjects.iter().map(|(_, subject)| *subject).collect();
        Ok(report::rates(self.title, self.baseline, &subjects, &measured))
    }
}
