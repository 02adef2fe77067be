"""Registers in a row."""

from typing import Any

from amaranth import Module, Signal

__all__ = ["delayed"]


def delayed(m: Module, value: Any, cycles: int, name: str, *, reset: bool = True) -> Any:
    """Return ``value`` as it was ``cycles`` cycles ago; the registers are named after ``name``.

    Data that a delayed valid accompanies may go without ``reset``.
    """
    for i in range(cycles):
        stage = Signal.like(value, name=f"{name}_d{i + 1}", reset_less=not reset)
        m.d.sync += stage.eq(value)
        value = stage
    return value
