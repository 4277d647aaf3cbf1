//! System calls that libbpf-rs has no safe wrapper for. Every unsafe block of the product that is
//! not generated is in this file.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

use libbpf_sys as raw;

/// `SO_NETNS_COOKIE` of `<asm-generic/socket.h>`, which the libc crate does not name everywhere.
const SO_NETNS_COOKIE: libc::c_int = 71;
/// `MEMBARRIER_CMD_GLOBAL` of `<linux/membarrier.h>`: one RCU grace period.
const MEMBARRIER_CMD_GLOBAL: libc::c_int = 1;

/// `SK_PASS` of `<linux/bpf.h>`, what an sk_lookup program returns for a connection that goes on.
const SK_PASS: u32 = 1;

/// libbpf returns a negative errno, or a value.
fn check(value: libc::c_int) -> io::Result<libc::c_int> {
    if value < 0 { Err(io::Error::from_raw_os_error(-value)) } else { Ok(value) }
}

fn owned(fd: libc::c_int) -> io::Result<OwnedFd> {
    let fd = check(fd)?;
    // SAFETY: the call that returned `fd` made it for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn c_path(path: &Path) -> io::Result<CString> {
    Ok(CString::new(path.as_os_str().as_bytes())?)
}

/// Attaches a program to a cgroup or a network namespace by a new link.
pub fn link_create(
    program: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    attach_type: raw::bpf_attach_type,
) -> io::Result<OwnedFd> {
    // SAFETY: both descriptors are open, and a null options pointer means none.
    owned(unsafe {
        raw::bpf_link_create(program.as_raw_fd(), target.as_raw_fd(), attach_type, std::ptr::null())
    })
}

/// Opens a walk over what an iterator program looks at, in the calling thread's network namespace.
pub fn open_iterator(program: BorrowedFd<'_>) -> io::Result<File> {
    // SAFETY: the descriptor is open, and a null options pointer means none. An iterator has no target.
    let link = owned(unsafe {
        raw::bpf_link_create(program.as_raw_fd(), 0, raw::BPF_TRACE_ITER, std::ptr::null())
    })?;
    // SAFETY: the link is open.
    owned(unsafe { raw::bpf_iter_create(link.as_raw_fd()) }).map(File::from)
}

/// Runs an sk_lookup program as if a connection came in; true when it lets it pass.
pub fn ask_lookup_program(
    program: BorrowedFd<'_>,
    remote: SocketAddr,
    local: SocketAddr,
) -> io::Result<bool> {
    // SAFETY: all fields of `bpf_sk_lookup` may be zero.
    let mut context: raw::bpf_sk_lookup = unsafe { std::mem::zeroed() };
    context.protocol = libc::IPPROTO_TCP as u32;
    context.remote_port = remote.port().to_be();
    context.local_port = local.port().into();
    match (remote.ip(), local.ip()) {
        (IpAddr::V4(remote), IpAddr::V4(local)) => {
            context.family = libc::AF_INET as u32;
            context.remote_ip4 = u32::from_ne_bytes(remote.octets());
            context.local_ip4 = u32::from_ne_bytes(local.octets());
        }
        (remote, local) => {
            context.family = libc::AF_INET6 as u32;
            context.remote_ip6 = words_of(remote);
            context.local_ip6 = words_of(local);
        }
    }
    let mut options = raw::bpf_test_run_opts {
        sz: size_of::<raw::bpf_test_run_opts>() as u64,
        ctx_in: (&raw const context).cast(),
        ctx_size_in: size_of_val(&context) as u32,
        ..Default::default()
    };
    // SAFETY: `options` and the context that it points to live until the call is over; the kernel
    // writes into `options` alone.
    check(unsafe { raw::bpf_prog_test_run_opts(program.as_raw_fd(), &raw mut options) })?;
    Ok(options.retval == SK_PASS)
}

/// An address as four words in network order.
fn words_of(address: IpAddr) -> [u32; 4] {
    let octets = match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    };
    std::array::from_fn(|i| {
        u32::from_ne_bytes(std::array::from_fn(|byte| octets[i * size_of::<u32>() + byte]))
    })
}

/// Moves the calling thread, and no other, into a network namespace.
pub fn enter_netns(netns: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the descriptor is open, and the call takes no pointer.
    let result = unsafe { libc::setns(netns.as_raw_fd(), libc::CLONE_NEWNET) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Replaces the program of a link in one step.
pub fn link_update(link: BorrowedFd<'_>, program: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: both descriptors are open, and a null options pointer means none.
    check(unsafe { raw::bpf_link_update(link.as_raw_fd(), program.as_raw_fd(), std::ptr::null()) })
        .map(drop)
}

/// Puts a program on the sockets that a map of sockets gets from now on.
pub fn attach_message_program(program: BorrowedFd<'_>, map: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: both descriptors are open.
    check(unsafe {
        raw::bpf_prog_attach(program.as_raw_fd(), map.as_raw_fd(), raw::BPF_SK_MSG_VERDICT, 0)
    })
    .map(drop)
}

/// The id of the program that sockets of a map meet when they send.
pub fn message_program(map: BorrowedFd<'_>) -> io::Result<Option<u32>> {
    let (mut flags, mut id, mut count) = (0u32, 0u32, 1u32);
    // SAFETY: the call writes one id at most, into `id`, and the number of ids into `count`.
    check(unsafe {
        raw::bpf_prog_query(
            map.as_raw_fd(),
            raw::BPF_SK_MSG_VERDICT,
            0,
            &raw mut flags,
            &raw mut id,
            &raw mut count,
        )
    })?;
    Ok((count > 0 && id != 0).then_some(id))
}

/// A copy of another process's descriptor; that process does not notice.
pub fn descriptor_of(tgid: u32, number: i32) -> io::Result<OwnedFd> {
    // SAFETY: neither call takes a pointer.
    let process = unsafe { libc::syscall(libc::SYS_pidfd_open, tgid, 0) };
    if process < 0 {
        return Err(io::Error::last_os_error());
    }
    let process = owned(process as libc::c_int)?;
    // SAFETY: as above, and `process` is open.
    let found = unsafe { libc::syscall(libc::SYS_pidfd_getfd, process.as_raw_fd(), number, 0) };
    if found < 0 { Err(io::Error::last_os_error()) } else { owned(found as libc::c_int) }
}

/// `SO_COOKIE` of a socket.
pub fn socket_cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    socket_option(socket, libc::SO_COOKIE)
}

/// Returns when nobody has the lock of a TCP socket: what was done under it can be seen then, and whoever
/// takes it next sees what was stored before. Somebody who sleeps in `send()` does not have it.
pub fn wait_for_lock(socket: BorrowedFd<'_>) -> io::Result<()> {
    let mut info = 0u64;
    let mut size = size_of_val(&info) as libc::socklen_t;
    // SAFETY: the call writes at most `size` bytes into `info`, which has as many.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            (&raw mut info).cast(),
            &raw mut size,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// Sends `bytes` on a TCP socket if a program looks at what the socket sends, and otherwise nothing:
/// a message with a malformed control message is refused by TCP itself (EINVAL) before it queues
/// anything, while the way by a program never looks at control messages. So there is no moment at
/// which bytes could slip out behind the program's back.
pub fn send_through_program(socket: BorrowedFd<'_>, bytes: &[u8]) -> io::Result<usize> {
    // A length that is shorter than the control message's own head.
    let control = libc::cmsghdr { cmsg_len: 0, cmsg_level: 0, cmsg_type: 0 };
    let mut part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: all fields of `msghdr` may be zero.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    message.msg_iov = &raw mut part;
    message.msg_iovlen = 1;
    message.msg_control = (&raw const control).cast_mut().cast();
    message.msg_controllen = size_of_val(&control) as _;
    // SAFETY: `message` points to `part` and `control`, and those to `bytes`: all live until the call
    // is over, and the kernel only reads them.
    let sent = unsafe {
        libc::sendmsg(
            socket.as_raw_fd(),
            &raw const message,
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
        )
    };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
}

/// The calling thread's id, in its own PID namespace.
pub fn thread_id() -> u32 {
    // SAFETY: the call takes no pointer and cannot fail.
    unsafe { libc::gettid() as u32 }
}

/// Detaches a link; its descriptor stays valid but has no effect any more.
pub fn link_detach(link: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: the descriptor is open.
    check(unsafe { raw::bpf_link_detach(link.as_raw_fd()) }).map(drop)
}

/// Pins a map, program or link.
pub fn pin(object: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = c_path(path)?;
    // SAFETY: the descriptor is open and the path ends with a zero byte.
    check(unsafe { raw::bpf_obj_pin(object.as_raw_fd(), path.as_ptr()) }).map(drop)
}

/// Opens a pinned map, program or link.
pub fn open_pinned(path: &Path) -> io::Result<OwnedFd> {
    let path = c_path(path)?;
    // SAFETY: the path ends with a zero byte.
    owned(unsafe { raw::bpf_obj_get(path.as_ptr()) })
}

/// Opens a loaded program by its id.
pub fn program_by_id(id: u32) -> io::Result<OwnedFd> {
    // SAFETY: no pointer is passed.
    owned(unsafe { raw::bpf_prog_get_fd_by_id(id) })
}

/// Turns on run statistics of all programs of the host for as long as the descriptor is open.
pub fn enable_run_stats() -> io::Result<OwnedFd> {
    // SAFETY: no pointer is passed.
    owned(unsafe { raw::bpf_enable_stats(raw::BPF_STATS_RUN_TIME) })
}

macro_rules! info {
    ($name:ident, $call:ident, $info:ident) => {
        /// What the kernel says of the object behind a descriptor.
        pub fn $name(fd: BorrowedFd<'_>) -> io::Result<raw::$info> {
            let mut info = raw::$info::default();
            let mut size = size_of::<raw::$info>() as u32;
            // SAFETY: `info` is a plain struct of `size` bytes whose pointers are null, which asks
            // the kernel for no variable-sized part.
            check(unsafe { raw::$call(fd.as_raw_fd(), &mut info, &mut size) })?;
            Ok(info)
        }
    };
}

info!(program_info, bpf_prog_get_info_by_fd, bpf_prog_info);
info!(map_info, bpf_map_get_info_by_fd, bpf_map_info);
info!(link_info, bpf_link_get_info_by_fd, bpf_link_info);

/// The cgroup id that a cgroup link is attached to; 0 when its cgroup is gone.
pub fn link_cgroup_id(info: &raw::bpf_link_info) -> Option<u64> {
    if info.type_ != raw::BPF_LINK_TYPE_CGROUP {
        return None;
    }
    // SAFETY: the type says that the kernel filled this member of the union.
    Some(unsafe { info.__bindgen_anon_1.cgroup.cgroup_id })
}

/// The inode of the network namespace that a link is attached to; 0 when it is gone.
pub fn link_netns_inode(info: &raw::bpf_link_info) -> Option<u32> {
    if info.type_ != raw::BPF_LINK_TYPE_NETNS {
        return None;
    }
    // SAFETY: the type says that the kernel filled this member of the union.
    Some(unsafe { info.__bindgen_anon_1.netns.netns_ino })
}

/// See [`crate::netns_cookie`].
pub fn netns_cookie(socket: BorrowedFd<'_>) -> io::Result<u64> {
    socket_option(socket, SO_NETNS_COOKIE)
}

/// A socket option of 64 bits.
fn socket_option(socket: BorrowedFd<'_>, option: libc::c_int) -> io::Result<u64> {
    let mut value = 0u64;
    let mut size = size_of::<u64>() as libc::socklen_t;
    // SAFETY: the call writes at most `size` bytes into `value`, which has as many.
    let result = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            option,
            (&raw mut value).cast(),
            &raw mut size,
        )
    };
    if result == 0 { Ok(value) } else { Err(io::Error::last_os_error()) }
}

/// See [`crate::grace_period`].
pub fn membarrier_global() -> io::Result<()> {
    // SAFETY: the call takes no pointer.
    let result = unsafe { libc::syscall(libc::SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// See [`crate::spare_memory`].
pub fn spare_memory(large_buffer_bytes: i32) -> bool {
    mallopt(libc::M_MMAP_THRESHOLD, large_buffer_bytes) && mallopt(libc::M_ARENA_MAX, 1)
}

fn mallopt(parameter: i32, value: i32) -> bool {
    // SAFETY: the call takes no pointer, and glibc takes its own locks.
    unsafe { libc::mallopt(parameter, value) == 1 }
}

/// See [`crate::return_free_memory`].
pub fn return_free_memory() -> bool {
    // SAFETY: the call takes no pointer, and glibc takes its own locks.
    unsafe { libc::malloc_trim(0) == 1 }
}

/// CLOCK_MONOTONIC, the clock of `bpf_ktime_get_ns`.
pub fn monotonic_ns() -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is writable for the whole call, and the kernel keeps no pointer to it.
    let result = unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut now) };
    // The clock always exists, and its parts are never negative.
    assert_eq!(result, 0, "CLOCK_MONOTONIC");
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// A shared, writable mapping of an array map, as 64-bit words. The words are atomics because the
/// kernel's programs read them at the same time.
pub struct SharedWords {
    start: NonNull<AtomicU64>,
    count: usize,
}

// SAFETY: the mapping belongs to the process, not to a thread, and is only reached through atomics.
unsafe impl Send for SharedWords {}
// SAFETY: as above.
unsafe impl Sync for SharedWords {}

impl SharedWords {
    /// Maps `count` words of a `BPF_F_MMAPABLE` array from word `first` on, which begins a page.
    pub fn map(map: BorrowedFd<'_>, first: usize, count: usize) -> io::Result<Self> {
        // SAFETY: a new mapping at an address of the kernel's choice overlaps nothing.
        let start = unsafe {
            libc::mmap(
                std::ptr::null_mut(),
                count * 8,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_SHARED,
                map.as_raw_fd(),
                (first * 8) as libc::off_t,
            )
        };
        if start == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let start = NonNull::new(start.cast()).ok_or_else(io::Error::last_os_error)?;
        Ok(Self { start, count })
    }

    /// The words.
    pub fn words(&self) -> &[AtomicU64] {
        // SAFETY: the mapping holds `count` aligned words for as long as `self` lives.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.count) }
    }
}

impl Drop for SharedWords {
    fn drop(&mut self) {
        // SAFETY: this range was mapped by `map`, and no reference to it outlives `self`.
        unsafe { libc::munmap(self.start.as_ptr().cast(), self.count * 8) };
    }
}
