//! The one list of reasons; `bpf/include/kmesh/reason.h` is its twin.

/// What happened to the traffic that a [`Reason`] was counted for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Outcome {
    /// The application got an error at once.
    Refused,
    /// Not ours to handle: the kernel's ordinary path took it.
    Passed,
    /// A program could not do all it should; the traffic went on and this is the trace of it.
    Degraded,
}

macro_rules! reasons {
    ($($(#[doc = $doc:expr])+ $variant:ident = $number:literal, $name:literal, $outcome:ident;)+) => {
        /// Why a program refused something, or let pass something that it would rather have handled.
        /// Numbers are never reused; `docs/reasons.md` tells an operator what to do about each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u16)]
        pub enum Reason { $($(#[doc = $doc])+ $variant = $number,)+ }

        impl Reason {
            /// Every reason, in the order of its number.
            pub const ALL: &'static [Reason] = &[$(Reason::$variant,)+];

            /// The reason with this number, if there is one.
            pub fn from_number(number: u16) -> Option<Reason> {
                match number { $($number => Some(Reason::$variant),)+ _ => None }
            }

            /// The name in metrics, logs and documents.
            pub fn name(self) -> &'static str {
                match self { $(Reason::$variant => $name,)+ }
            }

            /// What happened to the traffic.
            pub fn outcome(self) -> Outcome {
                match self { $(Reason::$variant => Outcome::$outcome,)+ }
            }

            /// One sentence for an operator.
            pub fn sentence(self) -> &'static str {
                match self { $(Reason::$variant => concat!($($doc),+).trim_ascii(),)+ }
            }
        }
    };
}

reasons! {
    /// The service has no usable endpoint: connect() fails with ECONNREFUSED.
    NoEndpoint = 1, "no_endpoint", Refused;
    /// The address belongs to a service that has no such port: connect() fails with ECONNREFUSED.
    NoServicePort = 2, "no_service_port", Refused;
    /// A slot names a backend that does not exist, a defect of ours: connect() fails with ECONNREFUSED.
    BackendMissing = 3, "backend_missing", Refused;
    /// Nothing in the registry has this address and the outbound policy is REGISTRY_ONLY: connect() fails with ECONNREFUSED.
    NotInRegistry = 4, "not_in_registry", Refused;
    /// The waypoint of the service or workload is not known, or has no usable endpoint: connect() fails with ECONNREFUSED.
    WaypointUnavailable = 5, "waypoint_unavailable", Refused;
    /// No room in the map of sockets for a connection by a waypoint, which could not be told where it goes: connect() fails with ECONNREFUSED.
    WaypointNoRoom = 6, "waypoint_no_room", Refused;
    /// The waypoint refused the connection, because it has no listener on the waypoint port (15019): connect() fails with ECONNREFUSED.
    WaypointRefused = 7, "waypoint_refused", Refused;
    /// The kernel had no memory for the header that a waypoint needs: send() fails with EACCES.
    WaypointHeaderFailed = 8, "waypoint_header_failed", Refused;
    /// A DENY policy matches the connection: the client's connect() fails with ECONNREFUSED.
    AuthzDenied = 9, "authz_denied", Refused;
    /// ALLOW policies hold for the destination and none matches the connection: the client's connect() fails with ECONNREFUSED.
    AuthzNotAllowed = 10, "authz_not_allowed", Refused;
    /// The policies of the destination do not fit into their limits, or the identity of the source cannot be told from another: the client's connect() fails with ECONNREFUSED.
    AuthzClosed = 11, "authz_closed", Refused;
    /// An established connection that the policies of now refuse was ended: both ends see it reset.
    AuthzEnded = 12, "authz_ended", Refused;
    /// The destination is not an address of the mesh and was left alone.
    UnknownDestination = 16, "unknown_destination", Passed;
    /// The service asks for PASSTHROUGH and was left alone.
    ServicePassthrough = 17, "service_passthrough", Passed;
    /// The destination is the own address of a workload and was left alone (counted under REGISTRY_ONLY alone).
    WorkloadAddress = 18, "workload_address", Passed;
    /// A DNS query of a socket that is bound to a device, from which the DNS proxy cannot be reached: the resolver itself was asked.
    DnsSocketBound = 19, "dns_socket_bound", Passed;
    /// An address of this node dialled, as the probes of kubelet do: no policy judges it.
    AuthzNode = 20, "authz_node", Passed;
    /// A waypoint that the destination trusts dialled: the waypoint has judged already.
    AuthzTrustedWaypoint = 21, "authz_trusted_waypoint", Passed;
    /// No room in the map of sockets: the connection works, but getpeername() shows the backend and no event is sent.
    SocketsFull = 32, "sockets_full", Degraded;
    /// A datagram flow could not be stored: the reply carries the backend's address.
    FlowFull = 33, "flow_full", Degraded;
    /// The event ring was full and an event was lost.
    EventLost = 34, "event_lost", Degraded;
    /// A client's choice could not be stored for session affinity: its next connection may go elsewhere.
    AffinityFull = 35, "affinity_full", Degraded;
    /// The DNS proxy did not listen or showed no sign of life: the resolver itself was asked.
    DnsProxySilent = 36, "dns_proxy_silent", Degraded;
    /// A connection by a waypoint ended before anybody sent anything: the client was silent, and the daemon did not send the header for it.
    WaypointHeaderUnsent = 37, "waypoint_header_unsent", Degraded;
    /// Bytes went to a waypoint without the header before them, and the waypoint ended the connection.
    WaypointHeaderMissed = 38, "waypoint_header_missed", Degraded;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_come_back_as_themselves_and_names_are_unique() {
        let mut names: Vec<_> = Reason::ALL.iter().map(|r| r.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), Reason::ALL.len());
        for reason in Reason::ALL {
            assert_eq!(Reason::from_number(*reason as u16), Some(*reason));
            assert!((*reason as u32) < crate::limits::REASONS_MAX);
            assert!(!reason.sentence().is_empty());
        }
        assert_eq!(Reason::from_number(0), None);
    }
}
