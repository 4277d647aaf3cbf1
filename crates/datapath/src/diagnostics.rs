//! The kernel's socket diagnostics (`NETLINK_SOCK_DIAG`) for the calling thread's network namespace:
//! which TCP sockets there are, and ending one.

use std::io;
use std::net::SocketAddr;

use netlink_packet_core::{
    NLM_F_ACK, NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload,
    NetlinkSerializable,
};
use netlink_packet_sock_diag::constants::{
    AF_INET, AF_INET6, IPPROTO_TCP, TCP_CLOSE, TCP_LISTEN, TCP_SYN_SENT, TCP_TIME_WAIT,
};
use netlink_packet_sock_diag::inet::{
    ExtensionFlags, InetRequest, InetResponseHeader, SocketId, StateFlags,
};
use netlink_packet_sock_diag::{SockDiagDestroy, SockDiagMessage};
use netlink_sys::Socket;
use netlink_sys::protocols::NETLINK_SOCK_DIAG;

/// A conversation with the kernel.
pub(crate) struct Diagnostics {
    socket: Socket,
}

/// A socket as the kernel lists it.
pub(crate) struct Found {
    header: InetResponseHeader,
}

// === impl Diagnostics ===

impl Diagnostics {
    pub fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_SOCK_DIAG)?;
        socket.bind_auto()?;
        Ok(Self { socket })
    }

    /// All TCP sockets.
    pub fn sockets(&mut self) -> io::Result<Vec<Found>> {
        let mut found = self.sockets_of(AF_INET, SocketId::new_v4())?;
        found.extend(self.sockets_of(AF_INET6, SocketId::new_v6())?);
        Ok(found)
    }

    fn sockets_of(&mut self, family: u8, any: SocketId) -> io::Result<Vec<Found>> {
        let question = SockDiagMessage::InetRequest(request(family, any));
        self.send(NLM_F_REQUEST | NLM_F_DUMP, question)?;
        let mut found = Vec::new();
        loop {
            for message in self.receive()? {
                match message {
                    NetlinkPayload::Done(_) => return Ok(found),
                    NetlinkPayload::Error(error) => return Err(error.to_io()),
                    NetlinkPayload::InnerMessage(SockDiagMessage::InetResponse(one)) => {
                        found.push(Found { header: one.header });
                    }
                    _ => {}
                }
            }
        }
    }

    /// Aborts a connection; false when it is gone already.
    pub fn end(&mut self, one: &Found) -> io::Result<bool> {
        let id = one.header.socket_id.clone();
        let order = SockDiagMessage::InetRequest(request(one.header.family, id));
        self.send(NLM_F_REQUEST | NLM_F_ACK, SockDiagDestroy::new(order))?;
        for message in self.receive()? {
            if let NetlinkPayload::Error(error) = message {
                match error.to_io() {
                    _ if error.code.is_none() => return Ok(true),
                    e if e.kind() == io::ErrorKind::NotFound => return Ok(false),
                    e => return Err(e),
                }
            }
        }
        Err(io::Error::other("the kernel did not answer an order to end a connection"))
    }

    /// True when this kernel can end connections: it looks for one that does not exist.
    pub fn can_end() -> bool {
        let none = InetResponseHeader {
            family: AF_INET,
            state: TCP_CLOSE,
            timer: None,
            socket_id: SocketId::new_v4(),
            recv_queue: 0,
            send_queue: 0,
            uid: 0,
            inode: 0,
        };
        Self::open().and_then(|mut this| this.end(&Found { header: none })).is_ok()
    }

    fn send<T>(&self, flags: u16, message: T) -> io::Result<()>
    where
        T: NetlinkSerializable + Into<NetlinkPayload<T>>,
    {
        let mut header = NetlinkHeader::default();
        header.flags = flags;
        let mut message = NetlinkMessage::new(header, message.into());
        message.finalize();
        let mut bytes = vec![0; message.buffer_len()];
        message.serialize(&mut bytes);
        self.socket.send(&bytes, 0).map(drop)
    }

    /// The messages of one datagram.
    fn receive(&self) -> io::Result<Vec<NetlinkPayload<SockDiagMessage>>> {
        let (bytes, _) = self.socket.recv_from_full()?;
        let mut rest = &bytes[..];
        let mut messages = Vec::new();
        while !rest.is_empty() {
            let message = NetlinkMessage::<SockDiagMessage>::deserialize(rest)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))?;
            // Messages are aligned to four bytes.
            let length = message.header.length.next_multiple_of(4) as usize;
            rest = rest.get(length..).unwrap_or_default();
            messages.push(message.payload);
        }
        Ok(messages)
    }
}

// === impl Found ===

impl Found {
    /// `SO_COOKIE`.
    pub fn cookie(&self) -> u64 {
        let [a, b, c, d, e, f, g, h] = self.header.socket_id.cookie;
        let (low, high) = (u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h]));
        u64::from(low) | u64::from(high) << 32
    }

    pub fn local(&self) -> SocketAddr {
        let id = &self.header.socket_id;
        SocketAddr::new(id.source_address.to_canonical(), id.source_port)
    }

    pub fn remote(&self) -> SocketAddr {
        let id = &self.header.socket_id;
        SocketAddr::new(id.destination_address.to_canonical(), id.destination_port)
    }

    pub fn is_listener(&self) -> bool {
        self.header.state == TCP_LISTEN
    }

    /// A connection that both ends know, or that is about to become one.
    pub fn is_connection(&self) -> bool {
        !matches!(self.header.state, TCP_LISTEN | TCP_CLOSE | TCP_TIME_WAIT | TCP_SYN_SENT)
    }
}

fn request(family: u8, socket_id: SocketId) -> InetRequest {
    InetRequest {
        family,
        protocol: IPPROTO_TCP,
        extensions: ExtensionFlags::empty(),
        states: StateFlags::all(),
        socket_id,
    }
}
