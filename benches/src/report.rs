//! A table of ratios, and whether each keeps its bound.

use crate::ratio::{self, Round, Spread};

/// What was measured between the baselines of a round.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// What the reader calls it.
    pub name: &'static str,
    /// The median ratio must be at least this.
    pub bound: Option<f64>,
}

/// Prints the rates of all rounds as ratios; returns the sentences about bounds that were missed.
pub fn rates(title: &str, baseline: &str, subjects: &[Subject], rounds: &[Round]) -> Vec<String> {
    println!("\n{title}: {} rounds, medians, quartiles in brackets\n", rounds.len());
    let noise = ratio::noise(rounds);
    let base = ratio::baselines(rounds);
    let mut rows = vec![
        [
            baseline.to_owned(),
            whole(base.median),
            "1.000".to_owned(),
            String::new(),
            String::new(),
            String::new(),
        ],
        [
            "the same once more (noise)".to_owned(),
            String::new(),
            three(noise.median),
            brackets(noise),
            String::new(),
            String::new(),
        ],
    ];
    let mut missed = Vec::new();
    for (index, subject) in subjects.iter().enumerate() {
        let to_base = ratio::to_baseline(rounds, index);
        let values = rounds.iter().filter_map(|round| round.others.get(index).copied());
        let (bound, verdict) = match subject.bound {
            None => (String::new(), String::new()),
            Some(bound) if to_base.median >= bound => (format!(">= {bound:.2}"), "kept".to_owned()),
            Some(bound) => {
                let noise = ratio::uncertainty(noise, rounds.len());
                missed.push(sentence(title, subject.name, to_base, bound, noise));
                (format!(">= {bound:.2}"), "MISSED".to_owned())
            }
        };
        rows.push([
            subject.name.to_owned(),
            whole(ratio::spread(values).median),
            three(to_base.median),
            brackets(to_base),
            bound,
            verdict,
        ]);
    }
    print!("{}", testkit::table(["MEASURED", "PER SECOND", "RATIO", "SPREAD", "BOUND", ""], &rows));
    missed
}

fn sentence(title: &str, name: &str, ratio: Spread, bound: f64, noise: f64) -> String {
    let short = bound - ratio.median;
    let judgement = match short <= noise {
        true => "no more than the noise of this run: run it again on a quiet machine",
        false => "more than the noise of this run",
    };
    format!(
        "{title}, {name}: {:.3} misses {bound:.2} by {short:.3}, {judgement} ({noise:.3})",
        ratio.median
    )
}

/// A figure to the nearest whole, with commas between thousands.
pub fn whole(value: f64) -> String {
    let digits = format!("{:.0}", value.max(0.0));
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A ratio.
pub fn three(value: f64) -> String {
    format!("{value:.3}")
}

/// The quartiles.
pub fn brackets(spread: Spread) -> String {
    format!("[{:.3} .. {:.3}]", spread.low, spread.high)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round(vip: f64) -> Round {
        Round { baseline: [100.0, 102.0], others: vec![vip] }
    }

    #[test]
    fn a_missed_bound_is_said_with_the_noise() {
        let subject = [Subject { name: "vip", bound: Some(0.98) }];
        assert_eq!(rates("rates", "direct", &subject, &[round(101.0)]), Vec::<String>::new());
        let missed = rates("rates", "direct", &subject, &[round(98.0)]);
        assert!(missed[0].contains("0.970 misses 0.98 by 0.010, no more than"), "{missed:?}");
        let missed = rates("rates", "direct", &subject, &[round(50.0)]);
        assert!(missed[0].contains(", more than the noise"), "{missed:?}");
    }

    #[test]
    fn thousands_are_separated() {
        assert_eq!([whole(7.4), whole(1234.0), whole(1234567.0)], ["7", "1,234", "1,234,567"]);
    }
}
