//! Compiles the protobuf files with protox, so that no `protoc` is needed.

fn main() -> Result<(), Box<dyn std::error::Error>> {
    const FILES: [&str; 4] = [
        "kapu/v1/lock.proto",
        "kapu/v1/cluster.proto",
        "kapu/v1/raft.proto",
        "kapu/v1/log.proto",
    ];
    println!("cargo:rerun-if-changed=proto");
    let descriptors = protox::compile(FILES, ["proto"])?;
    tonic_prost_build::configure().bytes(".").compile_fds(descriptors)?;
    Ok(())
}
