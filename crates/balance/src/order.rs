//! The order of slots that are gone through one after the other.

/// Spreads each member's `counts` evenly over the whole: members of a third of the weight come up at
/// every third place. Returns the members in order.
pub fn interleave(counts: &[u32]) -> Vec<usize> {
    let mut places: Vec<(u64, u64, usize)> = Vec::new();
    for (member, count) in counts.iter().enumerate() {
        // Place k of a member is at (2k + 1) / (2 count) of the way: compared as fractions.
        let count = u64::from(*count);
        places.extend((0..count).map(|k| (2 * k + 1, 2 * count, member)));
    }
    places.sort_by(|a, b| (a.0 * b.1).cmp(&(b.0 * a.1)).then(a.2.cmp(&b.2)));
    places.into_iter().map(|(_, _, member)| member).collect()
}
