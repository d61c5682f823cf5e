//! The tables, each figure beside the published one.

use std::fmt::Write as _;

use super::figures::{Figure, Figures, Times};
use super::published;
use super::{CONCURRENT, REPETITIONS, Sample};

const FALSE_POSITIVES: fn(&Sample) -> u64 = |sample| sample.false_positives;
const AT_HEALTHY: fn(&Sample) -> u64 = |sample| sample.at_healthy;
const PACKETS: fn(&Sample) -> u64 = |sample| sample.packets;
const BYTES: fn(&Sample) -> u64 = |sample| sample.bytes;

/// All tables of these rows, in Markdown that is aligned as it stands.
pub fn text(rows: &[Figures]) -> String {
    let mut text = String::new();
    for table in [runs, false_positives, by_concurrent, latency, load, tuned, acceptance_table] {
        let table = table(rows);
        if !table.is_empty() {
            let _ = writeln!(text, "{table}");
        }
    }
    text
}

fn runs(rows: &[Figures]) -> String {
    let mut table = Table::new("Runs", &["row", "interval runs", "threshold runs", "detections"]);
    for row in rows {
        let counts = [row.interval_runs, row.threshold_runs, row.first.count()].map(|count| thousands(count as u128));
        table.row([row.row.name.to_owned()].into_iter().chain(counts));
    }
    table.finish()
}

fn false_positives(rows: &[Figures]) -> String {
    let title = "False positives (table IV), scaled to 4,320 interval runs; published in brackets";
    let mut table = Table::new(title, &["row", "FP", "FP at healthy", "FP % of SWIM", "FP at healthy % of SWIM"]);
    for row in rows {
        let known = published::FALSE_POSITIVES.iter().find(|(name, ..)| *name == row.row.name);
        let known_swim = published::FALSE_POSITIVES[0];
        let cell = |of, known: Option<u64>| beside(total(row, of), known.map(|known| thousands(u128::from(known))));
        let share = |of, known: Option<(u64, u64)>| {
            let share = share(row, swim(rows), of);
            beside(share, known.map(|(known, swim)| percent(known.into(), swim.into())))
        };
        table.row([
            row.row.name.to_owned(),
            cell(FALSE_POSITIVES, known.map(|known| known.1)),
            cell(AT_HEALTHY, known.map(|known| known.2)),
            share(FALSE_POSITIVES, known.map(|known| (known.1, known_swim.1))),
            share(AT_HEALTHY, known.map(|known| (known.2, known_swim.2))),
        ]);
    }
    table.finish()
}

fn by_concurrent(rows: &[Figures]) -> String {
    let title = "False positives by concurrent anomalies (figure 2), scaled to 480 runs a column";
    let mut text = String::new();
    for (title, of, known) in [
        (title, FALSE_POSITIVES, published::BY_CONCURRENT),
        ("The same at healthy members (figure 3)", AT_HEALTHY, published::HEALTHY_BY_CONCURRENT),
    ] {
        let heads: Vec<String> = CONCURRENT.iter().map(|count| format!("C={count}")).collect();
        let heads: Vec<&str> = ["row"].into_iter().chain(heads.iter().map(String::as_str)).collect();
        let mut table = Table::new(title, &heads);
        for row in rows.iter().filter(|row| !row.row.tuned) {
            let counts = CONCURRENT.map(|count| {
                let total = row.total(of, REPETITIONS, Some(count));
                total.map_or_else(|| "-".to_owned(), |total| thousands((total.milli + 500) / 1_000))
            });
            table.row([row.row.name.to_owned()].into_iter().chain(counts));
            if let Some((_, known)) = known.iter().find(|(name, _)| *name == row.row.name) {
                let known = known.map(|known| format!("({})", thousands(u128::from(known))));
                table.row(["".to_owned()].into_iter().chain(known));
            }
        }
        let _ = writeln!(text, "{}", table.finish());
    }
    text.trim_end().to_owned() + "\n"
}

fn latency(rows: &[Figures]) -> String {
    let title = "Seconds from the anomaly to the first report and to that of the last healthy member (table V)";
    let heads = ["row", "first median", "first 99 %", "first 99.9 %", "full median", "full 99 %", "full 99.9 %"];
    let mut table = Table::new(title, &heads);
    for row in rows.iter().filter(|row| !row.row.tuned) {
        let known = published::LATENCY_MS.iter().find(|(name, ..)| *name == row.row.name);
        let mut cells = vec![row.row.name.to_owned()];
        for (times, known) in [(&row.first, known.map(|known| known.1)), (&row.full, known.map(|known| known.2))] {
            for (place, permille) in [500, 990, 999].into_iter().enumerate() {
                cells.push(beside(timed(times, permille), known.map(|known| seconds(known[place]))));
            }
        }
        table.row(cells);
    }
    table.finish()
}

fn load(rows: &[Figures]) -> String {
    let title = "Message load (table VI), scaled to 4,320 interval runs";
    let mut table = Table::new(title, &["row", "packets (M)", "bytes (GiB)", "packets % of SWIM", "bytes % of SWIM"]);
    for row in rows.iter().filter(|row| !row.row.tuned) {
        let known = published::LOAD.iter().find(|(name, ..)| *name == row.row.name);
        let swims = published::LOAD[0];
        table.row([
            row.row.name.to_owned(),
            beside(
                row.total(PACKETS, REPETITIONS, None).map(|total| hundredths(total.milli / 10_000_000)),
                known.map(|known| hundredths(known.1.into())),
            ),
            beside(
                row.total(BYTES, REPETITIONS, None).map(|total| hundredths(total.milli / 10 / (1 << 30))),
                known.map(|known| hundredths(known.2.into())),
            ),
            beside(share(row, swim(rows), PACKETS), known.map(|known| percent(known.1.into(), swims.1.into()))),
            beside(share(row, swim(rows), BYTES), known.map(|known| percent(known.2.into(), swims.2.into()))),
        ]);
    }
    table.finish()
}

fn tuned(rows: &[Figures]) -> String {
    let title = "Lifeguard with other α, β, in percent of SWIM (table VII)";
    let heads = [
        "row",
        "median first",
        "median full",
        "99 % first",
        "99 % full",
        "99.9 % first",
        "99.9 % full",
        "FP",
        "FP healthy",
    ];
    let mut table = Table::new(title, &heads);
    let Some(swim) = swim(rows) else { return String::new() };
    for (name, known) in published::TUNED {
        let Some(row) = rows.iter().find(|row| row.row.name == name) else { continue };
        let mut cells = vec![name.to_owned()];
        for (place, (permille, full)) in
            [(500, false), (500, true), (990, false), (990, true), (999, false), (999, true)].into_iter().enumerate()
        {
            let of = |row: &Figures| if full { row.full.at(permille) } else { row.first.at(permille) };
            let part = of(row).zip(of(swim)).map(|(time, swim)| percent(time.into(), swim.into()));
            cells.push(beside(part, Some(hundredths(known[place].into()))));
        }
        for (place, of) in [(6, FALSE_POSITIVES), (7, AT_HEALTHY)] {
            cells.push(beside(share(row, Some(swim), of), Some(hundredths(known[place].into()))));
        }
        table.row(cells);
    }
    table.finish()
}

/// One band of protocol.md 4.8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Band {
    /// What is measured.
    pub quantity: String,
    /// From where to where it may be, in hundredths of its unit.
    pub band: (u128, u128),
    /// What it is; `None`: not enough was run.
    pub measured: Option<u128>,
}

impl Band {
    /// Whether it is met.
    pub fn is_met(&self) -> bool {
        self.measured.is_some_and(|measured| (self.band.0..=self.band.1).contains(&measured))
    }
}

/// The bands within which the reproduction is accepted (protocol.md 4.8), as far as something was run for them.
pub fn acceptance(rows: &[Figures]) -> Vec<Band> {
    let find = |name: &str| rows.iter().find(|row| row.row.name == name);
    let mut bands = Vec::new();
    let mut add = |quantity: String, low: u128, high: u128, measured: Option<u128>| {
        if measured.is_some() {
            bands.push(Band { quantity, band: (low, high), measured });
        }
    };
    for (name, first, full) in published::LATENCY_MS {
        let Some(row) = find(name) else { continue };
        for (what, times, known) in [("first", &row.first, first), ("full", &row.full, full)] {
            for (rank, permille, place, off) in [("median", 500, 0, 3), ("99 %", 990, 1, 6)] {
                if off > 3 && !row.is_whole {
                    continue;
                }
                let part = times.at(permille).map(|time| u128::from(time) * 10_000 / u128::from(known[place]));
                let quantity = format!("{name}: {what} {rank}, % of the published");
                add(quantity, (100 - off) * 100, (100 + off) * 100, part);
            }
        }
    }
    for (name, known) in published::TUNED {
        let (Some(row), Some(swim)) = (find(name), swim(rows)) else { continue };
        for (what, of, place) in [("first", (&row.first, &swim.first), 0), ("full", (&row.full, &swim.full), 1)] {
            let part =
                of.0.at(500).zip(of.1.at(500)).map(|(time, swim)| {
                    u128::from(time) * 10_000 * 10_000 / u128::from(swim) / u128::from(known[place])
                });
            add(format!("{name}: {what} median / SWIM, % of the published"), 9_700, 10_300, part);
        }
    }
    let part = |name, of: fn(&Sample) -> u64| {
        let (row, swim) = (find(name)?.total(of, REPETITIONS, None)?, swim(rows)?.total(of, REPETITIONS, None)?);
        (row.milli * 10_000).checked_div(swim.milli)
    };
    for count in CONCURRENT {
        let total = |name| find(name)?.total(FALSE_POSITIVES, REPETITIONS, Some(count));
        let part = total("Lifeguard").zip(total("SWIM"));
        let part = part.and_then(|(row, swim)| (row.milli * 10_000).checked_div(swim.milli));
        add(format!("FP: Lifeguard / SWIM at C={count}, %"), 0, 1_000, part);
    }
    if !rows.iter().all(|row| row.is_whole) {
        return bands;
    }
    add("FP: LHA-Suspicion / SWIM, %".to_owned(), 200, 500, part("LHA-Suspicion", FALSE_POSITIVES));
    add("FP: Lifeguard / SWIM, %".to_owned(), 100, 400, part("Lifeguard", FALSE_POSITIVES));
    add("FP at healthy: Lifeguard / SWIM, %".to_owned(), 0, 500, part("Lifeguard", AT_HEALTHY));
    for (name, of, what, low, high) in [
        ("LHA-Probe", PACKETS, "packets", 9_700, 10_100),
        ("LHA-Suspicion", PACKETS, "packets", 10_800, 11_800),
        ("Buddy System", PACKETS, "packets", 9_900, 10_100),
        ("Lifeguard", PACKETS, "packets", 10_800, 11_800),
        ("LHA-Probe", BYTES, "bytes", 8_300, 9_300),
        ("Lifeguard", BYTES, "bytes", 9_500, 10_200),
    ] {
        add(format!("{what}: {name} / SWIM, %"), low, high, part(name, of));
    }
    let absolute = swim(rows).and_then(|row| row.total(FALSE_POSITIVES, REPETITIONS, None));
    add("FP of SWIM over 4,320 runs".to_owned(), 20_000_000, 60_000_000, absolute.map(|total| total.milli / 10));
    bands
}

fn acceptance_table(rows: &[Figures]) -> String {
    let mut table = Table::new("Acceptance (the bands of the reference)", &["quantity", "band", "measured", ""]);
    for band in acceptance(rows) {
        let (low, high) = band.band;
        let range = format!("{} to {}", hundredths(low), hundredths(high));
        let word = if band.is_met() { "met" } else { "NOT MET" };
        table.row([band.quantity.clone(), range, band.measured.map_or_else(String::new, hundredths), word.to_owned()]);
    }
    table.finish()
}

fn swim(rows: &[Figures]) -> Option<&Figures> {
    rows.iter().find(|row| row.row.name == "SWIM")
}

fn total(row: &Figures, of: fn(&Sample) -> u64) -> Option<String> {
    let Figure { milli, off_milli } = row.total(of, REPETITIONS, None)?;
    let off = if off_milli > 0 { format!(" ±{}", thousands((off_milli + 500) / 1_000)) } else { String::new() };
    Some(thousands((milli + 500) / 1_000) + &off)
}

fn share(row: &Figures, swim: Option<&Figures>, of: fn(&Sample) -> u64) -> Option<String> {
    let (row, swim) = (row.total(of, REPETITIONS, None)?, swim?.total(of, REPETITIONS, None)?);
    (swim.milli > 0).then(|| percent(row.milli, swim.milli))
}

fn timed(times: &Times, permille: u64) -> Option<String> {
    let ((low, high), time) = (times.interval(permille)?, times.at(permille)?);
    Some(format!("{} [{}, {}]", seconds(time), seconds(low), seconds(high)))
}

fn beside(measured: Option<String>, known: Option<String>) -> String {
    let known = known.map_or_else(String::new, |known| format!(" ({known})"));
    measured.unwrap_or_else(|| "-".to_owned()) + &known
}

fn percent(part: u128, whole: u128) -> String {
    hundredths((part * 10_000).checked_div(whole).unwrap_or_default())
}

pub(super) fn hundredths(number: u128) -> String {
    format!("{}.{:02}", thousands(number / 100), number % 100)
}

fn seconds(millis: u64) -> String {
    hundredths(u128::from(millis + 5) / 10)
}

fn thousands(number: u128) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// An aligned table of Markdown.
pub(super) struct Table {
    title: String,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub(super) fn new(title: &str, heads: &[&str]) -> Self {
        Self { title: title.to_owned(), rows: vec![heads.iter().map(|head| (*head).to_owned()).collect()] }
    }

    pub(super) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows.push(cells.into_iter().collect());
    }

    /// Empty if there is no row.
    pub(super) fn finish(self) -> String {
        if self.rows.len() < 2 {
            return String::new();
        }
        let length = |place: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(place));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let mut text = format!("### {}\n\n", self.title);
        for (number, row) in self.rows.iter().enumerate() {
            for (place, cell) in row.iter().enumerate() {
                let gap = " ".repeat(length(place) - cell.chars().count());
                let _ = if place == 0 { write!(text, "| {cell}{gap} ") } else { write!(text, "| {gap}{cell} ") };
            }
            text.push_str("|\n");
            if number == 0 {
                for place in 0..row.len() {
                    let dashes = "-".repeat(length(place));
                    let _ = if place == 0 { write!(text, "|-{dashes}-") } else { write!(text, "|-{dashes}:") };
                }
                text.push_str("|\n");
            }
        }
        text
    }
}
