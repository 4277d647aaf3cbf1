//! A list of policies as rows: which terms hold for each value that the policies tell from others.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use abi::authz::AuthzSet;
use abi::limits::{AUTHZ_TERMS_PER_RULE_MAX, AUTHZ_WORDS_PER_SET_MAX};
use model::{AddressBlock, Match, ServiceName};

use crate::bits::Bits;
use crate::block::Block;
use crate::matching::{
    Dimension, Who, fits_destination, fits_port, fits_source, fits_source_address,
};
use crate::rows::{NoWords, RowId, Rows};
use crate::subjects::{Directory, Subjects};
use crate::term::Unnamed;

/// What an image is made for.
pub(crate) struct Purpose<'a> {
    /// Waypoints whose connections pass.
    pub(crate) trusted: &'a BTreeSet<ServiceName>,
    /// It judges connections to addresses that nothing names.
    pub(crate) is_for_others: bool,
    /// Words that it may take.
    pub(crate) words_max: u32,
}

/// The rows of a set, which has no place in the maps yet.
#[derive(Debug)]
pub(crate) struct Image {
    pub(crate) bits: Bits,
    pub(crate) rows: Rows,
    trusted: BTreeSet<ServiceName>,
    pub(crate) no_identity: RowId,
    /// For identities that no policy names.
    pub(crate) identity: RowId,
    pub(crate) source_address: RowId,
    pub(crate) destination: RowId,
    pub(crate) port: RowId,
    pub(crate) ports: BTreeMap<u16, RowId>,
    pub(crate) source_blocks: BTreeMap<Block, RowId>,
    /// For addresses that nothing names.
    pub(crate) destination_blocks: BTreeMap<Block, RowId>,
    pub(crate) identities: BTreeMap<u64, IdentityRow>,
}

/// The row of an identity that a policy names, or that is trusted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct IdentityRow {
    pub(crate) row: RowId,
    pub(crate) is_trusted: bool,
}

/// Why policies can't be enforced.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Excess(pub(crate) String);

// === impl Image ===

impl Image {
    pub(crate) fn new(
        bits: Bits,
        purpose: &Purpose<'_>,
        subjects: &Subjects,
    ) -> Result<Self, Excess> {
        check(&bits)?;
        Self::compile(bits, purpose, subjects).map_err(|NoWords| {
            let limit = purpose.words_max;
            Excess(format!("they take more words than there are: authz_words_max is {limit}"))
        })
    }

    fn compile(bits: Bits, purpose: &Purpose<'_>, subjects: &Subjects) -> Result<Self, NoWords> {
        let mut rows = Rows::new(bits.words(), purpose.words_max);
        let mut base = |value| rows.base(bits.row(value));
        let no_identity = base(Unnamed::NoIdentity)?;
        let identity = base(Unnamed::Identity)?;
        let source_address = base(Unnamed::SourceAddress)?;
        let destination = base(Unnamed::DestinationAddress)?;
        let port = base(Unnamed::Port)?;
        let mut image = Self {
            bits,
            rows,
            trusted: purpose.trusted.clone(),
            no_identity,
            identity,
            source_address,
            destination,
            port,
            ports: BTreeMap::new(),
            source_blocks: BTreeMap::new(),
            destination_blocks: BTreeMap::new(),
            identities: BTreeMap::new(),
        };
        image.add_ports()?;
        image.source_blocks = image.blocks(&SOURCES, source_address)?;
        if purpose.is_for_others {
            image.destination_blocks = image.blocks(&DESTINATIONS, destination)?;
        }
        image.identities = image.identities_of(subjects.directory(), subjects)?;
        Ok(image)
    }

    /// Flags of the set.
    pub(crate) fn flags(&self) -> u32 {
        let asks = |dimension| !self.bits.asking(dimension).is_empty();
        let flags = [
            (self.bits.has_allow, AuthzSet::HAS_ALLOW),
            (asks(Dimension::Identity), AuthzSet::USES_IDENTITY),
            (asks(Dimension::SourceAddress), AuthzSet::USES_ADDRESS),
            (asks(Dimension::Port), AuthzSet::USES_PORT),
            (!self.trusted.is_empty(), AuthzSet::HAS_TRUSTED),
            (!self.destination_blocks.is_empty(), AuthzSet::USES_DESTINATION),
        ];
        flags.into_iter().filter(|(is_set, _)| *is_set).map(|(_, flag)| flag).sum()
    }

    /// Those of `directory` whose row is another than a stranger's.
    pub(crate) fn identities_of(
        &mut self,
        directory: &Directory,
        subjects: &Subjects,
    ) -> Result<BTreeMap<u64, IdentityRow>, NoWords> {
        let mut named: Vec<(u64, u32)> = Vec::new();
        for bit in self.bits.asking(Dimension::Identity) {
            let Some((policy, term)) = self.bits.term(*bit) else { continue };
            let numbers = policy.mentions(term).flat_map(|mention| directory.named_by(mention));
            named.extend(numbers.map(|number| (number, *bit)));
        }
        named.sort_unstable();
        named.dedup();
        let mut rows = BTreeMap::new();
        for number in directory.serving(&self.trusted) {
            rows.insert(number, IdentityRow { row: self.identity, is_trusted: true });
        }
        self.rows.expect(named.len());
        let mut bits = Vec::new();
        for named in named.chunk_by(|one, other| one.0 == other.0) {
            let number = named[0].0;
            let Some(subject) = subjects.get(number) else { continue };
            bits.clear();
            bits.extend(named.iter().map(|(_, bit)| *bit));
            let who = Who::from(&**subject);
            let row = self.differing(self.identity, &bits, |it| fits_source(it, who))?;
            let is_trusted = rows.contains_key(&number);
            if row != self.identity || is_trusted {
                rows.insert(number, IdentityRow { row, is_trusted });
            }
        }
        Ok(rows)
    }

    /// The row of a destination.
    pub(crate) fn destination_row(&mut self, address: IpAddr) -> Result<RowId, NoWords> {
        let address = Block::single(address);
        let is_in = |block: &AddressBlock| Block::from(block).contains(address);
        let bits = self.bits.asking(Dimension::DestinationAddress).to_vec();
        self.differing(self.destination, &bits, |it| fits_destination(it, is_in))
    }

    fn add_ports(&mut self) -> Result<(), NoWords> {
        let mut named: BTreeMap<u16, Vec<u32>> = BTreeMap::new();
        for bit in self.bits.asking(Dimension::Port) {
            for it in self.matches_of(*bit) {
                for port in it.destination_ports.iter().chain(&it.not_destination_ports) {
                    named.entry(*port).or_default().push(*bit);
                }
            }
        }
        for (port, bits) in named {
            let row = self.differing(self.port, &bits, |it| fits_port(it, Some(port)))?;
            self.ports.insert(port, row);
        }
        Ok(())
    }

    /// The rows of the blocks that policies name in one dimension.
    fn blocks(&mut self, side: &Side, default: RowId) -> Result<BTreeMap<Block, RowId>, NoWords> {
        let mut named: BTreeMap<Block, Vec<u32>> = BTreeMap::new();
        for bit in self.bits.asking(side.dimension) {
            for block in self.matches_of(*bit).flat_map(|it| (side.blocks)(it)) {
                named.entry(Block::from(block)).or_default().push(*bit);
            }
        }
        let mut rows = BTreeMap::new();
        let surrounds_v4 = |block: &Block| !block.is_v4() && block.surrounds(Block::V4);
        if named.keys().any(surrounds_v4) && !named.contains_key(&Block::V4) {
            rows.insert(Block::V4, default);
        }
        for is_v4 in [true, false] {
            // The blocks around the one that is looked at, the largest first.
            let mut around: Vec<(Block, RowId)> = Vec::new();
            for (block, bits) in named.iter().filter(|(block, _)| block.is_v4() == is_v4) {
                while around.pop_if(|(outer, _)| !outer.contains(*block)).is_some() {}
                let outer = around.last().map_or(default, |(_, row)| *row);
                let is_in = |other: &AddressBlock| Block::from(other).contains(*block);
                let row = self.differing(outer, bits, |it| (side.fits)(it, &is_in))?;
                around.push((*block, row));
                rows.insert(*block, row);
            }
        }
        Ok(rows)
    }

    /// The row that says the same as `base`, but for these bits, which `fits` decides anew.
    fn differing(
        &mut self,
        base: RowId,
        bits: &[u32],
        fits: impl Fn(&Match) -> bool,
    ) -> Result<RowId, NoWords> {
        let decided = bits.iter().map(|bit| (*bit, self.bits.holds(*bit, &fits)));
        let mut decided: Vec<_> = decided.collect();
        decided.dedup();
        self.rows.differing(base, decided)
    }

    fn matches_of(&self, bit: u32) -> impl Iterator<Item = &Match> {
        self.bits.term(bit).into_iter().flat_map(|(it, term)| it.all_matches(term))
    }
}

/// Does a match fit an address, of which it is known whether a block contains it?
type Fits = fn(&Match, &dyn Fn(&AddressBlock) -> bool) -> bool;

/// The blocks of a match on one side, and whether it fits an address there.
struct Side {
    dimension: Dimension,
    blocks: fn(&Match) -> Vec<&AddressBlock>,
    fits: Fits,
}

const SOURCES: Side = Side {
    dimension: Dimension::SourceAddress,
    blocks: |it| it.source_ips.iter().chain(&it.not_source_ips).collect(),
    fits: |it, is_in| fits_source_address(it, is_in),
};

const DESTINATIONS: Side = Side {
    dimension: Dimension::DestinationAddress,
    blocks: |it| it.destination_ips.iter().chain(&it.not_destination_ips).collect(),
    fits: |it, is_in| fits_destination(it, is_in),
};

/// What can be said before any row is made.
fn check(bits: &Bits) -> Result<(), Excess> {
    if let Some((policy, rule)) = bits.too_large() {
        return Err(Excess(format!(
            "rule {rule} of {policy} is more than {AUTHZ_TERMS_PER_RULE_MAX} terms \
             (AUTHZ_TERMS_PER_RULE_MAX)"
        )));
    }
    let (words, max) = (bits.words(), AUTHZ_WORDS_PER_SET_MAX);
    if words > max as usize {
        return Err(Excess(format!(
            "they are {words} words of terms: AUTHZ_WORDS_PER_SET_MAX is {max}"
        )));
    }
    Ok(())
}
