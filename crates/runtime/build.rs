//! Tells the crate which compiler builds it: `Version::current()` reports it.

use std::process::Command;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    for name in ["KMESH_GIT_COMMIT", "KMESH_GIT_TREE_STATE", "KMESH_BUILD_DATE"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let compiler = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let text = match Command::new(compiler).arg("--version").output() {
        Ok(output) => String::from_utf8_lossy(&output.stdout).trim().to_owned(),
        Err(_) => "rustc".to_owned(),
    };
    println!("cargo:rustc-env=KMESH_COMPILER={text}");
}
