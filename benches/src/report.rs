//! A table of ratios, and whether each keeps its bound.

use std::process::ExitCode;

use crate::ratio::{self, Round, Spread};

/// What was measured between the baselines of a round.
#[derive(Clone, Copy, Debug)]
pub struct Subject {
    /// What the reader calls it.
    pub name: &'static str,
    /// The median ratio must be at least this.
    pub bound: Option<f64>,
}

/// What a comparison measured, round by round.
#[derive(Clone, Debug, Default)]
pub struct Measured {
    /// Requests per second.
    pub rates: Vec<Round>,
    /// CPU time of one request, client and server and mesh together, us.
    pub cpu: Vec<Round>,
}

/// Prints the rates of all rounds as ratios; returns the sentences about bounds that were missed.
pub fn rates(
    title: &str,
    baseline: &str,
    subjects: &[Subject],
    measured: &Measured,
) -> Vec<String> {
    let Measured { rates, cpu } = measured;
    println!("\n{title}: {} rounds, medians and quartiles\n", rates.len());
    let noise = ratio::noise(rates);
    let tail = |cpu_us: Spread, cpu_ratio: f64| [format!("{:.1}", cpu_us.median), three(cpu_ratio)];
    let row = |head: [&str; 5], [cpu_us, cpu_ratio]: [String; 2]| {
        let [name, rate, ratio, spread, bound] = head.map(str::to_owned);
        [name, rate, ratio, spread, bound, cpu_us, cpu_ratio]
    };
    let base = whole(ratio::baselines(rates).median);
    let again = [&three(noise.median), &range(noise)];
    let mut rows = vec![
        row([baseline, &base, "1.000", "", ""], tail(ratio::baselines(cpu), 1.0)),
        row(
            ["the same once more (noise)", "", again[0], again[1], ""],
            [String::new(), three(ratio::noise(cpu).median)],
        ),
    ];
    let mut missed = Vec::new();
    for (index, subject) in subjects.iter().enumerate() {
        let (to_base, cpu_ratio) =
            (ratio::to_baseline(rates, index), ratio::to_baseline(cpu, index));
        let bound = subject.bound.map_or(String::new(), |bound| {
            if to_base.median >= bound {
                return format!(">= {bound:.2} kept");
            }
            let noise = ratio::uncertainty(noise, rates.len());
            missed.push(sentence(title, subject.name, to_base, bound, noise));
            format!(">= {bound:.2} MISSED")
        });
        let rate = whole(ratio::others(rates, index).median);
        rows.push(row(
            [subject.name, &rate, &three(to_base.median), &range(to_base), &bound],
            tail(ratio::others(cpu, index), cpu_ratio.median),
        ));
    }
    let heading = ["MEASURED", "PER S", "RATIO", "QUARTILES", "BOUND", "CPU US", "CPU RATIO"];
    print!("{}", testkit::table(heading, &rows));
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
pub fn range(spread: Spread) -> String {
    format!("{:.3} .. {:.3}", spread.low, spread.high)
}

/// Says which bounds were missed, or why there is nothing to say; what the program ends with.
pub fn verdict(result: anyhow::Result<Vec<String>>) -> ExitCode {
    match result {
        Ok(missed) if missed.is_empty() => {
            println!("\nEvery bound is kept.");
            ExitCode::SUCCESS
        }
        Ok(missed) => {
            println!();
            missed.iter().for_each(|sentence| println!("MISSED: {sentence}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(vip: f64) -> Measured {
        let round = |other| Round { baseline: [100.0, 102.0], others: vec![other] };
        Measured { rates: vec![round(vip)], cpu: vec![round(1.0)] }
    }

    #[test]
    fn a_missed_bound_is_said_with_the_noise() {
        let subject = [Subject { name: "vip", bound: Some(0.98) }];
        assert_eq!(rates("rates", "direct", &subject, &measured(101.0)), Vec::<String>::new());
        let missed = rates("rates", "direct", &subject, &measured(98.0));
        assert!(missed[0].contains("0.970 misses 0.98 by 0.010, no more than"), "{missed:?}");
        let missed = rates("rates", "direct", &subject, &measured(50.0));
        assert!(missed[0].contains(", more than the noise"), "{missed:?}");
    }

    #[test]
    fn thousands_are_separated() {
        assert_eq!([whole(7.4), whole(1234.0), whole(1234567.0)], ["7", "1,234", "1,234,567"]);
    }
}
