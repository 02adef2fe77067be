"""Runtime: run a network on a device as one would with any inference library."""

from .session import Session
from .tensors import TensorInfo

__all__ = ["Session", "TensorInfo"]
