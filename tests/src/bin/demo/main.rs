//! The demo: real services on the real kernel, told step by step, and removed again.
#![forbid(unsafe_code)]

mod curl;
mod keep;
mod nodes;
mod outage;
mod probe;
mod screen;
mod shop;
mod stage;
mod story;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::ExitCode;

use clap::Parser;
use testkit::{Interrupt, Interrupted};

/// What a shell returns for a program that Ctrl-C ended.
const INTERRUPTED: u8 = 130;

/// Show the mesh at work on this machine, then remove everything
#[derive(Debug, Parser)]
#[command(name = "demo", version, max_term_width = 100)]
struct Args {
    /// Leave everything up, and print commands to play with
    #[arg(long)]
    keep: bool,
    /// Remove what a demo with --keep, or a killed one, left; do nothing else
    #[arg(long, conflicts_with = "keep")]
    clean: bool,
}

fn main() -> ExitCode {
    let args = Args::parse();
    if !probe::is_root() {
        eprintln!("The demo makes network namespaces and loads BPF programs: run it as root.");
        return ExitCode::FAILURE;
    }
    if args.clean {
        stage::clean();
        return ExitCode::SUCCESS;
    }
    let interrupt = Interrupt::catch();
    say_panics_plainly(interrupt.clone());
    // The test bench under the demo panics when it meets something unexpected; its Drops clean up.
    let told = catch_unwind(AssertUnwindSafe(|| story::tell(args.keep, &interrupt)));
    match told {
        Ok(Ok(())) => ExitCode::SUCCESS,
        _ if interrupt.is_set() => ExitCode::from(INTERRUPTED),
        Ok(Err(error)) if error.is::<Interrupted>() => ExitCode::from(INTERRUPTED),
        Ok(Err(error)) => {
            eprintln!("\nThe demo failed: {error:#}");
            ExitCode::FAILURE
        }
        // The hook has said it.
        Err(_) => ExitCode::FAILURE,
    }
}

fn say_panics_plainly(interrupt: Interrupt) {
    std::panic::set_hook(Box::new(move |info| {
        if !interrupt.is_set() {
            eprintln!("\nThe demo failed: {}", info.payload_as_str().unwrap_or("unknown cause"));
        }
    }));
}
