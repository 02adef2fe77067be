"""What runs the points of a sweep, in whatever order they finish: processes of this computer or a cluster."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import Protocol

from ...hw.config import AcceleratorConfig
from ...sim.timing import TimingModel
from ..errors import DeviceError
from ..graph import Graph
from .points import Network, Point, Row

Status = Callable[[str], None]
"""Called with one line on what goes on."""

Evaluated = Generator[tuple[Point, Row], None, None]
"""Points with what `points.evaluate` returned. Close it when its end is not wanted, so that all work ends, too."""

RUNNING = "exploring"


class Executor(Protocol):
    """Evaluates points somewhere."""

    def evaluate(self, points: Sequence[Point], graphs: Mapping[Network, Graph], status: Status) -> Evaluated:
        """Yield every point, once, with its result, as soon as it is finished.

        Args:
            points: what to evaluate.
            graphs: the networks of the points.
            status: called with one line on what goes on.

        Raises:
            DeviceError: a cycle model cannot be compiled.
            UsageError: a process or the cluster went away; points that it has yielded are kept by who asked.
        """
        ...


def prepare(configs: Iterable[AcceleratorConfig], status: Status) -> None:
    """Compile the cycle models of the configurations, each once.

    Raises:
        DeviceError: it cannot be compiled.
    """
    for config in {config.word_bytes: config for config in configs}.values():
        try:
            TimingModel(config, progress=status)
        except RuntimeError as error:
            raise DeviceError(str(error).splitlines()[0].rstrip(":")) from error
