//! Time and allocations of the core's hot paths: `cargo bench -p villein-bench`.

use divan::{AllocProfiler, Bencher};
use villein_bench::{Bench, Case};

#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

/// Rounds for which news is prepared; then it is no news any more, so no more are measured.
const TIMES: u32 = 20_000;
const MEMBERS: [u32; 4] = [10, 100, 1_000, 10_000];

fn main() {
    divan::main();
}

fn rounds(bencher: Bencher<'_, '_>, case: Case, members: u32) {
    let mut bench = Bench::new(case, members, TIMES);
    bencher.bench_local(|| bench.round());
}

#[divan::bench(args = MEMBERS)]
fn ping(bencher: Bencher<'_, '_>, members: u32) {
    rounds(bencher, Case::Ping, members);
}

#[divan::bench(args = MEMBERS)]
fn sealed_ping(bencher: Bencher<'_, '_>, members: u32) {
    rounds(bencher, Case::SealedPing, members);
}

#[divan::bench(args = MEMBERS)]
fn ack(bencher: Bencher<'_, '_>, members: u32) {
    rounds(bencher, Case::Ack, members);
}

#[divan::bench(args = MEMBERS)]
fn eight_known_updates(bencher: Bencher<'_, '_>, members: u32) {
    rounds(bencher, Case::Known, members);
}

#[divan::bench(args = MEMBERS, sample_count = 100, sample_size = 100)]
fn eight_fresh_updates(bencher: Bencher<'_, '_>, members: u32) {
    rounds(bencher, Case::Fresh, members);
}

#[divan::bench(args = MEMBERS)]
fn event_heard_before(bencher: Bencher<'_, '_>, members: u32) {
    rounds(bencher, Case::OldEvent, members);
}

#[divan::bench(args = MEMBERS, sample_count = 100, sample_size = 100)]
fn new_event(bencher: Bencher<'_, '_>, members: u32) {
    rounds(bencher, Case::NewEvent, members);
}

#[divan::bench(args = MEMBERS)]
fn digest(bencher: Bencher<'_, '_>, members: u32) {
    rounds(bencher, Case::Digest, members);
}

#[divan::bench(args = MEMBERS)]
fn push_pull(bencher: Bencher<'_, '_>, members: u32) {
    rounds(bencher, Case::PushPull, members);
}

#[divan::bench(args = MEMBERS)]
fn learn(bencher: Bencher<'_, '_>, members: u32) {
    rounds(bencher, Case::Learn, members);
}
