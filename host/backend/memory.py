"""Memory plan of the activation buffer: which tensors stay on chip, where, and in which bands the others stream.

Tensors are placed in execution order at the address that costs least: first choice are banks whose read ports the
tensor's producer and the other operand of its consumers leave alone. What does not fit is streamed from and to DRAM.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice

from ...hw.config import AcceleratorConfig
from .layers import ConvLayer, Layer, Storage, Unfit
from .tiling import Bands, plan_bands, whole

# Shares of the buffer tried for the bands of a streaming layer. Half first: larger bands gain little and crowd others
# out; all of it last.
_BUDGETS = (1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 32, 1)


# Layers after whose end the space of a tensor is reused reluctantly: writing there waits for the last reader.
_RECENT = 2


class Unplaceable(Unfit):
    """A layer's smallest band does not fit on chip; `op` names the operator."""

    def __init__(self, op: str, reason: str) -> None:
        super().__init__(reason)
        self.op = op


@dataclass(frozen=True)
class LayerPlan:
    """Bands of one layer and, per streamed operand, the addresses of its slots (keys as in `Bands.words`).

    `scratch` is where a convolution with steps puts a tile between them, None where that is its place in the output.
    """

    bands: Bands
    slots: Mapping[int, tuple[int, ...]] = field(default_factory=dict)
    scratch: int | None = None


@dataclass(frozen=True)
class MemoryPlan:
    """Attributes:
        resident: address of each tensor that stays on chip for its whole life.
        layers: plan of each layer, in execution order.
    """

    resident: Mapping[str, int]
    layers: tuple[LayerPlan, ...]


# Bands found for a layer, by its place in the order, the operands that stream and the share of the buffer.
_Cuts = dict[tuple[int, tuple[int, ...], float], Bands | None]


class _Full(Exception):
    """No room at `time`; `live` are the tensors that could be streamed instead."""

    def __init__(self, time: int, live: Sequence[str]) -> None:
        super().__init__()
        self.time, self.live = time, live


def plan_memory(layers: Sequence[Layer], storages: Mapping[str, Storage], config: AcceleratorConfig) -> MemoryPlan:
    """Return the memory plan of `layers`, which run in this order.

    Raises:
        Unplaceable: a layer does not fit even when everything streams.
    """
    streamed: set[str] = set()
    cuts: _Cuts = {}
    while True:
        # Leaving alone what was freed a moment ago costs space; rather reuse it than stream.
        for recent in (_RECENT, 0):
            try:
                return _Planner(layers, storages, config, streamed, recent, cuts).plan()
            except _Full as problem:
                full = problem
        if not full.live:
            raise Unplaceable(layers[full.time].op, f"its smallest band needs more than the {config.act_kib} KiB "
                                                    "activation buffer")
        streamed.add(max(full.live, key=lambda name: storages[name].words))


class _Planner:
    """One attempt with a given set of streamed tensors."""

    def __init__(self, layers: Sequence[Layer], storages: Mapping[str, Storage], config: AcceleratorConfig,
                 streamed: set[str], recent: int, cuts: _Cuts) -> None:
        self.recent, self.cuts = recent, cuts
        self.freed: list[tuple[int, int, int]] = []  # when, and words [low, high)
        self.layers, self.storages, self.config, self.streamed = layers, storages, config, streamed
        self.last_use = {operand.storage: time for time, layer in enumerate(layers)
                         for operand in (*layer.inputs, layer.output)}
        self.resident: dict[str, int] = {}
        self.live: dict[str, tuple[int, int]] = {}  # tensor or temporary -> words [low, high)

    def plan(self) -> MemoryPlan:
        plans = []
        for time, layer in enumerate(self.layers):
            self._release(time)
            for operand in (*layer.inputs, layer.output):
                if operand.storage not in self.streamed and operand.storage not in self.resident:
                    self._place_tensor(time, layer, operand.storage)
            plan = self._plan_layer(time, layer)
            plans.append(replace(plan, scratch=self._place_scratch(layer, plan)))
        return MemoryPlan(self.resident, tuple(plans))

    def _release(self, time: int) -> None:
        dead = [name for name in self.live if self.last_use.get(name, -1) < time]
        self.freed += [(time, *self.live.pop(name)) for name in dead]
        self.freed = [(when, low, high) for when, low, high in self.freed if when > time - self.recent]

    def _place_tensor(self, time: int, layer: Layer, name: str) -> None:
        avoid: Counter[int] = Counter()
        if name == layer.output.storage:
            self._avoid(avoid, (operand.storage for operand in layer.inputs))
        for moment, later in enumerate(self.layers[time:], time):
            names = {operand.storage for operand in later.inputs}
            if name in names:
                if not isinstance(later, ConvLayer):
                    # While the vector unit reads this, the array may still be reading its own operand.
                    names |= self._array_inputs(moment)
                self._avoid(avoid, names - {name})
        address = self._fit(self.storages[name].words, avoid)
        if address is None:
            tensors = [other for other in self.live if other in self.resident]
            raise _Full(time, [*tensors, name])
        self.resident[name] = address
        self.live[name] = (address, address + self.storages[name].words)

    def _array_inputs(self, time: int) -> set[str]:
        """Return what the last layer on the array before `time` reads."""
        convolutions = (layer for layer in reversed(self.layers[:time]) if isinstance(layer, ConvLayer))
        return {operand.storage for layer in islice(convolutions, 1) for operand in layer.inputs}

    def _avoid(self, avoid: Counter[int], names: Iterable[str]) -> None:
        for name in names:
            if name in self.resident:
                avoid.update(self._banks(self.resident[name], self.resident[name] + self.storages[name].words))

    def _plan_layer(self, time: int, layer: Layer) -> LayerPlan:
        operands = [*enumerate(operand.storage for operand in layer.inputs), (-1, layer.output.storage)]
        streamed = [position for position, name in operands if name in self.streamed]
        if not streamed:
            return LayerPlan(whole(layer))
        tried: list[Bands] = []
        for share in _BUDGETS:
            key = time, tuple(streamed), share
            if key not in self.cuts:
                self.cuts[key] = plan_bands(layer, streamed, int(self.config.act_words * share), self.config)
            bands = self.cuts[key]
            if bands is not None and bands not in tried:
                tried.append(bands)
                slots = self._place_slots(layer, bands)
                if slots is not None:
                    if self._is_crowded(layer, bands, slots):
                        raise _Full(time, [layer.inputs[0].storage])
                    return LayerPlan(bands, slots)
        raise _Full(time, [name for name in self.live if name in self.resident])

    def _is_crowded(self, layer: Layer, bands: Bands, slots: Mapping[int, tuple[int, ...]]) -> bool:
        """Return whether fused steps and transfers must take turns at a bank because a large input takes the others."""
        if not isinstance(layer, ConvLayer) or not layer.steps:
            return False
        first = layer.inputs[0].storage
        if first not in self.resident or self.storages[first].words < self.config.act_words // 2:
            return False
        banks = [{bank for address in slots[k] for bank in self._banks(address, address + words)}
                 for k, words in bands.words]
        return len(set().union(*banks)) < sum(map(len, banks))

    def _place_scratch(self, layer: Layer, plan: LayerPlan) -> int | None:
        """Return a place for one tile in banks that the array reads neither now nor in the next layer, or None."""
        if not isinstance(layer, ConvLayer) or not layer.steps:
            return None
        array: Counter[int] = Counter()
        self._avoid(array, (layer.inputs[0].storage, layer.output.storage))
        loads: Counter[int] = Counter()
        for position, words in plan.bands.words:
            for address in plan.slots[position]:
                (array if position <= 0 else loads).update(self._banks(address, address + words))
        words = min(self.config.acc_half, layer.output.image.words)
        found = self._fit(words, array + array + loads)
        if found is None or any(array[bank] for bank in self._banks(found, found + words)):
            return None
        self.live[f"scratch of {layer.op}"] = (found, found + words)
        return found

    def _place_slots(self, layer: Layer, bands: Bands) -> dict[int, tuple[int, ...]] | None:
        before = dict(self.live)
        slots: dict[int, tuple[int, ...]] = {}
        read: Counter[int] = Counter()
        self._avoid(read, (operand.storage for operand in layer.inputs))
        # Each input keeps away from the banks of the others, which another unit may be reading: the array reads the
        # first, the vector unit those of fused steps. The output, which is stored from its place, comes last.
        for position, words in sorted(bands.words, key=lambda item: (item[0] < 0, item[0])):
            addresses, others = [], Counter(read)
            for slot in range(bands.slots):
                address = self._fit(words, others)
                if address is None:
                    self.live = before
                    return None
                addresses.append(address)
                self.live[f"{position} {slot} of {layer.op}"] = (address, address + words)
                if position >= 0:
                    read.update(self._banks(address, address + words))
            slots[position] = tuple(addresses)
        return slots

    def _banks(self, low: int, high: int) -> range:
        size = self.config.bank_words
        return range(low // size, -(-high // size))

    def _fit(self, words: int, avoid: Counter[int]) -> int | None:
        """Return the best free address for `words`, or None."""
        best: tuple[int, int, int] | None = None
        for low, high in self._gaps():
            if high - low < words:
                continue
            size = self.config.bank_words
            edges = [*range(-(-low // size) * size, high, size), *(end for _, _, end in self.freed),
                     *(start - words for _, start, _ in self.freed)]
            starts = {low, high - words, *(edge for edge in edges if low <= edge <= high - words)}
            for start in starts:
                conflicts = sum(avoid[bank] for bank in self._banks(start, start + words))
                conflicts += sum(start < end and start + words > begin for _, begin, end in self.freed)
                # Ends of a gap before its middle, the tightest gap first: what stays free stays in one piece.
                waste = min(start - low, high - words - start) * len(self.live) + (high - low - words)
                cost = (conflicts, waste, start)
                if best is None or cost < best:
                    best = cost
        return None if best is None else best[2]

    def _gaps(self) -> list[tuple[int, int]]:
        gaps, at = [], 0
        for low, high in sorted(self.live.values()):
            if low > at:
                gaps.append((at, low))
            at = max(at, high)
        if at < self.config.act_words:
            gaps.append((at, self.config.act_words))
        return gaps
