//! What fuzzing has found to reach different code is given to every target again.

mod heaviest;

use std::fs;
use std::path::Path;

use villein_fuzz::{TARGETS, Target, corpus, seeds};

/// Gives one input, and says which if that does not go well.
fn give(target: Target, what: &str, bytes: &[u8]) {
    if std::panic::catch_unwind(|| (target.run)(bytes)).is_err() {
        panic!("{} does not bear {what}", target.name);
    }
}

#[test]
fn every_target_bears_its_corpus() {
    for target in TARGETS {
        let inputs = corpus::read(target.name).expect("a corpus");
        assert!(!inputs.is_empty(), "{} has no corpus", target.name);
        for (number, bytes) in inputs.iter().enumerate() {
            give(target, &format!("line {} of its corpus", number + 1), bytes);
        }
    }
}

#[test]
fn every_target_bears_its_seeds_cut_short_and_with_one_byte_wrong() {
    for target in TARGETS {
        let seeds = seeds::of(target.name);
        assert!(!seeds.is_empty(), "{} has no seeds", target.name);
        for (number, seed) in seeds.iter().enumerate() {
            give(target, &format!("seed {number}"), seed);
            let step = seed.len().div_ceil(64).max(1);
            for at in (0..seed.len()).step_by(step) {
                give(target, &format!("seed {number} up to {at}"), &seed[..at]);
                let mut wrong = seed.clone();
                wrong[at] ^= 0x81;
                give(target, &format!("seed {number} with byte {at} wrong"), &wrong);
            }
        }
    }
}

#[test]
fn every_target_has_a_program_of_its_name() {
    let manifest = Path::new(env!("CARGO_MANIFEST_DIR")).join("libfuzzer");
    let text = fs::read_to_string(manifest.join("Cargo.toml")).expect("the manifest");
    for target in TARGETS {
        let program = manifest.join("fuzz_targets").join(format!("{}.rs", target.name));
        assert!(program.exists() && text.contains(&format!("name = \"{}\"", target.name)), "{}", target.name);
    }
}
