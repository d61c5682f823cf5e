//! Names looked up off the loop.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread;

use mio::Waker;
use villein_core::io::{Host, ResolveError, ResolveId};

use crate::address;
use crate::limits::NAMES_WAITING_MAX;

/// The system's resolver needs far less.
const STACK_BYTES: usize = 512 << 10;

/// Where the addresses of a name arrive.
pub(crate) type Found = (ResolveId, Result<Box<[SocketAddr]>, ResolveError>);

/// Starts a thread when a name must be looked up, and lets it end when none is left.
pub(crate) struct Resolver {
    waker: Arc<Waker>,
    worker: Option<Worker>,
}

struct Worker {
    names: SyncSender<(ResolveId, Box<Host>)>,
    found: Receiver<Found>,
    waiting: usize,
}

impl Resolver {
    /// A resolver without a thread.
    pub(crate) const fn new(waker: Arc<Waker>) -> Self {
        Self { waker, worker: None }
    }

    /// Looks a name up; the answer is there when the waker has woken the loop.
    ///
    /// # Errors
    /// Why it cannot be looked up now: too many wait, or there is no thread.
    pub(crate) fn ask(&mut self, id: ResolveId, host: Box<Host>) -> Result<(), ResolveError> {
        let worker = match &mut self.worker {
            Some(worker) => worker,
            none => none.insert(Worker::start(&self.waker).map_err(|error| {
                ResolveError(format!("lookup {}: no thread for it: {}", host.name, address::errno_text(&error)))
            })?),
        };
        if worker.waiting == NAMES_WAITING_MAX {
            return Err(ResolveError(format!(
                "lookup {}: {NAMES_WAITING_MAX} other names are being looked up",
                host.name
            )));
        }
        let name = host.name.clone();
        worker
            .names
            .try_send((id, host))
            .map_err(|_| ResolveError(format!("lookup {name}: the resolver has ended")))?;
        worker.waiting += 1;
        Ok(())
    }

    /// The next answer that is there.
    pub(crate) fn take(&mut self) -> Option<Found> {
        let worker = self.worker.as_mut()?;
        match worker.found.try_recv() {
            Ok(found) => {
                worker.waiting -= 1;
                if worker.waiting == 0 {
                    self.worker = None;
                }
                Some(found)
            }
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => {
                self.worker = None;
                None
            }
        }
    }
}

impl Worker {
    fn start(waker: &Arc<Waker>) -> io::Result<Self> {
        let (names, asked) = sync_channel::<(ResolveId, Box<Host>)>(NAMES_WAITING_MAX);
        let (answers, found) = sync_channel(NAMES_WAITING_MAX);
        let waker = Arc::clone(waker);
        thread::Builder::new().name("resolver".to_owned()).stack_size(STACK_BYTES).spawn(move || {
            for (id, host) in asked {
                let result = address::look_up(&host.name, host.port).map_err(ResolveError);
                if answers.send((id, result)).is_err() || waker.wake().is_err() {
                    return;
                }
            }
        })?;
        Ok(Self { names, found, waiting: 0 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use mio::{Events, Poll, Token};
    use std::time::Duration;

    #[test]
    fn names_that_wait_are_bounded() {
        let mut poll = Poll::new().expect("a poll");
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).expect("a waker"));
        let mut resolver = Resolver::new(waker);
        let ask = |resolver: &mut Resolver, id| {
            resolver.ask(ResolveId(id), Box::new(Host { name: "127.0.0.9".into(), port: 7 }))
        };
        // However soon they are found: what nobody has taken waits.
        for id in 0..NAMES_WAITING_MAX as u64 {
            assert_eq!(ask(&mut resolver, id), Ok(()));
        }
        let refusal = format!("lookup 127.0.0.9: {NAMES_WAITING_MAX} other names are being looked up");
        assert_eq!(ask(&mut resolver, 1_000), Err(ResolveError(refusal)));
        let mut events = Events::with_capacity(1);
        while resolver.take().is_none() {
            poll.poll(&mut events, Some(Duration::from_secs(10))).expect("is woken");
        }
        assert_eq!(ask(&mut resolver, 1_000), Ok(()));
    }

    #[test]
    fn names_are_looked_up_by_a_thread_that_ends_with_the_last_of_them() {
        let mut poll = Poll::new().expect("a poll");
        let waker = Arc::new(Waker::new(poll.registry(), Token(0)).expect("a waker"));
        let mut resolver = Resolver::new(waker);
        for (id, name) in ["127.0.0.9", "127.0.0.8"].into_iter().enumerate() {
            let host = Host { name: name.to_owned(), port: 7 };
            resolver.ask(ResolveId(id as u64), Box::new(host)).expect("is asked");
        }
        let mut found = Vec::new();
        let mut events = Events::with_capacity(1);
        while found.len() < 2 {
            match resolver.take() {
                Some(answer) => found.push(answer),
                None => poll.poll(&mut events, Some(Duration::from_secs(10))).expect("is woken"),
            }
        }
        let want = ["127.0.0.9:7", "127.0.0.8:7"].map(|addr| addr.parse().expect("an address"));
        for (index, (id, result)) in found.into_iter().enumerate() {
            assert_eq!((id, result), (ResolveId(index as u64), Ok([want[index]].into())));
        }
        assert!(resolver.worker.is_none(), "the thread has nothing left to do");
    }
}
