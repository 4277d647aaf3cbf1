//! `cluster-node`: the first process of a node of the test cluster, and the way into one.
#![forbid(unsafe_code)]

use std::ffi::OsString;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<OsString> = std::env::args_os().skip(1).collect();
    match cluster::node_init::main(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cluster-node: {error:#}");
            ExitCode::FAILURE
        }
    }
}
