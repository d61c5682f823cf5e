//! `count CASE TIMES MEMBERS` does something so many times with a node that knows so many members, and nothing else: the
//! difference of two runs under `valgrind --tool=callgrind` is what the rounds between them take.

use std::process::ExitCode;

use villein_bench::{Bench, Case};

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let case = words.first().and_then(|word| Case::ALL.iter().find(|(name, _)| name == word));
    let number = |place: usize| words.get(place).and_then(|word| word.parse::<u32>().ok());
    let (Some(&(_, case)), Some(times), Some(members)) = (case, number(1), number(2)) else {
        let names: Vec<&str> = Case::ALL.iter().map(|(name, _)| *name).collect();
        eprintln!("usage: count {} TIMES MEMBERS", names.join("|"));
        return ExitCode::from(2);
    };
    Bench::new(case, members, times.max(1)).rounds(times);
    ExitCode::SUCCESS
}
