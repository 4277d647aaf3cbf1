//! `cargo xtask fuzz TARGET`: libFuzzer on one decoder, with coverage counted in the code under test. Works
//! with the pinned compiler: no nightly, no sanitizer (nothing here is unsafe).

use anyhow::Result;

use crate::exec;

/// Coverage, as libFuzzer wants it counted.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
     -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
     -Cllvm-args=-sanitizer-coverage-pc-table -Ccodegen-units=1 -Cdebug-assertions";

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Which decoder
    #[arg(value_parser = ["xds-address", "xds-authorization", "xds-response", "yaml"])]
    target: String,
    /// How long
    #[arg(long, default_value_t = 60)]
    seconds: u32,
}

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let bin = format!("fuzz-{}", arguments.target);
    let target = exec::root().join("target/fuzz");
    let corpus = target.join(format!("corpus/{}", arguments.target));
    std::fs::create_dir_all(&corpus)?;
    let mut command = exec::cargo();
    command.env("RUSTFLAGS", FLAGS).env("CARGO_TARGET_DIR", &target);
    command.args(["run", "--release", "-p", "fuzz", "--features", "libfuzzer"]);
    command.args(["--config", "profile.release.lto=false"]);
    // With a target triple the flags are not those of build scripts, which have no coverage to count.
    command.args(["--target", "x86_64-unknown-linux-gnu", "--bin", &bin, "--"]);
    command.arg(format!("-max_total_time={}", arguments.seconds)).arg(&corpus);
    command.arg(format!("-artifact_prefix={}/{}-", target.display(), arguments.target));
    exec::run(&mut command, "the bytes that did it are in the file named above")
}
