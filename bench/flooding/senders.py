"""Processes that send, so that who measures is not slowed down by them."""
import multiprocessing
import resource
import time

CONTEXT = multiprocessing.get_context("fork")


class Senders:
    """Processes that each do a job, `(work, *arguments)`, as `work(number, until, *arguments)`; each gives a dict of numbers."""

    def __init__(self, seconds, jobs):
        self.pipe, theirs = CONTEXT.Pipe(duplex=False)
        until = time.monotonic() + seconds
        self.processes = [CONTEXT.Process(target=run, args=(theirs, work, number, until, arguments), daemon=True)
                          for number, (work, *arguments) in enumerate(jobs)]
        for process in self.processes:
            process.start()
        theirs.close()
        self.counts, self.waiting = {}, len(self.processes)

    def running(self):
        """Whether one is not done yet."""
        while self.waiting and self.pipe.poll():
            for key, value in self.pipe.recv().items():
                self.counts[key] = self.counts.get(key, 0) + value
            self.waiting -= 1
        return self.waiting > 0

    def end(self):
        for process in self.processes:
            process.join(10)
            if process.is_alive():
                process.kill()
                process.join()
        self.pipe.close()


def run(pipe, work, number, until, arguments):
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        pipe.send(work(number, until, *arguments))
    except BaseException as problem:  # It must be seen, and the others go on.
        pipe.send({f"sender failed: {problem!r}": 1})
        raise
