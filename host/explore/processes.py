"""Runs the points of a sweep on processes of this computer."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from ..errors import UsageError
from ..graph import Graph
from .points import Network, Point, Row, evaluate
from .sweep import RUNNING, Evaluated, Status, prepare


class Processes:
    """A pool of processes, an `Executor`.

    Args:
        jobs: processes at most; None for one per processor that this process may use.
    """

    def __init__(self, jobs: int | None = None) -> None:
        self._jobs = jobs or len(os.sched_getaffinity(0))

    def evaluate(self, points: Sequence[Point], graphs: Mapping[Network, Graph], status: Status) -> Evaluated:
        prepare((point.config for point in points), status)
        status(RUNNING)
        jobs = min(self._jobs, len(points))
        if jobs <= 1:
            yield from ((point, evaluate(point, graphs[point.network])) for point in points)
            return
        # Fresh processes, because a fork would copy the locks of threads, such as those of a progress bar.
        pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _start_worker, (graphs,))
        try:
            waiting = {pool.submit(_evaluate, point): point for point in points}
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


_graphs: Mapping[Network, Graph] = {}
"""The networks of a worker, which it gets once, when it starts."""


def _evaluate(point: Point) -> Row:
    return evaluate(point, _graphs[point.network])


def _start_worker(graphs: Mapping[Network, Graph]) -> None:
    """Take the networks, leave Ctrl-C to the parent, and end with it however it ends: a pool would wait for ever."""
    global _graphs
    _graphs = graphs
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    assert parent is not None, "a worker has a parent"

    def end() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()
