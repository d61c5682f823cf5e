//! Writes the inputs with which the fuzzers begin: `seeds DIR` makes a folder for each target in DIR.

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use villein_fuzz::{TARGETS, seeds};

fn main() -> ExitCode {
    let Some(out) = std::env::args_os().nth(1) else {
        eprintln!("usage: seeds DIR");
        return ExitCode::FAILURE;
    };
    for target in TARGETS {
        if let Err(error) = write(&Path::new(&out).join(target.name), &seeds::of(target.name)) {
            eprintln!("{}: {error}", target.name);
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn write(folder: &Path, inputs: &[Vec<u8>]) -> std::io::Result<()> {
    fs::create_dir_all(folder)?;
    inputs.iter().enumerate().try_for_each(|(number, input)| fs::write(folder.join(format!("seed-{number}")), input))
}
