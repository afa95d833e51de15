//! Placeholder until the build tool is merged.
fn main() {
    let out = std::env::var("OUT_DIR").expect("cargo sets OUT_DIR");
    let object =
        std::env::var("ARFW_BPF_OBJECT").map(|path| std::fs::read(path).expect("the object"));
    std::fs::write(format!("{out}/arfw-xdp.o"), object.unwrap_or_default()).expect("OUT_DIR");
    println!("cargo:rerun-if-env-changed=ARFW_BPF_OBJECT");
}
