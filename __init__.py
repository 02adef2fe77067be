"""Systolith: an open int8 neural-network accelerator, its simulator, compiler and driver."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .host.compiler import compile_model
    from .host.errors import SystolithError
    from .host.program import Program
    from .host.runtime import Session
    from .hw.config import AcceleratorConfig

__all__ = ["AcceleratorConfig", "Program", "Session", "SystolithError", "compile_model"]

_HOMES = {
    "AcceleratorConfig": ".hw.config", "Program": ".host.program", "Session": ".host.runtime",
    "SystolithError": ".host.errors", "compile_model": ".host.compiler",
}


def __getattr__(name: str) -> Any:
    # Looked up on first use: who wants the hardware alone does not load the compiler.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name], __name__), name)
