"""Order of operators and of instructions: fill dependency stalls, fetch early, finish early.

The core dispatches one in-order stream, so what the stream says early starts early. The emitter writes each load where
its data is first needed and each store at the end of a band; here they move forward as far as dependencies allow.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from ...hw.isa import Opcode
from .dependencies import Tracker
from .instruction import Instruction
from .layers import Layer

# Operators that may overtake: enough for the branches of a residual block, few enough to keep live tensors few.
_LOOKAHEAD = 3
# COMPUTE and REQUANT keep their order, everything else moves in between, unless told otherwise.
_FIXED = (Opcode.COMPUTE, Opcode.REQUANT)


def order_layers(layers: Sequence[Layer]) -> list[Layer]:
    """Return `layers` in an execution order that avoids, where it can, a layer right after the one it depends on."""
    pending, last = list(layers), ""
    writers = Counter(layer.output.storage for layer in layers)
    ordered: list[Layer] = []
    while pending:
        window = pending[:_LOOKAHEAD]
        ready = [layer for layer in window if not any(writers[x.storage] for x in layer.inputs)]
        independent = [layer for layer in ready if all(x.storage != last for x in layer.inputs)]
        chosen = (independent or ready)[0]
        pending.remove(chosen)
        ordered.append(chosen)
        last = chosen.output.storage
        writers[last] -= 1
    return ordered


def advance(instructions: Sequence[Instruction], tracker: Tracker, ahead: int) -> list[Instruction]:
    """Return `instructions` with all but COMPUTE, REQUANT and what `keeps_place` moved up behind what they need.

    Loads keep their order and at most `ahead` of them wait in the stream before their turn, so that they cannot fill
    the load queue and block the dispatch of everything else.
    """
    position: list[int] = []  # the instruction behind which each one now stands, by its old index
    loads: list[int] = []
    for index, instruction in enumerate(instructions):
        if instruction.opcode in _FIXED or instruction.keeps_place:
            place = index
        else:
            place = max(tracker.conflicts(instruction)) - 1
            if instruction.opcode == Opcode.LOAD:
                if loads:
                    place = max(place, position[loads[-1]], loads[-ahead] if len(loads) >= ahead else -1)
                loads.append(index)
        position.append(place)
        tracker.record(instruction, place + 1)
    return [instructions[i] for i in sorted(range(len(instructions)), key=lambda i: (position[i], i))]
