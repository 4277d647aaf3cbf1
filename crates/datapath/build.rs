//! Compiles `bpf/` with clang-19 and links the program files into one object with one skeleton.
//! The test programs of `bpf/tests` become an object of their own that production never loads.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use libbpf_cargo::SkeletonBuilder;
use libbpf_rs::Linker;

const CLANG: &str = "clang-19";

fn main() -> Result<()> {
    let manifest = PathBuf::from(env::var("CARGO_MANIFEST_DIR")?);
    let bpf = manifest.join("../../bpf").canonicalize()?;
    let out = PathBuf::from(env::var("OUT_DIR")?);
    println!("cargo:rerun-if-changed={}", bpf.display());

    link_object(&bpf, &bpf.join("progs"), &out, "kmesh")?;
    link_object(&bpf, &bpf.join("tests"), &out, "kmesh_test")?;
    Ok(())
}

/// Builds every `*.bpf.c` of `sources`, links them to `<out>/<name>.bpf.o` and writes the skeleton.
fn link_object(bpf: &Path, sources: &Path, out: &Path, name: &str) -> Result<()> {
    let linked = out.join(format!("{name}.bpf.o"));
    let mut linker = Linker::new(&linked)?;
    for source in program_files(sources)? {
        let stem =
            source.file_name().context("a source has a name")?.to_string_lossy().into_owned();
        let object = out.join(format!("{name}-{stem}.o"));
        compile(bpf, &source, &object)?;
        linker.add_file(&object)?;
    }
    linker.link()?;
    SkeletonBuilder::new()
        .obj(&linked)
        .reference_obj(true)
        .generate(out.join(format!("{name}.skel.rs")))
        .with_context(|| format!("skeleton of {}", linked.display()))
}

fn program_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files: Vec<_> = folder
        .read_dir()?
        .map(|entry| Ok(entry?.path()))
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .filter(|path| path.to_string_lossy().ends_with(".bpf.c"))
        .collect();
    files.sort();
    Ok(files)
}

fn compile(bpf: &Path, source: &Path, object: &Path) -> Result<()> {
    let include = bpf.join("include");
    let multiarch = format!("/usr/include/{}-linux-gnu", env::var("CARGO_CFG_TARGET_ARCH")?);
    SkeletonBuilder::new()
        .source(source)
        .obj(object)
        .clang(CLANG)
        .clang_args([
            "-I",
            &include.to_string_lossy(),
            "-idirafter",
            &multiarch,
            "-mcpu=v3",
            "-Wall",
            "-Wextra",
            "-Wno-unused-parameter",
            "-Wno-sign-compare",
            "-Wno-missing-declarations",
            "-Werror",
        ])
        .build()
        .with_context(|| {
            format!("{CLANG} on {}: `cargo xtask deps` installs the compiler", source.display())
        })
}
