//! Compiles the BPF programs and generates their Rust skeletons, the record
//! types among them, from C.

use libbpf_cargo::SkeletonBuilder;
use std::env;
use std::path::PathBuf;

fn main() {
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR for build scripts"));
    for name in ["destroy", "setopt", "softirq", "sweep", "tap"] {
        let source = format!("bpf/{name}.bpf.c");
        if let Err(error) = SkeletonBuilder::new()
            .source(&source)
            .clang_args(["-Wall", "-Werror", "-Wno-missing-declarations"])
            .build_and_generate(out.join(format!("{name}.skel.rs")))
        {
            panic!(
                "compiling {source} failed: {error:#}\n\
                 It needs clang (Debian: apt-get install clang libelf-dev zlib1g-dev libpcap-dev pkg-config make)."
            );
        }
    }
    println!("cargo:rerun-if-changed=bpf");
}
