//! How far a long command is: a bar on a terminal, now and then a line where there is none.

use std::io::IsTerminal as _;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// How often a line tells of the progress where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(30);

/// How far a long command is.
pub(crate) struct Progress {
    bar: ProgressBar,
    begun: Instant,
    told: Mutex<Instant>,
}

impl Progress {
    /// So many of what is counted are to come.
    #[expect(clippy::disallowed_methods, reason = "the time that a person waits, not the simulated one")]
    pub(crate) fn new(length: u64, what: &str) -> Self {
        let bar = if std::io::stderr().is_terminal() {
            let style = ProgressStyle::with_template(&format!("{{bar:40}} {{pos}}/{{len}} {what}, {{eta}} to go"));
            ProgressBar::new(length).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
        } else {
            ProgressBar::hidden()
        };
        let begun = Instant::now();
        Self { bar, begun, told: Mutex::new(begun) }
    }

    /// So many are done; `line` says it in words.
    pub(crate) fn reach(&self, done: u64, line: impl FnOnce() -> String) {
        self.bar.set_position(done);
        let mut told = self.told.lock().expect("no thread panics while it tells");
        let silent = told.elapsed();
        if self.bar.is_hidden() && silent >= LINE_EVERY {
            *told += silent;
            eprintln!("{}", line());
        }
    }

    /// Says something without disturbing the bar.
    pub(crate) fn say(&self, text: &str) {
        self.bar.suspend(|| eprintln!("{text}"));
    }

    /// How long it has taken.
    pub(crate) fn elapsed(&self) -> Duration {
        self.begun.elapsed()
    }

    /// It is over.
    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
