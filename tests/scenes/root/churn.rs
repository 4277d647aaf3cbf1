//! Endpoints that change a thousand times a second, while clients connect.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use testkit::yaml::{self, EndpointSlice};
use testkit::{Daemon, Pod, Servers, ask, ask_udp};

use super::bench::{
    Bench, TARGET, UDP_PORT, UDP_TARGET, VIP, VIP6, WEB, WEB6, committed, success, web_service,
};
use super::load::Load;

/// Of the service at any time, in each family.
const ENDPOINTS: u32 = 2_000;
/// As many as Kubernetes allows.
const ENDPOINTS_PER_SLICE: u32 = 1_000;
/// How many of them give way to others with each write, in each family.
const REPLACED: u32 = ENDPOINTS / 2;
/// Endpoints replaced in a second; one that goes and one that comes in its place count as one.
const RATE_MIN: f64 = 1_000.0;
/// Writes of the directory that the rate is taken over, each as soon as the one before is in force.
const WRITES: usize = 10;
/// A machine that does other things as well has so long to reach the rate.
const RATE_DEADLINE: Duration = Duration::from_secs(90);
/// Connections and answers of each family that there must be meanwhile.
const ANSWERS: u64 = 1_000;

const RANGE: &str = "10.128.0.0/9";
const RANGE6: &str = "fd78::/64";

/// Which endpoints there are, by number. A number is given once and never again.
#[derive(Default)]
struct Window {
    /// The lowest of the last commit that was seen.
    first: AtomicU32,
    /// Behind the highest that was written.
    end: AtomicU32,
}

impl Window {
    /// Was an endpoint that has this address there, at some time since `first` was the lowest?
    fn judge(&self, first: u32, landed: &str) -> Result<(), String> {
        let number = match landed.parse() {
            Ok(IpAddr::V4(address)) => address.to_bits() & 0x7f_ffff,
            Ok(IpAddr::V6(address)) => address.to_bits() as u32,
            Err(e) => return Err(format!("{landed:?}: {e}")),
        };
        let end = self.end.load(Ordering::Acquire);
        if (first..end).contains(&number) {
            return Ok(());
        }
        Err(format!("{landed} is endpoint {number}, and there were {first} to {end}"))
    }

    /// Clients that connect to one address and send to the other, in turn.
    fn load(self: &Arc<Self>, client: &Pod, tcp: SocketAddr, udp: SocketAddr) -> Load {
        let window = Arc::clone(self);
        Load::start(client, 1, move || window.connect(tcp).and_then(|()| window.send(udp)))
    }

    fn connect(&self, address: SocketAddr) -> Result<(), String> {
        let first = self.first.load(Ordering::Acquire);
        let answer = ask(address).map_err(|e| format!("connect to {address}: {e}"))?;
        if answer.peer != address {
            return Err(format!("the peer is {}", answer.peer));
        }
        self.judge(first, &answer.pod)
    }

    fn send(&self, address: SocketAddr) -> Result<(), String> {
        let first = self.first.load(Ordering::Acquire);
        let (text, from) = ask_udp(address, "x").map_err(|e| format!("send to {address}: {e}"))?;
        if from != address {
            return Err(format!("the reply is from {from}"));
        }
        self.judge(first, text.trim_end_matches(" x"))
    }
}

fn v4(number: u32) -> IpAddr {
    Ipv4Addr::from_bits(0x0a80_0000 | number).into()
}

fn v6(number: u32) -> IpAddr {
    Ipv6Addr::from_bits((0xfd78 << 112) | u128::from(number)).into()
}

/// The service `web` with the endpoints from `first` on.
fn web(first: u32) -> String {
    let starts = (first..first + ENDPOINTS).step_by(ENDPOINTS_PER_SLICE as usize);
    let slices = starts.flat_map(|start| [slice(start, v4), slice(start, v6)]);
    let slices: Vec<_> = slices
        .enumerate()
        .map(|(number, slice)| slice.name(&format!("web-{number}")).to_string())
        .collect();
    yaml::join(&[&web_service(), &slices.join("---\n")])
}

fn slice(first: u32, address: fn(u32) -> IpAddr) -> EndpointSlice {
    let numbers = first..first + ENDPOINTS_PER_SLICE;
    let endpoints = numbers.map(|number| (address(number), true, "", ""));
    yaml::endpoint_slice("web", endpoints).port("http", TARGET).udp_port("dns", UDP_TARGET)
}

/// One pod that has every address of the ranges, as if it were all the endpoints that ever are.
fn serve_ranges(bench: &mut Bench) -> Servers {
    let pod = bench.scene.pod("servers");
    let gateways = [(RANGE, IpAddr::from(pod.v4)), (RANGE6, pod.v6.into())];
    for (range, gateway) in gateways {
        let mut here = pod.command("ip");
        success(&here.args(["route", "add", "local", range, "dev", "lo"]).output().unwrap());
        let mut there = bench.client.command("ip");
        let gateway = gateway.to_string();
        success(&there.args(["route", "add", range, "via", &gateway]).output().unwrap());
    }
    // An answer may come from an address that is routed here and on no interface.
    pod.sysctl("net.ipv6.ip_nonlocal_bind", "1");
    Servers::new(&pod).tcp_by_address(TARGET).udp_by_address(UDP_TARGET)
}

/// Moves the window on by one write of the directory, and waits until that is in force.
fn replace_some(bench: &Bench, daemon: &Daemon, window: &Window) {
    let first = window.first.load(Ordering::Acquire) + REPLACED;
    let text = web(first);
    window.end.store(first + ENDPOINTS, Ordering::Release);
    committed(daemon, || bench.scene.config("web.yaml", text));
    window.first.store(first, Ordering::Release);
}

/// Replaces endpoints until that went fast enough and the clients had enough answers. Returns the
/// best rate.
fn keep_replacing(bench: &Bench, daemon: &Daemon, window: &Window, loads: &[Load]) -> f64 {
    let mut times = vec![Instant::now()];
    let mut best: f64 = 0.0;
    while best < RATE_MIN || loads.iter().any(|load| load.succeeded() < ANSWERS) {
        replace_some(bench, daemon, window);
        times.push(Instant::now());
        if let Some(from) = times.iter().rev().nth(WRITES) {
            let replaced = 2.0 * f64::from(REPLACED) * WRITES as f64;
            best = best.max(replaced / from.elapsed().as_secs_f64());
        }
        let (answers, writes) = (loads.iter().map(Load::succeeded), times.len() - 1);
        assert!(
            times[0].elapsed() < RATE_DEADLINE,
            "{best:.0} endpoints a second is the best of {writes} writes, with answers {:?}",
            answers.collect::<Vec<_>>()
        );
    }
    best
}

#[test]
fn a_thousand_endpoints_a_second_change_and_no_connect_fails_or_reaches_one_that_is_gone() {
    let mut bench = Bench::new("churn", &[]);
    let _servers = serve_ranges(&mut bench);
    let window = Arc::new(Window::default());
    window.end.store(ENDPOINTS, Ordering::Release);
    bench.scene.config("web.yaml", web(0));
    let daemon = bench.start();
    let loads = [
        window.load(&bench.client, WEB, (VIP, UDP_PORT).into()),
        window.load(&bench.client, WEB6, (VIP6, UDP_PORT).into()),
    ];
    let rate = keep_replacing(&bench, &daemon, &window, &loads);
    let writes = window.first.load(Ordering::Acquire) / REPLACED;
    // Those that land now land in the last window.
    loads.iter().for_each(|load| load.more(10));
    let answers = loads.map(Load::finish);
    println!(
        "{rate:.0} endpoints replaced a second; {writes} writes, {answers:?} rounds of clients"
    );
}
