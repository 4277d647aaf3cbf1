//! DNS capture: which resolvers' queries the proxy answers, and the sign that it lives.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::time::Duration;

use abi::{ResolverKey, Settings};
use libbpf_rs::{MapCore, MapFlags};
use zerocopy::{FromBytes, IntoBytes};

use crate::maps::{entry_error, removed};
use crate::{Maps, Result, sys};

impl Maps {
    /// Queries of a namespace to this resolver go to the DNS proxy from now on, while it lives.
    ///
    /// # Errors
    /// When the map is full (`resolvers_max`) or the kernel refuses.
    pub fn capture_dns(&self, netns_cookie: u64, resolver: IpAddr) -> Result<()> {
        let key = ResolverKey { netns_cookie, address: resolver.into() };
        self.resolvers
            .update(key.as_bytes(), 1u32.as_bytes(), MapFlags::ANY)
            .map_err(entry_error("resolvers", named(netns_cookie, resolver)))
    }

    /// Queries of a namespace to this resolver go there again; false when they did already.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn release_dns(&self, netns_cookie: u64, resolver: IpAddr) -> Result<bool> {
        let key = ResolverKey { netns_cookie, address: resolver.into() };
        removed(self.resolvers.delete(key.as_bytes()))
            .map_err(entry_error("resolvers", named(netns_cookie, resolver)))
    }

    /// True when queries of the namespace to this address go to the DNS proxy.
    ///
    /// # Errors
    /// When the kernel refuses a read.
    pub fn captures_dns(&self, netns_cookie: u64, address: IpAddr) -> Result<bool> {
        let key = ResolverKey { netns_cookie, address: address.into() };
        let value = self.resolvers.lookup(key.as_bytes(), MapFlags::ANY);
        Ok(value.map_err(entry_error("resolvers", named(netns_cookie, address)))?.is_some())
    }

    /// Every namespace and resolver whose queries go to the DNS proxy.
    pub fn captured_dns(&self) -> BTreeSet<(u64, IpAddr)> {
        let keys = self.resolvers.keys().filter_map(|key| ResolverKey::read_from_bytes(&key).ok());
        keys.map(|key| (key.netns_cookie, key.address.ip())).collect()
    }

    /// The DNS proxy lives: programs send it queries for [`abi::dns::SILENCE_MAX`] from now on.
    ///
    /// # Errors
    /// Never, unless the map is of another size.
    pub fn beat(&self) -> Result<()> {
        self.set_heartbeat(sys::monotonic_ns())
    }

    /// The DNS proxy is about to end: programs pass it over from now on.
    ///
    /// # Errors
    /// Never, unless the map is of another size.
    pub fn stop_beating(&self) -> Result<()> {
        self.set_heartbeat(0)
    }

    /// How long ago the DNS proxy showed that it lives; nothing when it ended in order.
    ///
    /// # Errors
    /// Never, unless the map is of another size.
    pub fn heartbeat_age(&self) -> Result<Option<Duration>> {
        let beat = self.settings.read(0)?.dns_heartbeat_ns;
        let age = sys::monotonic_ns().saturating_sub(beat);
        Ok((beat != 0).then(|| Duration::from_nanos(age)))
    }

    fn set_heartbeat(&self, dns_heartbeat_ns: u64) -> Result<()> {
        self.settings.write_word(
            0,
            std::mem::offset_of!(Settings, dns_heartbeat_ns) / 8,
            dns_heartbeat_ns,
        )
    }
}

fn named(netns_cookie: u64, resolver: IpAddr) -> String {
    format!("{resolver} of the namespace with cookie {netns_cookie}")
}
