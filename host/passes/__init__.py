"""Passes over the graph: small pure functions `Graph -> Graph`."""

from __future__ import annotations

from collections.abc import Iterable

from ..graph import Graph, Pass
from ..verify import verify
from .fuse_dilation import fuse_dilation
from .fuse_pad import fuse_pad
from .fuse_tables import fuse_tables
from .gather_channels import gather_channels
from .remove_copies import remove_copies
from .remove_reshapes import remove_reshapes
from .remove_unused import remove_unused
from .split_prelu import split_prelu
from .symmetric_weights import symmetric_weights

__all__ = ["DEFAULT_PASSES", "fuse_dilation", "fuse_pad", "fuse_tables", "gather_channels", "remove_copies",
           "remove_reshapes", "remove_unused", "run_passes", "split_prelu", "symmetric_weights"]

DEFAULT_PASSES: tuple[Pass, ...] = (remove_unused, remove_copies, remove_reshapes, gather_channels, fuse_dilation,
                                    fuse_pad, symmetric_weights, split_prelu, fuse_tables)
"""What the compiler runs on every graph, in this order."""


def run_passes(graph: Graph, passes: Iterable[Pass] = DEFAULT_PASSES) -> Graph:
    """Return `graph` after `passes`, verified after each.

    Raises:
        GraphError: a pass left a graph that is not well formed.
    """
    for transform in passes:
        graph = transform(graph)
        verify(graph)
    return graph
