//! Many threads that work through one list.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Does the pieces 0 to `count` on so many threads, until all are taken up or `stop` is set. What comes of them is taken in one
/// by one, in the order in which they end. How many were taken up.
pub(crate) fn work<R>(
    count: u64,
    threads: usize,
    stop: &AtomicBool,
    one: &(dyn Fn(u64) -> R + Sync),
    take: &mut (dyn FnMut(R) + Send),
) -> u64 {
    let (next, take) = (AtomicU64::new(0), Mutex::new(take));
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let piece = next.fetch_add(1, Ordering::Relaxed);
                    if piece >= count {
                        return;
                    }
                    let result = one(piece);
                    let mut take = take.lock().expect("no thread panics while it takes something in");
                    take(result);
                }
            });
        }
    });
    next.into_inner().min(count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_piece_is_done_once_and_none_after_a_stop() {
        let stop = AtomicBool::new(false);
        let mut seen = Vec::new();
        assert_eq!(work(100, 3, &stop, &|piece| piece, &mut |piece| seen.push(piece)), 100);
        seen.sort_unstable();
        assert_eq!(seen, (0..100).collect::<Vec<u64>>());
        let taken = work(100, 1, &stop, &|piece| piece, &mut |piece| stop.store(piece == 4, Ordering::Relaxed));
        assert_eq!(taken, 5);
    }
}
