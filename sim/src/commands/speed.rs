//! `sim speed`.

use std::process::ExitCode;
use std::time::Duration;

use villein_sim::speed::{json, measure, text};

use super::progress::Progress;
use crate::Format;

/// Say how fast the simulator is here: what quiet seconds of formed clusters cost on one core, and what part of it push/pull is.
///
/// Exit codes: 0 measured; 2 bad usage.
#[derive(clap::Args)]
pub(crate) struct Speed {
    /// How many nodes, one cluster after the other.
    #[arg(long, value_delimiter = ',', default_value = "10,100,1000", value_parser = clap::value_parser!(u64).range(2..=20_000))]
    nodes: Vec<u64>,
    /// How many simulated seconds.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// What to write.
    #[arg(long, value_enum, default_value_t = Format::Text)]
    format: Format,
}

impl Speed {
    pub(crate) fn execute(self) -> ExitCode {
        if cpu().is_none() {
            eprintln!("CPU time is read from /proc/thread-self/schedstat, which is not there: this needs Linux");
            return ExitCode::from(2);
        }
        let progress = Progress::new(self.nodes.len() as u64, "clusters");
        let mut speeds = Vec::new();
        for (done, &nodes) in self.nodes.iter().enumerate() {
            progress.reach(done as u64, || format!("{done} of {} clusters", self.nodes.len()));
            match measure(nodes, self.seconds, &|| cpu().unwrap_or_default()) {
                Ok(speed) => speeds.push(speed),
                Err(error) => {
                    eprintln!("{error}");
                    return ExitCode::from(2);
                }
            }
        }
        progress.finish();
        super::print(&match self.format {
            Format::Text => text(&speeds),
            Format::Json => json(&speeds),
        });
        ExitCode::SUCCESS
    }
}

/// CPU time of this thread, as Linux counts it; `None` elsewhere.
fn cpu() -> Option<Duration> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    text.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}
