//! How `serf` is linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| std::env::var(name).is_ok_and(|text| text.split(',').any(|part| part == value));
    // At a fixed address nothing has to be relocated at start-up, and the 160 kB of tables with pointers in them are pages
    // that all agents of a host share. Go's programs are linked like this, too.
    let linux = is("CARGO_CFG_TARGET_OS", "linux") && is("CARGO_CFG_TARGET_ENV", "gnu");
    if linux && is("PROFILE", "release") && !is("CARGO_CFG_TARGET_FEATURE", "crt-static") {
        println!("cargo:rustc-link-arg-bins=-no-pie");
    }
}
