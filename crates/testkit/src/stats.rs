//! Counts against weights: is a spread of answers what chance would make of it?

use std::collections::BTreeMap;

/// Checks that each name was counted as often as its weight asks, within `sigmas` standard
/// deviations of a binomial draw. A weight of zero must not be counted at all, nor a name without one.
///
/// # Errors
/// A text that names every count that is off, by how many sigmas.
pub fn within_sigma(
    counts: &BTreeMap<String, u64>,
    weights: &[(&str, u64)],
    sigmas: f64,
) -> Result<(), String> {
    let total_weight: u64 = weights.iter().map(|(_, w)| w).sum();
    let draws: u64 = counts.values().sum();
    if total_weight == 0 || draws == 0 {
        return Err(format!("nothing to compare: {draws} draws, total weight {total_weight}"));
    }
    let mut wrong = Vec::new();
    for (name, count) in counts {
        if *count > 0 && !weights.iter().any(|(w, _)| w == name) {
            wrong.push(format!("{name} has no weight but was counted {count} times"));
        }
    }
    for (name, weight) in weights {
        let count = counts.get(*name).copied().unwrap_or(0);
        let share = *weight as f64 / total_weight as f64;
        let expected = draws as f64 * share;
        let deviation = (expected * (1.0 - share)).sqrt();
        let off = (count as f64 - expected).abs();
        // Half a count of grace, so that certain draws (share 0 or 1) do not divide by nothing.
        if off > sigmas * deviation + 0.5 {
            wrong.push(format!(
                "{name}: {count} of {draws}, expected {expected:.1} +- {:.1} ({:.1} sigma off)",
                sigmas * deviation,
                off / deviation.max(f64::MIN_POSITIVE)
            ));
        }
    }
    if wrong.is_empty() { Ok(()) } else { Err(wrong.join("; ")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(of: &[(&str, u64)]) -> BTreeMap<String, u64> {
        of.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect()
    }

    #[test]
    fn a_fair_draw_passes_and_a_skewed_one_is_named() {
        let weights = [("a", 70), ("b", 30)];
        assert_eq!(within_sigma(&counts(&[("a", 7_050), ("b", 2_950)]), &weights, 3.0), Ok(()));
        let text = within_sigma(&counts(&[("a", 7_200), ("b", 2_800)]), &weights, 3.0).unwrap_err();
        assert!(
            text.contains("a: 7200 of 10000, expected 7000.0 +- 137.5 (4.4 sigma off)"),
            "{text}"
        );
    }

    #[test]
    fn weight_zero_and_strangers_must_not_be_counted() {
        let weights = [("a", 1), ("b", 0)];
        assert_eq!(within_sigma(&counts(&[("a", 10)]), &weights, 3.0), Ok(()));
        assert!(within_sigma(&counts(&[("a", 9), ("b", 1)]), &weights, 3.0).is_err());
        let text = within_sigma(&counts(&[("a", 9), ("c", 1)]), &weights, 3.0).unwrap_err();
        assert!(text.contains("c has no weight"), "{text}");
    }

    #[test]
    fn an_empty_draw_proves_nothing() {
        assert!(within_sigma(&counts(&[]), &[("a", 1)], 3.0).is_err());
    }
}
