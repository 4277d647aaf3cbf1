//! From weights to whole numbers of slots.

/// Whole numbers in proportion to `weights`. Exact when the reduced sum fits into `slots_max`;
/// otherwise by largest remainder over `slots_max` slots (or as many as there are weights, if that
/// is more), with at least one for each positive weight.
pub fn apportion(weights: &[u64], slots_max: u32) -> Vec<u32> {
    let divisor = weights.iter().copied().fold(0, gcd);
    if divisor == 0 {
        return vec![0; weights.len()];
    }
    let reduced: Vec<u64> = weights.iter().map(|weight| weight / divisor).collect();
    let sum: u128 = reduced.iter().map(|weight| u128::from(*weight)).sum();
    if sum <= u128::from(slots_max) {
        return reduced.iter().map(|weight| *weight as u32).collect();
    }
    by_largest_remainder(&reduced, sum, slots_max)
}

fn by_largest_remainder(weights: &[u64], sum: u128, slots_max: u32) -> Vec<u32> {
    let positive = weights.iter().filter(|weight| **weight > 0).count() as u128;
    let slots = u128::from(slots_max).max(positive);
    // One slot for each positive weight is given ahead; the rest follows the weights.
    let spare = slots - positive;
    let mut counts: Vec<u32> = Vec::with_capacity(weights.len());
    let mut remainders: Vec<(u128, usize)> = Vec::with_capacity(weights.len());
    for (index, weight) in weights.iter().enumerate() {
        let ideal = u128::from(*weight) * slots;
        let ahead = u128::from(*weight > 0);
        let whole = (ideal / sum).max(ahead) - ahead;
        counts.push(ahead as u32 + whole.min(spare) as u32);
        remainders.push((ideal.saturating_sub(u128::from(counts[index]) * sum), index));
    }
    settle(&mut counts, &mut remainders, slots);
    counts
}

/// Hands out what rounding left over, or takes back what the guaranteed slots cost too much.
fn settle(counts: &mut [u32], remainders: &mut [(u128, usize)], slots: u128) {
    remainders.sort_by(|a, b| b.0.cmp(&a.0).then(a.1.cmp(&b.1)));
    let total: u128 = counts.iter().map(|count| u128::from(*count)).sum();
    let left_over = slots.saturating_sub(total) as usize;
    for (_, index) in remainders.iter().cycle().take(left_over) {
        counts[*index] += 1;
    }
    for _ in 0..total.saturating_sub(slots) {
        if let Some(largest) = counts.iter_mut().max_by_key(|count| **count) {
            *largest -= 1;
        }
    }
}

fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}
