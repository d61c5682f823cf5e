//! Fuzz targets: functions that take any bytes and panic if something holds that must not.
//!
//! `libfuzzer/` runs each under coverage-guided mutation, `corpus/` keeps what was found to reach different code, and the
//! tests of this crate replay that on the stable compiler.

pub mod corpus;
mod files;
mod measure;
mod node;
mod pick;
mod rpc;
pub mod seeds;
mod text;
mod wire;

/// One thing to which bytes from outside are given.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// The name of its corpus and of its program.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
}

/// Every target.
pub const TARGETS: [Target; 20] = [
    Target { name: "packet", run: wire::packet },
    Target { name: "label", run: wire::label },
    Target { name: "sealed", run: wire::sealed },
    Target { name: "opened", run: wire::opened },
    Target { name: "compound", run: wire::compound },
    Target { name: "lzw", run: wire::lzw },
    Target { name: "native", run: wire::native },
    Target { name: "memberlist", run: wire::memberlist },
    Target { name: "stream", run: wire::stream },
    Target { name: "mdns", run: wire::mdns },
    Target { name: "rpc_session", run: rpc::session },
    Target { name: "rpc_client", run: rpc::client },
    Target { name: "msgpack", run: rpc::msgpack },
    Target { name: "snapshot", run: files::snapshot },
    Target { name: "tags_file", run: files::tags },
    Target { name: "keyring_file", run: files::keyring },
    Target { name: "config_file", run: files::config },
    Target { name: "scenario", run: files::scenario },
    Target { name: "filter", run: text::filter },
    Target { name: "node", run: node::run },
];

/// Gives bytes to the target of that name.
///
/// # Panics
/// If there is no such target, or if it finds a defect.
pub fn run(name: &str, bytes: &[u8]) {
    let target = TARGETS.iter().find(|target| target.name == name).expect("a target");
    (target.run)(bytes);
}
