"""Gating of the array: what cells do not spend where they have nothing to do."""

import enum

__all__ = ["Gating"]


class Gating(enum.StrEnum):
    """What is gated; each includes the one before. The gates themselves cost nothing here, so these are bounds.

    The gateware has none: its array is clocked in every cycle.
    """

    NONE = "none"
    CLOCK = "clock"  # the cells' registers are clocked for words alone: once each per word
    ZERO = "zero"    # and a product with a zero operand costs nothing; its addition and registers still do
