"""Orders in which the four units may run a program.

`run_in_order` is the plain one. `run_at_random` takes any order that the hardware could take: units drift apart as far
as their tokens and the dispatch queues allow, and an instruction's reads and writes land anywhere between its start
and its retirement. A program whose results do not depend on the seed has sufficient tokens.
"""

import random
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

import numpy.typing as npt

from ..hw.isa import ErrorCode, Unit
from .errors import MachineError
from .memories import Memories
from .steps import Step

__all__ = ["run_at_random", "run_in_order"]

_UNITS = len(Unit)
_DISPATCH = 2 * _UNITS
_EVENTS = 2 * _UNITS + 1  # start on each unit, retire on each unit, dispatch
# Units keep their relative speeds for this many events on average, so that some run far ahead of others.
_STEADY = 24


def _deadlock(step: Step, retired: Sequence[int], why: str) -> MachineError:
    unit = next(u for u in Unit if step.waits[u] > retired[u])
    return MachineError(ErrorCode.WATCHDOG, step.unit, step.index,
                        f"wait_{unit.name.lower()} must be reachable, not {step.waits[unit]} "
                        f"with {retired[unit]} {unit.name} instructions {why}")


def run_in_order(steps: Sequence[Step], memories: Memories, watch: Callable[[Step], None] | None = None) -> None:
    """Run in program order, and call ``watch`` with each step before it reads.

    Raises ``MachineError``: the error of the first bad instruction, or WATCHDOG when a token names an instruction
    that is not earlier in the program.
    """
    retired = [0] * _UNITS
    for step in steps:
        if any(wait > count for wait, count in zip(step.waits, retired, strict=True)):
            raise _deadlock(step, retired, "before it")
        unit = step.runnable_unit()
        if watch:
            watch(step)
        step.commit(memories, step.fetch(memories))
        retired[unit] += 1


class _Flight:
    """An instruction between start and retirement; its reads and writes happen at either end."""

    def __init__(self, step: Step, memories: Memories, rng: random.Random):
        self.step = step
        self._value: npt.NDArray[Any] | None = None
        self._write_early = rng.random() < 1 / 3
        if self._write_early or rng.random() < 1 / 2:
            self._value = step.fetch(memories)
            if self._write_early:
                step.commit(memories, self._value)

    def retire(self, memories: Memories) -> None:
        if not self._write_early:
            value = self.step.fetch(memories) if self._value is None else self._value
            self.step.commit(memories, value)


class _Core:
    """Queues, units and counters of one randomly ordered run."""

    def __init__(self, steps: Sequence[Step], memories: Memories, queue_depth: int, rng: random.Random):
        self.steps, self.memories, self.depth, self.rng = steps, memories, queue_depth, rng
        self.next = 0
        self.retired = [0] * _UNITS
        self.queues: list[deque[Step]] = [deque() for _ in Unit]
        self.flights: list[_Flight | None] = [None] * _UNITS

    def dispatch(self) -> bool:
        if self.next == len(self.steps):
            return False
        step = self.steps[self.next]
        unit = step.runnable_unit() if step.unit is None else step.unit
        if len(self.queues[unit]) == self.depth:
            return False
        self.queues[unit].append(step)
        self.next += 1
        return True

    def start(self, unit: int) -> bool:
        queue = self.queues[unit]
        if self.flights[unit] is not None or not queue:
            return False
        step = queue[0]
        if any(wait > count for wait, count in zip(step.waits, self.retired, strict=True)):
            return False
        for flight in self.flights:
            if flight and step.acc_half is not None and step.acc_half == flight.step.acc_half:
                raise MachineError(ErrorCode.ACC_CONFLICT, step.unit, step.index,
                                   f"accumulator half {step.acc_half} must be free, not in use by instruction "
                                   f"{flight.step.index}; add a token")
        self.flights[unit] = _Flight(queue.popleft(), self.memories, self.rng)
        return True

    def retire(self, unit: int) -> bool:
        flight = self.flights[unit]
        if flight is None:
            return False
        flight.retire(self.memories)
        self.flights[unit] = None
        self.retired[unit] += 1
        return True

    def happen(self, event: int) -> bool:
        """Let an event happen if it can."""
        if event == _DISPATCH:
            return self.dispatch()
        return self.start(event) if event < _UNITS else self.retire(event - _UNITS)

    def stuck(self) -> MachineError:
        step = next(queue[0] for queue in self.queues if queue)  # the unit that the core's watchdog would name
        full = f", {self.next - step.index - 1} later instructions dispatched" if self.next < len(self.steps) else ""
        return _deadlock(step, self.retired, f"retired and nothing running{full}")


def run_at_random(steps: Sequence[Step], memories: Memories, queue_depth: int, seed: int) -> None:
    """Run in a random order that tokens, in-order dispatch and queues of ``queue_depth`` allow.

    Bank locks are left out: they only delay, and programs must not rely on them. Raises ``MachineError``: the error
    of an instruction, WATCHDOG when nothing can proceed, ACC_CONFLICT when COMPUTE and REQUANT meet in one half.
    """
    rng = random.Random(seed)
    core = _Core(steps, memories, queue_depth, rng)
    priority = list(range(_EVENTS))
    rng.shuffle(priority)
    while sum(core.retired) < len(steps):
        if rng.randrange(_STEADY) == 0:
            rng.shuffle(priority)
        if not any(core.happen(event) for event in priority):
            raise core.stuck()
