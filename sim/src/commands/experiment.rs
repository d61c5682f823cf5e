//! `sim experiment`.

use std::ops::Range;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::atomic::Ordering;

use super::progress::Progress;
use villein_sim::experiment::{
    Book, Figures, Model, Plan, ROWS, Row, SwimPlan, acceptance, run, swim, swim_text, text,
};

/// Repeat a published experiment and put its tables beside the published ones.
#[derive(clap::Args)]
pub(crate) struct Experiment {
    #[command(subcommand)]
    which: Which,
}

#[derive(clap::Subcommand)]
enum Which {
    Lifeguard(Lifeguard),
    Swim(Swim),
}

/// Lifeguard (arXiv 1707.00788): false positives, latency and load of 128 nodes of which some are held up.
///
/// Each run is a line of --out; runs that stand there are not played again, so that a measurement that was ended goes on by
/// the same command. Exit codes: 0 every band of the reference is met that something was run for; 1 one is not; 2 bad usage.
#[derive(clap::Args)]
struct Lifeguard {
    /// Repetitions to play, the last one not included; the paper has ten of 432 interval runs and 54 threshold runs a row.
    #[arg(long, value_name = "A..B", default_value = "0..1", value_parser = repetitions)]
    repetitions: Range<u32>,
    /// Rows by their names or how these begin, such as SWIM;Lifeguard or "Lifeguard 2"; all of them by default.
    #[arg(long, value_name = "ROW", value_delimiter = ';')]
    rows: Vec<String>,
    /// What an anomaly does to a member.
    #[arg(long, default_value = "actor-gate", value_parser = model)]
    model: Model,
    /// A few runs that show the same in seconds.
    #[arg(long)]
    quick: bool,
    /// Play nothing, and write the tables of what stands in --out.
    #[arg(long)]
    tables: bool,
    /// The book of the runs; with --quick there is none by default.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Threads; as many as there are cores by default.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
}

fn repetitions(text: &str) -> Result<Range<u32>, String> {
    super::range(text, "0..10")
}

fn model(text: &str) -> Result<Model, String> {
    let known = Model::ALL.map(Model::name);
    Model::ALL
        .into_iter()
        .find(|model| model.name() == text)
        .ok_or_else(|| format!("no such model; known: {}", known.join(", ")))
}

impl Experiment {
    pub(crate) fn execute(self) -> ExitCode {
        match self.which {
            Which::Lifeguard(lifeguard) => lifeguard.execute(),
            Which::Swim(swim) => swim.execute(),
        }
    }
}

/// SWIM (DSN 2002): load, detection, infection and a group under loss, as far as the core can be set to its protocol.
///
/// Exit code: 0. Ctrl-C ends it with what is known so far.
#[derive(clap::Args)]
struct Swim {
    /// Clusters for each point.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..))]
    repetitions: u64,
    /// Threads; as many as there are cores by default.
    #[arg(long, value_name = "N")]
    jobs: Option<usize>,
}

impl Swim {
    fn execute(self) -> ExitCode {
        let (plan, stop) = (SwimPlan { repetitions: self.repetitions }, super::interrupted());
        let progress = Progress::new(plan.runs(), "clusters");
        let figures = swim(plan, super::threads(self.jobs), &stop, &|done| {
            progress.reach(done, || format!("{done} of {} clusters", plan.runs()));
        });
        progress.finish();
        super::print(&swim_text(plan, &figures));
        if stop.load(Ordering::Relaxed) {
            eprintln!("ended early: this is what is known so far");
        }
        ExitCode::SUCCESS
    }
}

impl Lifeguard {
    fn execute(self) -> ExitCode {
        let rows = match self.rows() {
            Ok(rows) => rows,
            Err(error) => {
                eprintln!("{error}");
                return ExitCode::from(2);
            }
        };
        let plan = if self.quick {
            Plan { model: self.model, ..Plan::quick() }
        } else {
            Plan::whole(self.repetitions.clone(), rows, self.model)
        };
        let default = (!self.quick).then(|| PathBuf::from("lifeguard.jsonl"));
        let (mut book, name) = match self.out.clone().or(default) {
            None => (Book::in_memory(), "memory".to_owned()),
            Some(path) => match Book::open(&path) {
                Ok(book) => (book, path.display().to_string()),
                Err(error) => {
                    eprintln!("{}: {error}", path.display());
                    return ExitCode::from(2);
                }
            },
        };
        if !self.tables
            && let Err(error) = self.play(&plan, &mut book)
        {
            eprintln!("{name}: {error}");
            return ExitCode::from(2);
        }
        let rows: Vec<Figures> = plan.rows.iter().map(|&row| Figures::gather(&book, &plan, row)).collect();
        super::print(&format!("model of the anomaly: {}\n\n{}", plan.model.name(), text(&rows)));
        if acceptance(&rows).iter().all(villein_sim::experiment::Band::is_met) {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        }
    }

    fn rows(&self) -> Result<Vec<Row>, String> {
        if let Some(unknown) = self.rows.iter().find(|name| !ROWS.iter().any(|row| row.name.starts_with(name.as_str())))
        {
            let known = ROWS.map(|row| row.name);
            return Err(format!("no row begins with \"{unknown}\"; known: {}", known.join("; ")));
        }
        // A whole name is that row alone: "Lifeguard" is also how others begin.
        let is_whole = |name: &str| ROWS.iter().any(|row| row.name == name);
        let is_meant = |row: &Row, name: &str| row.name == name || (!is_whole(name) && row.name.starts_with(name));
        let wanted = |row: &Row| self.rows.is_empty() || self.rows.iter().any(|name| is_meant(row, name));
        Ok(ROWS.into_iter().filter(wanted).collect())
    }

    fn play(&self, plan: &Plan, book: &mut Book) -> std::io::Result<()> {
        let stop = super::interrupted();
        let jobs = plan.jobs();
        let progress = Progress::new(jobs.len() as u64, "runs");
        run(&jobs, book, super::threads(self.jobs), &stop, &|done| {
            progress.reach(done as u64, || format!("{done} of {} runs", jobs.len()));
        })?;
        progress.finish();
        if stop.load(Ordering::Relaxed) {
            eprintln!("ended early; the same command goes on");
        }
        Ok(())
    }
}
