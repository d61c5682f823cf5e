//! What the runs of one row come to, in integers.

use super::{Book, Job, Plan, Row, Sample};

/// A number and how far off it may be: half of its 95 % interval.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Figure {
    /// The number, in thousandths.
    pub milli: u128,
    /// Half of the interval, in thousandths; zero where there is one repetition only.
    pub off_milli: u128,
}

/// Times in milliseconds at some ranks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Times(Vec<u64>);

impl Times {
    /// Sorts times.
    pub fn new(mut times: Vec<u64>) -> Self {
        times.sort_unstable();
        Self(times)
    }

    /// The time at so many thousandths of the ranks; `None` without any.
    pub fn at(&self, permille: u64) -> Option<u64> {
        let last = self.0.len().checked_sub(1)?;
        let rank = (self.0.len() as u128 * u128::from(permille)).div_ceil(1_000).max(1) - 1;
        self.0.get(usize::try_from(rank).ok()?.min(last)).copied()
    }

    /// The 95 % interval around that: by ranks, so that nothing is assumed of how times are spread.
    pub fn interval(&self, permille: u64) -> Option<(u64, u64)> {
        let count = self.0.len() as u128;
        // 1.96 standard deviations of a binomial rank, in thousandths of a rank.
        let spread = (count * u128::from(permille) * u128::from(1_000 - permille)).isqrt() * 1_960 / 1_000;
        let rank = count * u128::from(permille);
        let place = |rank: u128| usize::try_from(rank / 1_000).unwrap_or(usize::MAX).min(self.0.len() - 1);
        (count > 0).then(|| (self.0[place(rank.saturating_sub(spread))], self.0[place(rank + spread)]))
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.0.len()
    }
}

/// The runs of one row.
#[derive(Clone, Debug)]
pub struct Figures {
    /// Which row.
    pub row: Row,
    /// How many interval runs there are.
    pub interval_runs: usize,
    /// How many threshold runs.
    pub threshold_runs: usize,
    /// Whether what was run is all that the paper ran, if less often.
    pub(super) is_whole: bool,
    /// Of the interval runs: how many members each cell had hit, and its samples.
    cells: Vec<(u32, Vec<Sample>)>,
    /// Times to the first report.
    pub first: Times,
    /// Times until all have reported.
    pub full: Times,
}

impl Figures {
    /// Gathers what the book has of a row.
    pub fn gather(book: &Book, plan: &Plan, row: Row) -> Self {
        let plan = Plan { rows: vec![row], ..plan.clone() };
        let one = Plan { repetitions: 0..1, ..plan.clone() };
        let repeated = |job: &Job| -> Vec<Sample> {
            let jobs = plan.repetitions.clone().map(|repetition| Job { repetition, ..*job });
            jobs.filter_map(|job| book.sample(&job)).cloned().collect()
        };
        let (once, again): (Vec<Job>, Vec<Job>) = one.jobs().into_iter().partition(|job| job.interval_ms.is_none());
        let cells: Vec<(u32, Vec<Sample>)> = again.iter().map(|job| (job.concurrent, repeated(job))).collect();
        let once: Vec<Sample> = once.iter().flat_map(repeated).collect();
        let times = |of: fn(&Sample) -> &Vec<u64>| Times::new(once.iter().flat_map(of).copied().collect());
        Self {
            row,
            interval_runs: cells.iter().map(|(_, samples)| samples.len()).sum(),
            threshold_runs: once.len(),
            is_whole: one.jobs().len() == Plan::whole(0..1, vec![row], plan.model).jobs().len(),
            cells,
            first: times(|sample| &sample.first_ms),
            full: times(|sample| &sample.full_ms),
        }
    }

    /// The sum over all cells, as if each had run `repetitions` times; of those that hit `concurrent` members only, if
    /// that is said. `None`: a cell has no run, or there is no cell.
    pub fn total(&self, of: fn(&Sample) -> u64, repetitions: u32, concurrent: Option<u32>) -> Option<Figure> {
        let (mut sum, mut variance, mut any) = (0_u128, 0_u128, false);
        let cells = self.cells.iter().filter(|(count, _)| concurrent.is_none_or(|wanted| wanted == *count));
        for (_, samples) in cells {
            any = true;
            let count = samples.len() as u128;
            let values = || samples.iter().map(|sample| u128::from(of(sample)) * 1_000);
            let mean = values().sum::<u128>().checked_div(count)?;
            sum += mean;
            if count > 1 {
                // The variance of the cell's mean, in millionths.
                variance += values().map(|value| value.abs_diff(mean).pow(2)).sum::<u128>() / (count - 1) / count;
            }
        }
        let factor = u128::from(repetitions);
        any.then(|| Figure { milli: sum * factor, off_milli: variance.isqrt() * 196 / 100 * factor })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_are_those_of_the_sorted_times() {
        let times = Times((1..=1_000).collect());
        assert_eq!((times.at(500), times.at(990), times.at(999)), (Some(500), Some(990), Some(999)));
        // 500 ± 1.96 · √250 = 469 … 531
        assert_eq!(times.interval(500), Some((470, 531)));
        assert_eq!(Times::default().at(500), None);
        assert_eq!(Times::default().interval(500), None);
    }

    #[test]
    fn a_total_is_scaled_to_the_repetitions_and_knows_how_far_off_it_may_be() {
        let sample = |false_positives| Sample { false_positives, ..Sample::default() };
        let figures = Figures {
            row: super::super::ROWS[0],
            interval_runs: 4,
            threshold_runs: 0,
            is_whole: false,
            cells: vec![(1, vec![sample(10), sample(14)]), (4, vec![sample(5), sample(5)])],
            first: Times::default(),
            full: Times::default(),
        };
        let total = figures.total(|sample| sample.false_positives, 10, None).expect("every cell has runs");
        // Means 12 and 5; the first cell's mean varies by 8 / 2 = 4, so by ± 1.96 · 2 · 10.
        assert_eq!(total, Figure { milli: 170_000, off_milli: 39_200 });
        let some = figures.total(|sample| sample.false_positives, 10, Some(4));
        assert_eq!(some, Some(Figure { milli: 50_000, off_milli: 0 }));
    }
}
