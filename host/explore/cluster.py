"""Runs the points of a sweep on a Ray cluster."""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from ..errors import DeviceError, UsageError
from ..graph import Graph
from .points import Network, Point, Row, evaluate
from .sweep import RUNNING, Evaluated, Status, prepare

CONNECT_SECONDS = 30.0
"""For which a cluster may take to answer."""

# What Ray does by itself before a point counts as one that kills its worker.
_RETRIES = 3
# Tasks in flight, per processor of the cluster: enough that none waits for this process.
_QUEUED = 4
_RAY_ERROR = "ray.exceptions."
_CONNECT = "import sys, ray; ray.init(sys.argv[1], log_to_driver=False)"


class RayCluster:
    """A Ray cluster, an `Executor`; each node needs systolith, and g++ for the cycle model.

    Args:
        address: as `ray.init` takes it: HOST:PORT of the head, or "auto".
    """

    def __init__(self, address: str) -> None:
        self._address = address

    def evaluate(self, points: Sequence[Point], graphs: Mapping[Network, Graph], status: Status) -> Evaluated:
        if not points:
            return
        status(f"connecting to Ray at {self._address}")
        self._check()
        import ray  # an extra, and slow to import

        ray.init(self._address, log_to_driver=False, logging_level=logging.CRITICAL)
        waiting = dict[Any, Point]()
        try:
            status(RUNNING)
            task = ray.remote(num_cpus=1, max_retries=_RETRIES)(_evaluate)
            networks = {network: ray.put(graph) for network, graph in graphs.items()}
            todo = iter(points)
            while True:
                room = _QUEUED * max(1, int(ray.cluster_resources().get("CPU", 1))) - len(waiting)
                waiting |= {task.remote(point, networks[point.network]): point for point in islice(todo, max(0, room))}
                if not waiting:
                    return
                for done in ray.wait(list(waiting))[0]:
                    yield waiting.pop(done), self._result(ray, done)
        finally:
            for each in waiting:
                ray.cancel(each, force=True)
            ray.shutdown()

    def _check(self) -> None:
        """Raise `UsageError` unless the cluster answers: `ray.init` would take minutes, and end this process."""
        command = [sys.executable, "-c", _CONNECT, self._address]
        try:
            subprocess.run(command, capture_output=True, text=True, timeout=CONNECT_SECONDS, check=True)
        except subprocess.TimeoutExpired:
            raise UsageError(f"Ray cluster {self._address} must be reachable, but did not answer within "
                             f"{CONNECT_SECONDS:g} s; check the address of its head") from None
        except subprocess.CalledProcessError as error:
            raise UsageError(f"Ray cluster {self._address} must be reachable: {_reason(error.stderr)}") from None

    def _result(self, ray: Any, done: Any) -> Row:
        try:
            return ray.get(done)
        except ray.exceptions.RayTaskError as error:
            if isinstance(error.cause, DeviceError):
                raise error.cause from None
            raise UsageError(f"every node of Ray cluster {self._address} must have this version of systolith; one "
                             f"says: {type(error.cause).__name__}: {error.cause}") from None
        except ray.exceptions.RayError as error:
            raise UsageError(f"Ray cluster {self._address} must run every point, but lost one {_RETRIES + 1} times: "
                             f"{str(error).splitlines()[0]}; run again: finished points are kept") from None


def _reason(traceback: str) -> str:
    """Return what a traceback of Ray's says: its own exception, where there is one, else the last."""
    lines = traceback.strip().splitlines() or ["it gave no reason"]
    return next((line.removeprefix(_RAY_ERROR) for line in lines if line.startswith(_RAY_ERROR)), lines[-1])


def _evaluate(point: Point, graph: Graph) -> Row:
    """Evaluate a point on whatever node this is."""
    prepare([point.config], lambda line: None)
    return evaluate(point, graph)
