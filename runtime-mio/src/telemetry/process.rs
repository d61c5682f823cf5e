//! What the system says of this process.

use std::fs;

use super::to_float;

/// The gauges of upstream's runtime that mean something here: `alloc_bytes` is the memory in use, `sys_bytes` the
/// address space, and what runs side by side are threads. Empty where there is no /proc.
pub(crate) fn gauges() -> impl Iterator<Item = (&'static str, f64)> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    [
        ("VmRSS:", "runtime.alloc_bytes", 1_024),
        ("VmSize:", "runtime.sys_bytes", 1_024),
        ("Threads:", "runtime.num_goroutines", 1),
    ]
    .into_iter()
    .filter_map(move |(key, name, unit)| Some((name, to_float(field(&status, key)? * unit))))
}

fn field(status: &str, key: &str) -> Option<u64> {
    let value = status.lines().find_map(|line| line.strip_prefix(key))?;
    value.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_uses_memory_and_has_a_thread() {
        let gauges: Vec<_> = gauges().collect();
        assert_eq!(gauges.len(), 3);
        assert!(gauges.iter().all(|(_, value)| *value >= 1.0), "{gauges:?}");
        assert_eq!(field("VmRSS:\t    5040 kB\n", "VmRSS:"), Some(5_040));
        assert_eq!(field("VmRSS:\n", "VmRSS:"), None);
    }
}
