//! Output that a thread writes, so that a reader who does not read stops nobody but that thread.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use mio::Waker;

use crate::limits::{OUTPUT_BYTES_MAX, OUTPUT_END_MAX, OUTPUT_TEXTS_MAX};

/// Where an agent's output goes: standard output, or a buffer of the embedder. A thread writes to it.
pub type Sink = Box<dyn Write + Send>;

/// Writing needs far less.
const STACK_BYTES: usize = 128 << 10;
/// How long the thread waits for more: lines come in groups, and each must not have a thread of its own.
const LINGER: Duration = Duration::from_secs(1);

/// A sink, and what waits for it. Starts a thread when something must be written, and lets it end soon after the last of it.
pub(crate) struct Outlet {
    shared: Arc<Shared>,
    /// Whether the end has been waited for in vain: once is enough.
    has_stalled: bool,
}

struct Shared {
    state: Mutex<State>,
    /// Told of texts that come and of texts that are written.
    changed: Condvar,
    /// Only the thread has it.
    sink: Mutex<Sink>,
    /// Whether there is a failure to take: the loop asks in every turn.
    has_failed: AtomicBool,
}

#[derive(Default)]
struct State {
    waiting: VecDeque<String>,
    /// Texts and their bytes that are not written, with the one that is being written.
    texts: usize,
    bytes: usize,
    /// Whether there was no room; there is room again when half of it is free, so that there is no notice for every line.
    is_full: bool,
    has_thread: bool,
    is_closing: bool,
    failure: Option<io::Error>,
    waker: Option<Arc<Waker>>,
}

impl State {
    const fn takes(&self, bytes: usize) -> bool {
        // One text may be longer than the bound: measurements are.
        self.texts == 0
            || !self.is_full && self.texts < OUTPUT_TEXTS_MAX && self.bytes.saturating_add(bytes) <= OUTPUT_BYTES_MAX
    }

    /// The loop has something to see to.
    fn wake(&self) {
        if let Some(waker) = &self.waker {
            // Only fails where nobody listens.
            let _ = waker.wake();
        }
    }
}

impl Outlet {
    /// An outlet without a thread.
    pub(crate) fn new(sink: Sink) -> Self {
        let shared = Shared {
            state: Mutex::default(),
            changed: Condvar::new(),
            sink: Mutex::new(sink),
            has_failed: AtomicBool::new(false),
        };
        Self { shared: Arc::new(shared), has_stalled: false }
    }

    /// From now on the loop is woken when something could not be written, and when there is room again after there was none.
    pub(crate) fn set_waker(&mut self, waker: Arc<Waker>) {
        self.shared.lock().waker = Some(waker);
    }

    /// Has a text written; `false`: there is no room for it.
    pub(crate) fn put(&mut self, text: &str) -> bool {
        if text.is_empty() {
            return true;
        }
        let mut state = self.shared.lock();
        if !state.takes(text.len()) {
            state.is_full = true;
            return false;
        }
        state.waiting.push_back(text.to_owned());
        state.texts += 1;
        state.bytes += text.len();
        if state.has_thread {
            self.shared.changed.notify_all();
            return true;
        }
        state.has_thread = true;
        drop(state);
        let shared = Arc::clone(&self.shared);
        let builder = thread::Builder::new().name("output".to_owned()).stack_size(STACK_BYTES);
        if builder.spawn(move || shared.write(LINGER)).is_err() {
            // A host that has no thread to give is to be seen, not to be silent.
            self.shared.write(Duration::ZERO);
        }
        true
    }

    /// Why something could not be written, once for the last that could not.
    pub(crate) fn failure(&mut self) -> Option<io::Error> {
        if !self.shared.has_failed.swap(false, Ordering::Acquire) {
            return None;
        }
        self.shared.lock().failure.take()
    }

    /// Waits until all is written, but for [`OUTPUT_END_MAX`] at most; whether it is.
    pub(crate) fn finish(&mut self) -> bool {
        if !self.has_stalled {
            let state = self.shared.lock();
            let waited = self.shared.changed.wait_timeout_while(state, OUTPUT_END_MAX, |state| state.texts > 0);
            self.has_stalled = waited.unwrap_or_else(PoisonError::into_inner).1.timed_out();
        }
        !self.has_stalled
    }
}

impl Drop for Outlet {
    fn drop(&mut self) {
        self.finish();
        self.shared.lock().is_closing = true;
        self.shared.changed.notify_all();
    }
}

impl Shared {
    /// A panic of the thread leaves nothing half done here.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes what waits and what comes until nothing has come for so long.
    fn write(&self, linger: Duration) {
        let mut sink = self.sink.lock().unwrap_or_else(PoisonError::into_inner);
        let mut state = self.lock();
        loop {
            if let Some(text) = state.waiting.pop_front() {
                drop(state);
                let written = sink.write_all(text.as_bytes()).and_then(|()| sink.flush());
                state = self.lock();
                self.wrote(&mut state, text.len(), written);
                continue;
            }
            let rests = |state: &mut State| state.waiting.is_empty() && !state.is_closing;
            state = self.changed.wait_timeout_while(state, linger, rests).unwrap_or_else(PoisonError::into_inner).0;
            if state.waiting.is_empty() {
                // Before anybody can start the next thread.
                drop(sink);
                state.has_thread = false;
                self.changed.notify_all();
                return;
            }
        }
    }

    fn wrote(&self, state: &mut State, bytes: usize, written: io::Result<()>) {
        state.texts -= 1;
        state.bytes -= bytes;
        let has_room = state.is_full && state.texts <= OUTPUT_TEXTS_MAX / 2 && state.bytes <= OUTPUT_BYTES_MAX / 2;
        state.is_full &= !has_room;
        let has_failed = written.is_err();
        if let Err(error) = written {
            state.failure = Some(error);
            self.has_failed.store(true, Ordering::Release);
        }
        if has_room || has_failed {
            state.wake();
        }
        self.changed.notify_all();
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use mio::{Events, Poll, Token};

    /// Whoever reads a sink, or does not.
    #[derive(Clone, Default)]
    pub(crate) struct Reader(Arc<(Mutex<Read>, Condvar)>);

    #[derive(Default)]
    struct Read {
        text: String,
        /// How many texts are still read.
        reads: usize,
        is_gone: bool,
    }

    /// A reader that does not read yet, and what it should read.
    pub(crate) fn stalled() -> (Reader, Reader) {
        let reader = Reader::default();
        (reader.clone(), reader)
    }

    impl Reader {
        /// Reads so many more.
        fn read(&self, texts: usize) {
            self.0.0.lock().expect("no panic").reads = texts;
            self.0.1.notify_all();
        }

        /// Reads everything from now on.
        pub(crate) fn read_on(&self) {
            self.read(usize::MAX);
        }

        /// What was read.
        pub(crate) fn text(&self) -> String {
            self.0.0.lock().expect("no panic").text.clone()
        }
    }

    impl Outlet {
        /// Waits until no more than so many texts are left to write.
        pub(crate) fn wait_until_left(&self, texts: usize) {
            let state = self.shared.lock();
            drop(self.shared.changed.wait_while(state, |state| state.texts > texts).expect("no panic"));
        }
    }

    impl Write for Reader {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let (read, changed) = &*self.0;
            let mut read =
                changed.wait_while(read.lock().expect("no panic"), |read| read.reads == 0).expect("no panic");
            if read.is_gone {
                return Err(io::ErrorKind::BrokenPipe.into());
            }
            read.reads -= 1;
            read.text.push_str(std::str::from_utf8(bytes).expect("text"));
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_reader_that_stalls_holds_up_nobody_and_gets_everything_in_order() {
        let (reader, sink) = stalled();
        let mut outlet = Outlet::new(Box::new(sink));
        let texts: Vec<String> = (0..1_000).map(|number| format!("{number}\n")).collect();
        assert!(texts.iter().all(|text| outlet.put(text)));
        assert_eq!(reader.text(), "");
        reader.read_on();
        outlet.wait_until_left(0);
        assert_eq!(reader.text(), texts.concat());
    }

    #[test]
    fn texts_and_bytes_that_wait_are_bounded() {
        let refuses = |count: usize, text: &str| {
            let (reader, sink) = stalled();
            let mut outlet = Outlet::new(Box::new(sink));
            let refuses = (0..count).all(|_| outlet.put(text)) && !outlet.put("x");
            reader.read_on();
            refuses
        };
        assert!(refuses(OUTPUT_TEXTS_MAX, "x"));
        assert!(refuses(16, &"x".repeat(OUTPUT_BYTES_MAX / 16)));
        assert!(refuses(1, &"x".repeat(OUTPUT_BYTES_MAX + 1)), "a single one may be longer");
    }

    #[test]
    fn there_is_room_again_when_half_is_read_and_then_the_loop_is_woken() {
        let mut poll = Poll::new().expect("a poll");
        let (reader, sink) = stalled();
        let mut outlet = Outlet::new(Box::new(sink));
        outlet.set_waker(Arc::new(Waker::new(poll.registry(), Token(0)).expect("a waker")));
        while outlet.put("x") {}
        reader.read(OUTPUT_TEXTS_MAX / 2 - 1);
        outlet.wait_until_left(OUTPUT_TEXTS_MAX / 2 + 1);
        assert!(!outlet.put("x"));
        let mut events = Events::with_capacity(1);
        poll.poll(&mut events, Some(Duration::ZERO)).expect("polls");
        assert!(events.is_empty());
        reader.read(1);
        outlet.wait_until_left(OUTPUT_TEXTS_MAX / 2);
        poll.poll(&mut events, Some(Duration::from_secs(10))).expect("polls");
        assert!(!events.is_empty() && outlet.put("x"));
        reader.read_on();
    }

    #[test]
    fn the_thread_ends_when_nothing_is_left() {
        let (reader, sink) = stalled();
        let mut outlet = Outlet::new(Box::new(sink));
        reader.read_on();
        for text in ["one", "two"] {
            assert!(outlet.put(text));
            let state = outlet.shared.lock();
            assert!(state.has_thread);
            drop(outlet.shared.changed.wait_while(state, |state| state.has_thread).expect("no panic"));
        }
        assert_eq!(reader.text(), "onetwo");
    }

    #[test]
    fn a_reader_that_has_gone_is_a_failure_that_wakes_the_loop() {
        let mut poll = Poll::new().expect("a poll");
        let (reader, sink) = stalled();
        let mut outlet = Outlet::new(Box::new(sink));
        outlet.set_waker(Arc::new(Waker::new(poll.registry(), Token(0)).expect("a waker")));
        assert!(outlet.put("x") && outlet.failure().is_none());
        reader.0.0.lock().expect("no panic").is_gone = true;
        reader.read_on();
        let mut events = Events::with_capacity(1);
        poll.poll(&mut events, Some(Duration::from_secs(10))).expect("polls");
        assert!(!events.is_empty());
        assert_eq!(outlet.failure().map(|error| error.kind()), Some(io::ErrorKind::BrokenPipe));
        assert!(outlet.failure().is_none(), "it is told once");
    }
}
