//! Maglev consistent hashing (Eisenbud and others, NSDI 2016, section 3.4), with weights.
//!
//! Each member fills the table in an order of its own, so that a member that comes or goes moves
//! few slots of the others. The table's size must not follow the number of members, or every change
//! would move everything: it is the first of a few primes that is large enough.

/// Table sizes: primes, each about twice the one before.
const SIZES: [u32; 8] = [251, 509, 1_021, 2_039, 4_093, 8_191, 16_381, 32_749];
/// A member should have so many slots, so that shares come out even within about one per cent.
const SLOTS_PER_MEMBER: usize = 100;

/// The table for `members` (name, weight), as member numbers. Empty without a member of positive
/// weight. More members than [`SIZES`] can serve evenly share the largest table.
pub fn maglev(members: &[(String, u64)]) -> Vec<usize> {
    let heaviest = members.iter().map(|(_, weight)| *weight).max().unwrap_or(0);
    if heaviest == 0 {
        return Vec::new();
    }
    let size = size_for(members.len()) as usize;
    let mut table: Vec<Option<usize>> = vec![None; size];
    let mut fillers: Vec<Filler> = members
        .iter()
        .enumerate()
        .filter(|(_, (_, weight))| *weight > 0)
        .map(|(member, (name, weight))| Filler::new(member, name, *weight, size))
        .collect();
    let mut filled = 0;
    while filled < size {
        for filler in &mut fillers {
            filler.credit += filler.weight;
            while filler.credit >= heaviest && filled < size {
                filler.credit -= heaviest;
                filler.fill(&mut table);
                filled += 1;
            }
        }
    }
    table.into_iter().flatten().collect()
}

fn size_for(members: usize) -> u32 {
    let wanted = members * SLOTS_PER_MEMBER;
    let largest = SIZES[SIZES.len() - 1];
    SIZES.into_iter().find(|size| *size as usize >= wanted).unwrap_or(largest)
}

/// One member on its way through its own permutation of the table.
struct Filler {
    member: usize,
    weight: u64,
    credit: u64,
    next: usize,
    skip: usize,
}

impl Filler {
    fn new(member: usize, name: &str, weight: u64, size: usize) -> Self {
        let offset = fnv1a(name, 0) as usize % size;
        let skip = fnv1a(name, 1) as usize % (size - 1) + 1;
        Self { member, weight, credit: 0, next: offset, skip }
    }

    /// Takes the first free slot of the permutation.
    fn fill(&mut self, table: &mut [Option<usize>]) {
        while table[self.next].is_some() {
            self.next = (self.next + self.skip) % table.len();
        }
        table[self.next] = Some(self.member);
    }
}

/// What stands for a client in a table: spread over all 32 bits.
pub fn client_hash(client: &str) -> u32 {
    fnv1a(client, 2) as u32
}

/// FNV-1a, 64 bits, with a seed: stable over processes and versions, as the table must be.
fn fnv1a(text: &str, seed: u8) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    let hash = [seed]
        .iter()
        .chain(text.as_bytes())
        .fold(OFFSET, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME));
    // The low bits of FNV-1a mix poorly over short names: fold the high half in.
    hash ^ (hash >> 32)
}
