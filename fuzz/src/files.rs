//! Files: what an agent reads when it starts, and what the simulator plays.

use villein_core::snapshot::{NoticeKind, parse};
use villein_sim::scenario::Scenario;

/// A snapshot; what is read of it is written and read again.
pub(crate) fn snapshot(bytes: &[u8]) {
    for rejoin in [false, true] {
        let book = parse(bytes, rejoin).book;
        let again = parse(&book.compact(), rejoin);
        // That it has left is kept, and passed over again where that is asked for.
        let only_that = again.notices.iter().all(|notice| rejoin && notice.kind == NoticeKind::LeaveIgnored);
        assert!(only_that && !again.torn, "{:?}", again.notices);
        assert!(book.alive().eq(again.book.alive()), "who is alive is forgotten");
        assert!(book.failed().eq(again.book.failed()), "who has failed is forgotten");
        assert_eq!(
            (book.clock(), book.event_clock(), book.query_clock(), book.incarnation(), book.has_left()),
            (
                again.book.clock(),
                again.book.event_clock(),
                again.book.query_clock(),
                again.book.incarnation(),
                again.book.has_left()
            )
        );
    }
}

pub(crate) fn tags(bytes: &[u8]) {
    let tags = villein_cli::read::tags(bytes);
    if let Ok(tags) = tags {
        let again = villein_cli::read::write_tags(&tags).and_then(|text| villein_cli::read::tags(&text));
        assert_eq!(again.as_ref(), Ok(&tags));
    }
}

pub(crate) fn keyring(bytes: &[u8]) {
    let keys = villein_cli::read::keys(bytes);
    if let Ok(keys) = keys {
        let again = villein_cli::read::write_keys(&keys).and_then(|text| villein_cli::read::keys(&text));
        assert_eq!(again.as_ref(), Ok(&keys));
    }
}

pub(crate) fn config(bytes: &[u8]) {
    let _ = villein_cli::read::config(bytes);
}

pub(crate) fn scenario(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    if let Err(error) = Scenario::parse("fuzz.toml", &text) {
        assert!(error.to_string().starts_with("fuzz.toml"), "{error}");
    }
}
