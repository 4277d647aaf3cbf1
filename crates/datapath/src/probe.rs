//! What the product needs from the kernel, and whether this one has it. Loads tiny programs and
//! makes tiny maps, all gone at once; changes nothing.

use std::path::Path;

use libbpf_rs::{MapType, ProgramType};
use libbpf_sys as raw;

use crate::diagnostics::Diagnostics;
use crate::load::{END_FUNCTION, can_end_from_program};
use crate::sys;

/// How much a missing requirement matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing works without it.
    Required,
    /// Something is lost without it.
    Useful,
}

/// One line of the table that `kmesh-daemon probe` prints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Requirement {
    /// Program type, map type, helper, ...
    pub kind: &'static str,
    /// What, in the kernel's own words.
    pub name: String,
    /// How much it matters.
    pub need: Need,
    /// Whether it is there.
    pub present: bool,
    /// What is lost without it, and what to do.
    pub without: &'static str,
}

const KERNEL_TOO_OLD: &str = "no load balancing: the programs do not load; run Linux 6.1 or newer";

/// Kernel features. Privileges and mounts are the caller's to add: they need no libbpf.
pub fn probe() -> Vec<Requirement> {
    let mut rows = program_types();
    rows.extend(map_types());
    rows.extend(helpers());
    rows.push(row(
        "kernel",
        "BTF (/sys/kernel/btf/vmlinux)",
        Path::new("/sys/kernel/btf/vmlinux").exists(),
        "no connection events: needs a kernel with CONFIG_DEBUG_INFO_BTF",
    ));
    rows.push(row(
        "system call",
        "getsockopt(SO_NETNS_COOKIE)",
        crate::netns_cookie().is_ok(),
        "no enrolment: run Linux 5.14 or newer",
    ));
    rows.push(row(
        "system call",
        "membarrier(MEMBARRIER_CMD_GLOBAL)",
        sys::membarrier_global().is_ok(),
        "map entries cannot be reused safely; boot without nohz_full",
    ));
    rows.push(Requirement {
        need: Need::Useful,
        ..row(
            "kernel",
            format!("{END_FUNCTION} or SOCK_DESTROY"),
            can_end_from_program() || Diagnostics::can_end(),
            "a connection that a change of policies forbids goes on until it ends by itself: needs \
             Linux 6.5 or CONFIG_INET_DIAG_DESTROY",
        )
    });
    rows
}

fn row(
    kind: &'static str,
    name: impl Into<String>,
    present: bool,
    without: &'static str,
) -> Requirement {
    Requirement { kind, name: name.into(), need: Need::Required, present, without }
}

fn program_types() -> Vec<Requirement> {
    [
        ("cgroup/sock_addr", ProgramType::CgroupSockAddr, KERNEL_TOO_OLD),
        ("sock_ops", ProgramType::SockOps, "no connection events: needs CONFIG_CGROUP_BPF"),
        (
            "sk_msg",
            ProgramType::SkMsg,
            "no waypoints: needs CONFIG_BPF_STREAM_PARSER and CONFIG_NET_SOCK_MSG",
        ),
        ("sk_lookup", ProgramType::SkLookup, "no authorization: needs CONFIG_BPF_SYSCALL"),
    ]
    .into_iter()
    .map(|(name, kind, without)| {
        row("program type", name, kind.is_supported().unwrap_or(false), without)
    })
    .collect()
}

fn map_types() -> Vec<Requirement> {
    [
        ("hash", MapType::Hash),
        ("array", MapType::Array),
        ("percpu_array", MapType::PercpuArray),
        ("lru_hash", MapType::LruHash),
        ("lpm_trie", MapType::LpmTrie),
        ("ringbuf", MapType::RingBuf),
        ("sockhash", MapType::Sockhash),
    ]
    .into_iter()
    .map(|(name, kind)| row("map type", name, kind.is_supported().unwrap_or(false), KERNEL_TOO_OLD))
    .collect()
}

fn helpers() -> Vec<Requirement> {
    use ProgramType::{CgroupSockAddr, SkMsg, SockOps};
    [
        (CgroupSockAddr, "bpf_get_netns_cookie", raw::BPF_FUNC_get_netns_cookie),
        (CgroupSockAddr, "bpf_get_socket_cookie", raw::BPF_FUNC_get_socket_cookie),
        (CgroupSockAddr, "bpf_set_retval", raw::BPF_FUNC_set_retval),
        (CgroupSockAddr, "bpf_sk_lookup_tcp", raw::BPF_FUNC_sk_lookup_tcp),
        (CgroupSockAddr, "bpf_sk_lookup_udp", raw::BPF_FUNC_sk_lookup_udp),
        (CgroupSockAddr, "bpf_sk_release", raw::BPF_FUNC_sk_release),
        (CgroupSockAddr, "bpf_ringbuf_reserve", raw::BPF_FUNC_ringbuf_reserve),
        (SockOps, "bpf_get_netns_cookie", raw::BPF_FUNC_get_netns_cookie),
        (SockOps, "bpf_get_socket_cookie", raw::BPF_FUNC_get_socket_cookie),
        (SockOps, "bpf_skc_to_tcp_sock", raw::BPF_FUNC_skc_to_tcp_sock),
        (SockOps, "bpf_sock_ops_cb_flags_set", raw::BPF_FUNC_sock_ops_cb_flags_set),
        (SockOps, "bpf_sock_hash_update", raw::BPF_FUNC_sock_hash_update),
        (SkMsg, "bpf_msg_push_data", raw::BPF_FUNC_msg_push_data),
        (SkMsg, "bpf_skc_to_tcp_sock", raw::BPF_FUNC_skc_to_tcp_sock),
        (SkMsg, "bpf_get_current_pid_tgid", raw::BPF_FUNC_get_current_pid_tgid),
        (CgroupSockAddr, "bpf_get_current_pid_tgid", raw::BPF_FUNC_get_current_pid_tgid),
    ]
    .into_iter()
    .map(|(program, name, helper)| {
        let place = match program {
            SockOps => "sock_ops",
            SkMsg => "sk_msg",
            _ => "cgroup/sock_addr",
        };
        let present = program.is_helper_supported(helper).unwrap_or(false);
        row("helper", format!("{name} in {place}"), present, KERNEL_TOO_OLD)
    })
    .collect()
}
