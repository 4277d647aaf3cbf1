//! What the kernel programs do with an image, in Rust: the reference that tests compare them with
//! and that explains a decision.

use abi::{FrontendKey, Reason};

use crate::{Action, Image, Target};

/// What happens to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Selection {
    /// It goes to this endpoint.
    Balanced(Target),
    /// It is left alone.
    Passed(Reason),
    /// It fails with ECONNREFUSED.
    Refused(Reason),
}

/// The decision for `key` with the random number `random`: `bpf/include/kmesh/service.h`
/// `select_backend` does the same.
pub fn select(image: &Image, key: &FrontendKey, random: u32) -> Selection {
    let whole = FrontendKey::whole_address(key.address.ip());
    match find(image, key, random).or_else(|| find(image, &whole, random)) {
        Some(selection) => selection,
        None => Selection::Passed(Reason::UnknownDestination),
    }
}

fn find(image: &Image, key: &FrontendKey, random: u32) -> Option<Selection> {
    image.services.values().find_map(|service| {
        let frontend = service.frontends.iter().find(|frontend| frontend.key == *key)?;
        Some(match frontend.action {
            Action::Pass => Selection::Passed(Reason::ServicePassthrough),
            Action::RefusePort => Selection::Refused(Reason::NoServicePort),
            Action::Balance(table) => choose(&service.tables[table], random),
        })
    })
}

fn choose(table: &[Target], random: u32) -> Selection {
    let index = (u64::from(random) * table.len() as u64) >> 32;
    match table.get(index as usize) {
        Some(target) => Selection::Balanced(*target),
        None => Selection::Refused(Reason::NoEndpoint),
    }
}
