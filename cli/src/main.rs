//! The program `serf`.

use std::process::ExitCode;

fn main() -> ExitCode {
    villein_cli::main()
}
