//! Compiles `proto/` with a compiler in Rust: no protoc is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let files = ["workload.proto", "security.proto", "discovery.proto", "details.proto"];
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(files, ["proto"])?;
    tonic_prost_build::configure()
        .build_server(true)
        .btree_map(".")
        .bytes(".envoy.service.discovery.v3.Payload.value")
        .codec_path("crate::codec::Codec")
        .compile_fds(descriptors)?;
    Ok(())
}
