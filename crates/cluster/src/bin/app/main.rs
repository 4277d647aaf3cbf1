//! `cluster-app`: the one program of test pods. It serves, and its agent does what a test asks for.
#![forbid(unsafe_code)]
#![allow(
    clippy::unwrap_used,
    reason = "test code: a pod that meets something unexpected stops, and the test sees that"
)]

mod agent;
mod client;
mod load;
mod measure;
mod servers;

use std::io::Read;
use std::process::ExitCode;
use std::time::Duration;

use cluster::app::{AGENT_PORT, tell};
use nix::sys::signal::{SigSet, Signal};

/// Longer than any request but a measurement takes.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["pause"] => wait_for_the_end(blocked()),
        ["serve"] => serve(Duration::ZERO),
        // How long it goes on after it was asked to end, so that everybody hears of its end in time.
        ["serve", drain_ms] => serve(Duration::from_millis(drain_ms.parse().unwrap())),
        ["tell"] => return ask_the_agent(),
        ["ask", to] => return ask_once(to),
        _ => {
            eprintln!(
                "cluster-app pause | serve [DRAIN_MILLISECONDS] | ask HOST:PORT | tell <REQUEST"
            );
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn serve(drain: Duration) {
    let signals = blocked();
    let records = servers::start();
    agent::start(records);
    wait_for_the_end(signals);
    std::thread::sleep(drain);
}

/// The process with number 1 of a container ignores what it does not ask for; threads inherit this.
fn blocked() -> SigSet {
    let signals: SigSet = [Signal::SIGTERM, Signal::SIGINT].into_iter().collect();
    signals.thread_block().unwrap();
    signals
}

fn wait_for_the_end(signals: SigSet) {
    let _ = signals.wait();
}

/// One connection, at once.
fn ask_once(to: &str) -> ExitCode {
    let answer = client::ask(to, None);
    println!("{answer:?}");
    if answer.error.is_none() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn ask_the_agent() -> ExitCode {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text).unwrap();
    let request = serde_json::from_str(&text).unwrap();
    match tell(([127, 0, 0, 1], AGENT_PORT).into(), &request, PATIENCE) {
        Ok(response) => {
            println!("{}", serde_json::to_string(&response).unwrap());
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("cluster-app: {error}");
            ExitCode::FAILURE
        }
    }
}
