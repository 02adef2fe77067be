"""Registers in a row, and sums that fit one carry chain."""

from typing import Any

from amaranth import Cat, Module, Signal, Value

__all__ = ["add_carry", "delayed"]


def delayed(m: Module, value: Any, cycles: int, name: str, *, reset: bool = True) -> Any:
    """Return ``value`` as it was ``cycles`` cycles ago; the registers are named after ``name``.

    Data that a delayed valid accompanies may go without ``reset``.
    """
    for i in range(cycles):
        stage = Signal.like(value, name=f"{name}_d{i + 1}", reset_less=not reset)
        m.d.sync += stage.eq(value)
        value = stage
    return value


def add_carry(a: Value, b: Value, carry: Value) -> Value:
    """Return ``a + b + carry`` for one carry chain, which synthesis makes of two summands only."""
    return (Cat(carry, a).as_signed() + Cat(carry, b).as_signed())[1:].as_signed()
