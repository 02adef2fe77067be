"""Compiled programs: what the compiler makes and the runtime executes, and the file that holds one.

File format (little endian): magic, format version (uint32), payload size (uint64), SHA-256 of all else; then the
payload: the size of a JSON manifest (uint64), the manifest, and the binary sections that it refers to by offset and
size.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ..hw.config import AcceleratorConfig
from ..hw.isa import INSTR_BYTES
from .backend.layout import Gather, pack, packed_bytes, unpack
from .errors import GraphError, ProgramError
from .graph import Graph, Op, QuantParams, Tensor
from .verify import verify

MAGIC = b"SYSLPROG"
FORMAT_VERSION = 2
SUFFIX = ".sysl"
_HEADER = struct.Struct("<8sIQ32s")
_DIGEST_BYTES = 32
_SIZE = struct.Struct("<Q")
# What reading the payload of a well-checksummed file raises when another version, or another program, wrote it.
_MALFORMED = (struct.error, KeyError, TypeError, ValueError, AttributeError)


@dataclass(frozen=True)
class Port:
    """An input or output of the network; `scale` and `zero_point` are None for a tensor that is not quantised."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: float | None
    zero_point: int | None


@dataclass(frozen=True)
class Binding:
    """An int8 tensor in DRAM, packed as `backend.layout` says.

    Attributes:
        name: tensor name.
        shape: logical shape.
        offset: first byte in DRAM.
        pixels: pixels of `channels` values each; pixels * channels is the size of the tensor.
        channels: values that share a run of words; need not be the last dimension of `shape`.
        gather: raw form in DRAM, of an input that the core gathers into words; else None.
    """

    name: str
    shape: tuple[int, ...]
    offset: int
    pixels: int
    channels: int
    gather: Gather | None = None

    def size(self, word_bytes: int) -> int:
        """Return the bytes in DRAM."""
        if self.gather:
            return self.gather.row_bytes * self.shape[2 if self.gather.transposed else 1]
        return packed_bytes(self.pixels, self.channels, word_bytes)

    def pack(self, array: np.ndarray, word_bytes: int) -> bytes:
        """Return what to write at `offset` for `array`, int8 of `shape`."""
        return self.gather.pack(array) if self.gather else pack(array, self.channels, word_bytes)

    def unpack(self, data: bytes, word_bytes: int) -> np.ndarray:
        """Return the int8 array of `shape` from the bytes at `offset`."""
        return unpack(data, self.shape, self.channels, word_bytes)


@dataclass(frozen=True)
class HwStep:
    """A run of the accelerator: write `inputs` to DRAM, execute, read `outputs`.

    Attributes:
        code_offset: DRAM byte of the first instruction.
        first: its index among all instructions of the program, that is in `Program.layer_index`.
        count: instructions.
        inputs: tensors that the host provides; tensors left in DRAM by an earlier step are not among them.
        outputs: tensors that the host needs afterwards.
    """

    code_offset: int
    first: int
    count: int
    inputs: tuple[Binding, ...]
    outputs: tuple[Binding, ...]


@dataclass(frozen=True)
class CpuStep:
    """One operator on the CPU: `Program.graph.ops[op]`."""

    op: int


@dataclass(frozen=True)
class Layer:
    """One executed operator.

    Attributes:
        name: operator name.
        kind: operator kind, such as "CONV_2D".
        macs: multiply-accumulates.
        unit: "array", "vector" or "cpu".
        reason: why it runs on the CPU, else None.
    """

    name: str
    kind: str
    macs: int
    unit: str
    reason: str | None = None


@dataclass(frozen=True, eq=False)
class Program:
    """A network compiled for one configuration.

    Attributes:
        model: name of the network.
        config: configuration that it was compiled for.
        inputs, outputs: ports of the network.
        graph: the network after the compiler's passes: what CPU steps, and the golden device, run.
        steps: what to do for one sample, in order.
        layers: the executed operators.
        layer_index: index into `layers` of each instruction, uint16 [instructions].
        image: initial contents of DRAM from byte 0 on: instructions, parameters and weights.
        dram_bytes: DRAM needed in all, image included.
    """

    model: str
    config: AcceleratorConfig
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    graph: Graph
    steps: tuple[HwStep | CpuStep, ...]
    layers: tuple[Layer, ...]
    layer_index: npt.NDArray[np.uint16]
    image: bytes
    dram_bytes: int

    @property
    def config_hash(self) -> int:
        """Identity of the gateware that the program is for."""
        return self.config.hash()

    @cached_property
    def code(self) -> bytes:
        """All instructions, in the order of `layer_index`."""
        steps = [step for step in self.steps if isinstance(step, HwStep)]
        return b"".join(self.image[s.code_offset:s.code_offset + s.count * INSTR_BYTES] for s in steps)

    @property
    def macs(self) -> int:
        """Multiply-accumulates per sample."""
        return sum(layer.macs for layer in self.layers)

    def save(self, path: str | Path) -> None:
        """Write the program file.

        Raises:
            ProgramError: the file cannot be written.
        """
        try:
            Path(path).write_bytes(self.to_bytes())
        except OSError as error:
            raise ProgramError(f"cannot write '{path}' ({error.strerror}); choose another place") from error

    @classmethod
    def load(cls, path: str | Path, config: AcceleratorConfig | None = None) -> Program:
        """Read a program file, for `config` if given.

        Raises:
            ProgramError: the file cannot be read, is not a program, is corrupt, of another version, or for another
                configuration.
        """
        try:
            raw = Path(path).read_bytes()
        except OSError as error:
            raise ProgramError(f"cannot read '{path}' ({error.strerror}); give the path of a program") from error
        return cls.from_bytes(raw, config, str(path))

    def to_bytes(self) -> bytes:
        """Return the contents of the program file."""
        sections = _Sections()
        manifest = {
            "model": self.model,
            "config": self.config.to_dict(),
            "config_hash": self.config_hash,
            "inputs": [asdict(port) for port in self.inputs],
            "outputs": [asdict(port) for port in self.outputs],
            "graph": _graph_to_dict(self.graph, sections),
            "steps": [asdict(step) for step in self.steps],
            "layers": [asdict(layer) for layer in self.layers],
            "layer_index": sections.add(self.layer_index.astype("<u2").tobytes()),
            "image": sections.add(self.image),
            "dram_bytes": self.dram_bytes,
        }
        text = json.dumps(manifest, separators=(",", ":")).encode()
        payload = _SIZE.pack(len(text)) + text + bytes(sections.data)
        head = _HEADER.pack(MAGIC, FORMAT_VERSION, len(payload), bytes(_DIGEST_BYTES))[:-_DIGEST_BYTES]
        return head + hashlib.sha256(head + payload).digest() + payload

    @classmethod
    def from_bytes(cls, raw: bytes, config: AcceleratorConfig | None = None, name: str = "program") -> Program:
        """Return the program in `raw`; `name` says in errors which file it is.

        Raises:
            ProgramError: as for `load`.
        """
        payload = _checked_payload(raw, name)
        try:
            program = cls._from_payload(payload, config, name)
            verify(program.graph)
            consistent = _is_consistent(program)
        except GraphError as error:
            raise ProgramError(f"{name} contradicts itself: {error}; compile the model again") from error
        except _MALFORMED as error:
            raise ProgramError(f"{name} was written by another version of Systolith ({type(error).__name__}: {error}); "
                               "compile the model again") from error
        if not consistent:
            raise ProgramError(f"{name} contradicts itself; compile the model again")
        return program

    @classmethod
    def _from_payload(cls, payload: bytes, config: AcceleratorConfig | None, name: str) -> Program:
        size = _SIZE.unpack_from(payload)[0]
        manifest = json.loads(payload[_SIZE.size:_SIZE.size + size])
        data = memoryview(payload)[_SIZE.size + size:]
        found = _configuration(manifest, config, name)
        return cls(
            model=manifest["model"],
            config=found,
            inputs=tuple(_port(port) for port in manifest["inputs"]),
            outputs=tuple(_port(port) for port in manifest["outputs"]),
            graph=_graph_from_dict(manifest["graph"], data),
            steps=tuple(_step(step) for step in manifest["steps"]),
            layers=tuple(Layer(**layer) for layer in manifest["layers"]),
            layer_index=np.frombuffer(_section(data, manifest["layer_index"]), "<u2").astype(np.uint16),
            image=_section(data, manifest["image"]),
            dram_bytes=manifest["dram_bytes"],
        )


def is_program(raw: bytes) -> bool:
    """Tell whether the first bytes of a file are those of a program file."""
    return raw.startswith(MAGIC)


def _checked_payload(raw: bytes, name: str) -> bytes:
    if not is_program(raw):
        raise ProgramError(f"{name} is not a compiled program; compile the model with 'systolith compile'")
    if len(raw) < _HEADER.size:
        raise ProgramError(f"{name} is truncated; compile the model again")
    _, version, size, digest = _HEADER.unpack_from(raw)
    head, payload = raw[:_HEADER.size - _DIGEST_BYTES], raw[_HEADER.size:]
    if version != FORMAT_VERSION:
        raise ProgramError(f"{name} must have format version {FORMAT_VERSION}, not {version}; compile the model again")
    if len(payload) != size:
        raise ProgramError(f"{name} must have {size} bytes after its header, not {len(payload)}; "
                           "compile the model again")
    if hashlib.sha256(head + payload).digest() != digest:
        raise ProgramError(f"{name} is corrupt (its checksum does not match); compile the model again")
    return payload


def _is_consistent(program: Program) -> bool:
    """Tell whether every offset and index lies within what it refers to: a checksum cannot know."""
    word, dram = program.config.word_bytes, program.dram_bytes
    within = [len(program.image) <= dram, bool((program.layer_index < len(program.layers)).all())]
    for step in program.steps:
        if isinstance(step, CpuStep):
            within.append(0 <= step.op < len(program.graph.ops))
            continue
        within += [0 <= step.code_offset, 0 <= step.count,
                   step.code_offset + step.count * INSTR_BYTES <= len(program.image),
                   0 <= step.first <= len(program.layer_index) - step.count]
        within += [0 <= b.offset <= dram - b.size(word) for b in (*step.inputs, *step.outputs)]
    return all(within)


def _configuration(manifest: dict[str, Any], wanted: AcceleratorConfig | None, name: str) -> AcceleratorConfig:
    try:
        found = AcceleratorConfig.from_dict(manifest["config"])
    except ValueError as error:
        raise ProgramError(f"{name} is for a configuration that this version does not know ({error}); "
                           "compile the model again") from error
    if found.hash() != manifest["config_hash"]:
        raise ProgramError(f"{name} is for another version of the instruction set; compile the model again")
    if wanted is not None and wanted.hash() != found.hash():
        raise ProgramError(f"{name} is for configuration {found.hash():016x}, not {wanted.hash():016x}; "
                           "compile the model for this configuration")
    return found


class _Sections:
    """Binary data behind the manifest."""

    def __init__(self) -> None:
        self.data = bytearray()

    def add(self, raw: bytes) -> list[int]:
        self.data += raw
        return [len(self.data) - len(raw), len(raw)]


def _section(data: memoryview, place: list[int]) -> bytes:
    offset, size = place
    return bytes(data[offset:offset + size])


def _graph_to_dict(graph: Graph, sections: _Sections) -> dict[str, Any]:
    tensors = [{
        "name": t.name, "shape": t.shape, "dtype": t.dtype, "quant": None if t.quant is None else asdict(t.quant),
        "data": None if t.data is None else sections.add(np.ascontiguousarray(t.data).tobytes()),
    } for t in graph.tensors.values()]
    ops = [{"kind": op.kind, "name": op.name, "inputs": op.inputs, "outputs": op.outputs, "attrs": dict(op.attrs)}
           for op in graph.ops]
    return {"name": graph.name, "tensors": tensors, "ops": ops, "inputs": graph.inputs, "outputs": graph.outputs}


def _graph_from_dict(values: dict[str, Any], data: memoryview) -> Graph:
    tensors = {}
    for t in values["tensors"]:
        shape, array = tuple(t["shape"]), None
        if t["data"] is not None:
            array = np.frombuffer(_section(data, t["data"]), t["dtype"]).reshape(shape)
        quant = t["quant"]
        if quant is not None:
            quant = QuantParams(tuple(quant["scale"]), tuple(quant["zero_point"]), quant["axis"])
        tensors[t["name"]] = Tensor(t["name"], shape, t["dtype"], quant, array)
    ops = tuple(Op(op["kind"], op["name"], tuple(op["inputs"]), tuple(op["outputs"]), _tuples(op["attrs"]))
                for op in values["ops"])
    return Graph(values["name"], tensors, ops, tuple(values["inputs"]), tuple(values["outputs"]))


def _tuples(value: Any) -> Any:
    """Return JSON values with lists as the tuples that they were."""
    if isinstance(value, dict):
        return {key: _tuples(item) for key, item in value.items()}
    return tuple(_tuples(item) for item in value) if isinstance(value, list) else value


def _port(values: dict[str, Any]) -> Port:
    return Port(**{**values, "shape": tuple(values["shape"])})


def _step(values: dict[str, Any]) -> HwStep | CpuStep:
    if "op" in values:
        return CpuStep(**values)
    return HwStep(**{**values, **{key: tuple(map(_binding, values[key])) for key in ("inputs", "outputs")}})


def _binding(values: dict[str, Any]) -> Binding:
    gather = values["gather"]
    return Binding(**{**values, "shape": tuple(values["shape"]), "gather": None if gather is None else Gather(*gather)})
