//! Patterns and filters that peers and clients write.

use villein_core::go_regex::GoRegex;
use villein_core::limits;
use villein_core::rpc::StreamFilter;

use crate::measure::within;
use crate::pick::Pick;

/// Bytes that two patterns and matching with them may hold.
const HELD_MAX: usize = 32 << 20;

/// A filter of a query or a listing against any value, and the filter of a stream.
pub(crate) fn filter(bytes: &[u8]) {
    within(HELD_MAX, || matched(bytes));
}

fn matched(bytes: &[u8]) {
    let mut pick = Pick::new(bytes);
    let value = pick.bytes();
    let pattern = pick.rest();
    let _ = StreamFilter::parse(pattern);
    // As a peer's query may have them; that larger ones are refused is for the core's tests.
    let compiled = |pattern: &[u8]| GoRegex::within(pattern, &mut { limits::FILTERS_PROGRAM_BYTES_MAX as usize });
    match (compiled(pattern), compiled(&[b"^", pattern, b"$"].concat())) {
        (Ok(free), Ok(bound)) => assert!(!bound.is_match(value) || free.is_match(value), "a match of all is a match"),
        (Err(free), _) => _ = free.to_string(),
        (Ok(_), Err(bound)) => _ = bound.to_string(),
    }
}
