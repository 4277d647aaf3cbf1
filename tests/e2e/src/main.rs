//! `e2e`: the product in a real Kubernetes under a real istiod, in scenes named by topology.
//!
//! `cargo xtask e2e` builds what it needs and starts it. All scenes share one cluster, because that is
//! what costs; each makes and removes objects of its own. One that fails does not stop the others.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "test code: a scene that meets something unexpected stops there"
)]

mod scenes;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use clap::Parser;
use testkit::Interrupt;

use e2e::fixture;
use e2e::world::{OUTAGE_S, World};

use crate::scenes::{Scene, all};

#[derive(Parser)]
#[command(name = "e2e", about = "Scenes in a real Kubernetes under a real istiod")]
struct Arguments {
    /// Only scenes whose name contains one of these
    filter: Vec<String>,
    /// Where the logs of every component go
    #[arg(long, default_value = "target/e2e-logs")]
    logs: PathBuf,
    /// Only say which scenes there are
    #[arg(long)]
    list: bool,
    /// Only write the image of the test pods to this folder, for the nodes of a cluster of yours
    #[arg(long, value_name = "FOLDER")]
    save_image: Option<PathBuf>,
    /// How long istiod is away in the scene without it; at 60 it is a drill
    #[arg(long, value_name = "SECONDS", default_value_t = OUTAGE_S)]
    outage_s: u64,
    /// Leave the cluster up until Enter is pressed
    #[arg(long)]
    keep: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    if let Some(folder) = &arguments.save_image {
        std::fs::create_dir_all(folder).expect("make the folder");
        println!("{}", cluster::write_test_image(folder).display());
        return ExitCode::SUCCESS;
    }
    let scenes: Vec<Scene> = all()
        .into_iter()
        .filter(|scene| {
            let named = |part: &String| scene.name().contains(part.as_str());
            arguments.filter.is_empty() || arguments.filter.iter().any(named)
        })
        .collect();
    if arguments.list || scenes.is_empty() {
        scenes.iter().for_each(|scene| println!("{}", scene.name()));
        return if scenes.is_empty() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
    }
    let interrupt = Interrupt::catch();
    std::fs::create_dir_all(&arguments.logs).expect("make the folder of the logs");
    let logs = arguments.logs.canonicalize().expect("the folder of the logs");
    // What was made so far goes while the panic unwinds.
    let done = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::start(&logs);
        world.outage = Duration::from_secs(arguments.outage_s);
        let failed = run(&scenes, &mut world, &interrupt);
        if arguments.keep {
            world.say_how_to_look();
            let _ = std::io::stdin().read_line(&mut String::new());
        }
        failed
    }));
    match done {
        Ok(failed) if failed.is_empty() && !interrupt.is_set() => ExitCode::SUCCESS,
        Ok(failed) => {
            println!(
                "\nfailed: {}\nlogs of every component: {}",
                failed.join(", "),
                logs.display()
            );
            ExitCode::FAILURE
        }
        Err(_) => {
            println!("\nthe cluster did not come up\nlogs of every component: {}", logs.display());
            ExitCode::FAILURE
        }
    }
}

/// The names of those that failed.
fn run(scenes: &[Scene], world: &mut World, interrupt: &Interrupt) -> Vec<String> {
    let mut failed = Vec::new();
    let (mut passed, mut left_out) = (0, 0);
    let started = Instant::now();
    // They take part in most scenes: without them nothing else is worth a try.
    if catch_unwind(AssertUnwindSafe(|| fixture::install(world))).is_err() {
        world.save_state("common-pods");
        return vec!["the common pods".to_owned()];
    }
    println!("{:>7.1} s  common pods ready", started.elapsed().as_secs_f64());
    for scene in scenes {
        if interrupt.is_set() {
            println!("interrupted");
            break;
        }
        if scene.needs_nodes && !world.has_nodes() {
            println!("left out  {}: it needs access to the nodes", scene.name());
            left_out += 1;
            continue;
        }
        let clock = Instant::now();
        let done = catch_unwind(AssertUnwindSafe(|| (scene.run)(world)));
        let took = clock.elapsed().as_secs_f64();
        match done {
            Ok(()) => {
                println!("ok    {took:>6.1} s  {}", scene.name());
                passed += 1;
            }
            Err(_) => {
                println!("FAILED {took:>5.1} s  {}", scene.name());
                world.save_state(&scene.name());
                failed.push(scene.name());
            }
        }
    }
    let took = started.elapsed().as_secs_f64();
    println!("\n{passed} passed, {} failed, {left_out} left out, {took:.1} s", failed.len());
    failed
}
