//! Ratios of interleaved rounds: median and spread.

/// A median with its quartiles.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spread {
    /// A quarter of the values is below.
    pub low: f64,
    /// Half of the values is below.
    pub median: f64,
    /// A quarter of the values is above.
    pub high: f64,
}

/// One round: the baseline before and after, and what was measured between, in a fixed order.
#[derive(Clone, Debug, PartialEq)]
pub struct Round {
    /// The baseline at the beginning and at the end.
    pub baseline: [f64; 2],
    /// The others.
    pub others: Vec<f64>,
}

/// Median and quartiles of `values`; nothing has a spread of zero.
pub fn spread(values: impl IntoIterator<Item = f64>) -> Spread {
    let mut sorted: Vec<f64> = values.into_iter().collect();
    sorted.sort_by(f64::total_cmp);
    let at = |share: f64| {
        let place = share * sorted.len().saturating_sub(1) as f64;
        let (below, above) = (place.floor() as usize, place.ceil() as usize);
        let value = |index: usize| sorted.get(index).copied().unwrap_or(0.0);
        value(below) + (value(above) - value(below)) * place.fract()
    };
    Spread { low: at(0.25), median: at(0.5), high: at(0.75) }
}

/// Each round's `other` relative to the mean of that round's baselines.
pub fn to_baseline(rounds: &[Round], other: usize) -> Spread {
    spread(rounds.iter().filter_map(|round| {
        let [before, after] = round.baseline;
        Some(round.others.get(other)? / ((before + after) / 2.0))
    }))
}

/// One of the others in every round.
pub fn others(rounds: &[Round], other: usize) -> Spread {
    spread(rounds.iter().filter_map(|round| round.others.get(other).copied()))
}

/// How far the two baselines of a round are apart: the later one relative to the earlier.
pub fn noise(rounds: &[Round]) -> Spread {
    spread(rounds.iter().map(|round| round.baseline[1] / round.baseline[0]))
}

/// How far a median of so many rounds may be off by the noise alone: what the baselines differ by on
/// the whole, or twice the standard error that their quartiles suggest.
pub fn uncertainty(noise: Spread, rounds: usize) -> f64 {
    let error = (noise.high - noise.low) / (rounds.max(1) as f64).sqrt();
    (noise.median - 1.0).abs().max(2.0 * error)
}

/// Every baseline of every round.
pub fn baselines(rounds: &[Round]) -> Spread {
    spread(rounds.iter().flat_map(|round| round.baseline))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_number_lies_between_two() {
        assert_eq!(spread([4.0, 1.0, 2.0, 3.0]), Spread { low: 1.75, median: 2.5, high: 3.25 });
        assert_eq!(spread([7.0]), Spread { low: 7.0, median: 7.0, high: 7.0 });
        assert_eq!(spread([]).median, 0.0);
    }

    #[test]
    fn a_drift_from_round_to_round_does_not_change_the_ratio() {
        let rounds = [1.0, 2.0, 4.0].map(|speed| Round {
            baseline: [100.0 * speed, 110.0 * speed],
            others: vec![105.0 * speed, 52.5 * speed],
        });
        assert_eq!(to_baseline(&rounds, 0).median, 1.0);
        assert_eq!(to_baseline(&rounds, 1).median, 0.5);
        assert_eq!(noise(&rounds).median, 1.1);
        assert!((uncertainty(noise(&rounds), 3) - 0.1).abs() < 1e-9);
    }
}
