"""Evaluates points on several processes, in whatever order they finish."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from ...hw.config import AcceleratorConfig
from ...sim.timing import TimingModel
from ..errors import DeviceError, UsageError
from .points import Point, Row, evaluate


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0))


def prepare(configs: Iterable[AcceleratorConfig], status: Callable[[str], None]) -> None:
    """Compile the cycle models of the configurations, each once.

    Raises:
        DeviceError: it cannot be compiled.
    """
    for config in {config.word_bytes: config for config in configs}.values():
        try:
            TimingModel(config, progress=status)
        except RuntimeError as error:
            raise DeviceError(str(error).splitlines()[0].rstrip(":")) from error


def evaluate_all(points: Sequence[Point], jobs: int) -> Generator[tuple[Point, Row], None, None]:
    """Yield every point with what `evaluate` returns, as soon as it is finished, on at most `jobs` processes.

    Close the iterator when it is not wanted to its end, so that the processes end, too.

    Raises:
        UsageError: a process was killed.
    """
    jobs = min(jobs, len(points))
    if jobs <= 1:
        yield from ((point, evaluate(point)) for point in points)
        return
    # Fresh processes, because a fork would copy the locks of threads, such as those of a progress bar.
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), initializer=_start_worker)
    try:
        waiting = {pool.submit(evaluate, point): point for point in points}
        for done in as_completed(waiting):
            yield waiting.pop(done), done.result()
    except BrokenProcessPool:
        raise UsageError(f"each of {jobs} processes must have the memory that it needs, but one was killed; choose "
                         "fewer with --jobs and run again: finished points are kept") from None
    except BaseException:  # interrupted, or closed by who asks
        for worker in multiprocessing.active_children():
            worker.kill()  # else the end of the program waits for what they are at, or for ever
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and end with it however it ends: a pool's process would wait for ever."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker has a parent"

    def end() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()
