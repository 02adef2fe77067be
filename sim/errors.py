"""The one exception of the instruction-level machine."""

from ..hw.isa import ErrorCode, Unit

__all__ = ["MachineError"]


class MachineError(RuntimeError):
    """The core stopped on an instruction.

    ``code`` says why, ``unit`` which unit stopped (``None`` for fetch and dispatch), ``index`` is the position of the
    instruction in its program. ``str(error)`` is one line.
    """

    def __init__(self, code: ErrorCode, unit: Unit | None, index: int, message: str):
        where = "dispatch" if unit is None else unit.name
        super().__init__(f"{code.name} error at instruction {index} ({where}): {message}")
        self.code = code
        self.unit = unit
        self.index = index
        self.message = message
