//! Between the corpora and what libFuzzer wants, a folder of files for each target.

use std::fs;
use std::io;
use std::path::Path;
use std::process::ExitCode;

use villein_fuzz::{TARGETS, corpus, seeds};

const USAGE: &str = "usage: corpus seeds DIR    write the inputs with which a corpus begins to DIR/TARGET/
       corpus unpack DIR   write the inputs of each corpus to DIR/TARGET/
       corpus pack DIR     make the files of each DIR/TARGET/ that there is its corpus";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments[..] {
        ["seeds", dir] => unpack(dir, |target| Ok(seeds::of(target))),
        ["unpack", dir] => unpack(dir, corpus::read),
        ["pack", dir] => pack(dir),
        _ => {
            eprintln!("{USAGE}");
            return ExitCode::FAILURE;
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn unpack(dir: &str, inputs: impl Fn(&str) -> io::Result<Vec<Vec<u8>>>) -> io::Result<()> {
    for target in TARGETS {
        let folder = Path::new(dir).join(target.name);
        fs::create_dir_all(&folder)?;
        for (number, input) in inputs(target.name)?.iter().enumerate() {
            fs::write(folder.join(format!("{number:04}")), input)?;
        }
    }
    Ok(())
}

fn pack(dir: &str) -> io::Result<()> {
    for target in TARGETS {
        let folder = Path::new(dir).join(target.name);
        if folder.exists() {
            let files = fs::read_dir(folder)?.map(|entry| fs::read(entry?.path()));
            corpus::write(target.name, files.collect::<io::Result<_>>()?)?;
        }
    }
    Ok(())
}
