//! What reading may allocate.

/// Does something, and holds what it has allocated at any one time against a bound.
///
/// # Panics
/// If it was more.
pub(crate) fn within<T>(most: usize, act: impl FnOnce() -> T) -> T {
    let mut result = None;
    let used = allocation_counter::measure(|| result = Some(act()));
    assert!(used.bytes_max <= most as u64, "{} bytes are held at one time, at most {most} may be", used.bytes_max);
    result.expect("it was done")
}
