//! An agent that is recorded, as long as that can be done.

use std::fs;

use villein_runtime_mio::RecordOptions;

use crate::client::{map, text};
use crate::support::Running;

#[test]
fn an_agent_goes_on_when_its_recording_can_no_longer_be_written() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("recording");
    // Segments of a few bytes: the next one is due soon, and has no place any more.
    let record = RecordOptions { directory: path.clone(), limit: 64 };
    let one = Running::start("r1", "127.45.4.1", |options| options.record = Some(record));
    one.output.wait_for("[WARN] agent: Recording to ");
    fs::remove_dir_all(&path).expect("it was there");
    let mut client = one.client();
    let event = |client: &mut crate::client::Client| {
        client.call("event", Some(map([("Name", text("load")), ("Payload", text(&"x".repeat(400)))])))
    };
    for _ in 0..200 {
        assert_eq!(event(&mut client), "");
    }
    one.output.wait_for("[ERR] agent: The recording is interrupted, it cannot be written: ");
    assert_eq!(event(&mut client), "");
    one.wait_for_members(&[("r1", "alive")]);
    let told = one.output.lines().iter().filter(|line| line.contains("The recording is interrupted")).count();
    assert_eq!(told, 1, "it is said once");
}
