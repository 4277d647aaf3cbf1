//! What a mesh of a given size costs in user space, without a kernel: time to parse and to plan it,
//! time for one endpoint that changes, and memory.
//!
//!     cargo run --release -p benches --example footprint -- [SERVICES [ENDPOINTS [DIRECTORY]]]
//!
//! With a directory the mesh stays there, for a daemon to read.
#![allow(clippy::unwrap_used)]

use std::path::PathBuf;
use std::time::{Duration, Instant};

use abi::limits::{self, Limits};
use benches::mesh::{Mesh, Shape};
use model::Node;
use plan::{Layout, Planner};
use resources::{Directory, Options, Touched};

const CHANGES: usize = 500;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default| arguments.next().map_or(default, |text| text.parse().unwrap());
    let shape = Shape::sized(number(10_000), number(10));
    let temporary = tempfile::tempdir().unwrap();
    let dir = arguments.next().map_or_else(|| temporary.path().to_owned(), PathBuf::from);
    let mesh = Mesh::write(&dir, shape).unwrap();
    println!("{} services, {} workloads; {} at start", shape.services, shape.workloads(), rss());

    let mut directory = Directory::open(&dir, Options::default()).unwrap();
    let started = Instant::now();
    let mut update = directory.reload();
    println!("parsed and compiled in {:?}; {}", started.elapsed(), rss());
    assert!(update.problems.is_empty(), "{:?}", update.problems.first());
    assert_eq!(update.snapshot.workloads.len(), shape.workloads());

    let mut planner = Planner::new(Node::default(), limits::SLOTS_PER_TABLE_MAX);
    let mut layout = Layout::new(Limits::default());
    let started = Instant::now();
    let image = planner.image(&update.snapshot);
    let planned = started.elapsed();
    let change = layout.change_to(&image);
    assert!(change.problems.is_empty(), "{:?}", change.problems.first());
    layout.release();
    println!(
        "planned in {planned:?}, placed by {} writes in {:?}; {}",
        change.writes.len(),
        started.elapsed() - planned,
        rss()
    );
    drop((change, image));

    let mut times: [Vec<Duration>; 4] = Default::default();
    for round in 0..CHANGES {
        let service = (round / 2 * 37) % shape.services;
        let file = mesh.set_health(service, 0, round % 2 == 1).unwrap();
        let start = Instant::now();
        update = directory.refresh(&Touched::Names([file].into()));
        let refreshed = Instant::now();
        let image = planner.image(&update.snapshot);
        let planned = Instant::now();
        let change = layout.change_to(&image);
        let placed = Instant::now();
        assert!(!change.writes.is_empty() && change.writes.len() < 8, "{}", change.writes.len());
        layout.release();
        let steps = [refreshed - start, planned - refreshed, placed - planned, placed - start];
        times.iter_mut().zip(steps).for_each(|(list, time)| list.push(time));
    }
    for (name, mut list) in ["read and compile", "plan", "place", "in all"].iter().zip(times) {
        list.sort();
        let (p50, p99) = (list[CHANGES / 2], list[CHANGES * 99 / 100]);
        println!("one endpoint, {name}: p50 {p50:?}, p99 {p99:?}");
    }
    println!("{} at the end", rss());
}

/// Resident memory of this process.
fn rss() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        let kib: u64 = line.split_whitespace().nth(1).and_then(|n| n.parse().ok()).unwrap_or(0);
        kib / 1024
    };
    format!("RSS {} MiB, peak {} MiB", field("VmRSS:"), field("VmHWM:"))
}
