//! Single resources as facts: validated, in the terms of the model, and with what has no effect here.

mod policy;
mod service;
mod workload;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use model::{Policy, ServiceName, Waypoint, WaypointTarget};
use prost::Message;

use crate::finding::{Finding, Refusal};
use crate::wire::discovery::Resource;
use crate::wire::workload::{Address, GatewayAddress, address, gateway_address};
use crate::{ADDRESS_TYPE, AUTHORIZATION_TYPE};

pub use service::ServiceFacts;
pub use workload::{Ports, WorkloadFacts};

/// What one resource of [`ADDRESS_TYPE`] says.
#[derive(Clone, Debug, PartialEq)]
pub enum AddressFacts {
    /// A service.
    Service(Arc<ServiceFacts>),
    /// A workload.
    Workload(Arc<WorkloadFacts>),
}

/// Reads a resource of [`ADDRESS_TYPE`].
///
/// # Errors
/// The first field that is not valid.
pub fn read_address(resource: &Resource) -> Result<AddressFacts, Refusal> {
    let reader = Reader { resource: &resource.name };
    let address: Address = reader.message(resource, ADDRESS_TYPE)?;
    match address.r#type {
        Some(address::Type::Service(service)) => {
            service::read(&reader, service).map(|it| AddressFacts::Service(it.into()))
        }
        Some(address::Type::Workload(workload)) => {
            workload::read(&reader, workload).map(|it| AddressFacts::Workload(it.into()))
        }
        None => Err(reader.refusal("type", "is neither a workload nor a service")),
    }
}

/// Reads a resource of [`AUTHORIZATION_TYPE`].
///
/// # Errors
/// The first field that is not valid.
pub fn read_policy(resource: &Resource) -> Result<Policy, Refusal> {
    let reader = Reader { resource: &resource.name };
    policy::read(&reader, reader.message(resource, AUTHORIZATION_TYPE)?)
}

/// Reads the fields of the resource of this name.
pub(crate) struct Reader<'a> {
    resource: &'a str,
}

impl Reader<'_> {
    fn message<M: Message + Default>(
        &self,
        resource: &Resource,
        type_url: &str,
    ) -> Result<M, Refusal> {
        let any = resource.resource.as_ref();
        let any = any.ok_or_else(|| self.refusal("resource", "is missing"))?;
        if any.type_url != type_url {
            return Err(self.refusal("type_url", format!("is {}", any.type_url)));
        }
        M::decode(any.value.clone())
            .map_err(|error| self.refusal("resource", format!("can't be decoded: {error}")))
    }

    pub(crate) fn refusal(&self, field: &'static str, message: impl Into<String>) -> Refusal {
        Refusal { resource: self.resource.to_owned(), field, message: message.into() }
    }

    fn without_effect(&self, field: &'static str, message: impl Into<String>) -> Finding {
        let resource = self.resource.to_owned();
        Finding { resource, is_refused: false, field, message: message.into() }
    }

    fn required(&self, field: &'static str, value: &str) -> Result<(), Refusal> {
        if value.is_empty() { Err(self.refusal(field, "is empty")) } else { Ok(()) }
    }

    pub(crate) fn ip(&self, field: &'static str, bytes: &[u8]) -> Result<IpAddr, Refusal> {
        if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
            return Ok(Ipv4Addr::from(v4).into());
        }
        let v6 = <[u8; 16]>::try_from(bytes).map_err(|_| {
            self.refusal(field, format!("an address has {} bytes, not 4 or 16", bytes.len()))
        })?;
        Ok(Ipv6Addr::from(v6).to_canonical())
    }

    pub(crate) fn port(&self, field: &'static str, number: u32) -> Result<u16, Refusal> {
        u16::try_from(number)
            .ok()
            .filter(|port| *port != 0)
            .ok_or_else(|| self.refusal(field, format!("{number} is no port number")))
    }

    /// `namespace/hostname`.
    pub(crate) fn service_name(
        &self,
        field: &'static str,
        text: &str,
    ) -> Result<ServiceName, Refusal> {
        let (namespace, hostname) = text
            .split_once('/')
            .ok_or_else(|| self.refusal(field, format!("{text} is not namespace/hostname")))?;
        Ok(ServiceName::new(namespace, hostname))
    }

    pub(crate) fn waypoint(
        &self,
        field: &'static str,
        gateway: &GatewayAddress,
        weight: u32,
    ) -> Result<Waypoint, Refusal> {
        let target = match &gateway.destination {
            Some(gateway_address::Destination::Hostname(name)) => {
                WaypointTarget::Service(ServiceName::new(&name.namespace, &name.hostname))
            }
            Some(gateway_address::Destination::Address(address)) => {
                WaypointTarget::Address(self.ip(field, &address.address)?)
            }
            None => return Err(self.refusal(field, "its destination is of a kind not known here")),
        };
        let hbone_port = u16::try_from(gateway.hbone_mtls_port).map_err(|_| {
            self.refusal(field, format!("{} is no port number", gateway.hbone_mtls_port))
        })?;
        Ok(Waypoint { target, hbone_port, weight })
    }

    /// 0 is the port that is dialled.
    fn target_port(&self, field: &'static str, number: u32, dialled: u16) -> Result<u16, Refusal> {
        if number == 0 { Ok(dialled) } else { self.port(field, number) }
    }
}

/// A gateway as text, for the operator.
fn gateway_text(gateway: &GatewayAddress) -> String {
    match &gateway.destination {
        Some(gateway_address::Destination::Hostname(name)) => {
            format!("{}/{}", name.namespace, name.hostname)
        }
        Some(gateway_address::Destination::Address(address)) => {
            let reader = Reader { resource: "" };
            let ip = reader.ip("address", &address.address);
            ip.map_or_else(|_| "an address that is not valid".to_owned(), |ip| ip.to_string())
        }
        None => "nowhere".to_owned(),
    }
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod policy_tests;
