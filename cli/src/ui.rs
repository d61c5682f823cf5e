//! What a command says: everything goes to stdout, errors too; only help and usage go to stderr.

use std::io::{self, Write};

use signal_hook::consts::SIGPIPE;
use signal_hook::low_level::emulate_default_handler;

/// Prints one line (or several) and a newline on stdout.
pub(crate) fn say(text: impl AsRef<[u8]>) {
    let mut out = io::stdout().lock();
    finish(out.write_all(text.as_ref()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()));
}

/// Prints one line (or several) and a newline on stderr.
pub(crate) fn complain(text: impl AsRef<[u8]>) {
    let mut err = io::stderr().lock();
    finish(err.write_all(text.as_ref()).and_then(|()| err.write_all(b"\n")));
}

/// A reader that went away ends the process by SIGPIPE, as it ends any other filter; nothing else can be told.
fn finish(written: io::Result<()>) {
    if let Err(error) = written
        && error.kind() == io::ErrorKind::BrokenPipe
    {
        // The runtime of this language ignores the signal at start. Failing to raise it only leaves output unread.
        let _ = emulate_default_handler(SIGPIPE);
    }
}
