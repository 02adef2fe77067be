"""Program files: what is saved comes back, and what is damaged is refused."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from systolith.host.compiler import compile_graph
from systolith.host.disasm import disassemble, format_instruction
from systolith.host.errors import ProgramError
from systolith.host.program import FORMAT_VERSION, MAGIC, CpuStep, Program, is_program
from systolith.host.stats import layer_stats
from systolith.hw.config import AcceleratorConfig
from systolith.hw.isa import INSTR_BYTES, Opcode, encode

from .graphs import CONV, QUANT, act, const, graph, op
from .simulate import check

TINY = AcceleratorConfig.preset("tiny")


def network():
    """Convolution on the array, maximum with a constant on the CPU."""
    tensors = [act("x", 1, 5, 5, 3), const("w", 6, 3, 3, 3), const("b", 6, dtype="int32"), act("c", 1, 3, 3, 6),
               replace(const("v", 1, 3, 3, 6), quant=QUANT), act("y", 1, 3, 3, 6)]
    return graph(tensors, [op("CONV_2D", "x w b", "c", **CONV), op("MAXIMUM", "c v", "y")])


@pytest.fixture(scope="module")
def program() -> Program:
    return compile_graph(network(), TINY)


@pytest.fixture(scope="module")
def raw(program) -> bytes:
    return program.to_bytes()


def test_a_loaded_program_runs_like_the_compiled_one(program, tmp_path):
    program.save(tmp_path / "p.sysl")
    check(network(), Program.load(tmp_path / "p.sysl", TINY))


def test_every_field_survives_the_file(program, raw):
    loaded = Program.from_bytes(raw)
    for name in ("model", "config", "inputs", "outputs", "steps", "layers", "image", "dram_bytes", "code", "macs"):
        assert getattr(loaded, name) == getattr(program, name), name
    assert np.array_equal(loaded.layer_index, program.layer_index)
    assert loaded.graph.ops == program.graph.ops
    assert loaded.to_bytes() == raw


def test_a_flipped_bit_anywhere_is_refused(raw):
    rng = np.random.default_rng(0)
    header = range(52 + 8)
    for position in [*header, *rng.integers(0, len(raw), 400).tolist(), len(raw) - 1]:
        damaged = bytearray(raw)
        damaged[position] ^= 1 << int(rng.integers(8))
        with pytest.raises(ProgramError, match="compile the model"):
            Program.from_bytes(bytes(damaged))


@pytest.mark.parametrize("size", [0, 1, 8, 20, 51, 52, 60, 1000, -1])
def test_a_truncated_file_is_refused(raw, size):
    with pytest.raises(ProgramError, match="truncated|must have|not a compiled program"):
        Program.from_bytes(raw[:size])


def test_a_longer_file_is_refused(raw):
    with pytest.raises(ProgramError, match="bytes after its header"):
        Program.from_bytes(raw + b"\0")


def forged(raw: bytes, edit: Callable[[dict], object]) -> bytes:
    """Return the file with an edited manifest and the checksum that belongs to it."""
    payload = raw[52:]
    size = int.from_bytes(payload[:8], "little")
    manifest = json.loads(payload[8:8 + size])
    edit(manifest)
    text = json.dumps(manifest).encode()
    payload = len(text).to_bytes(8, "little") + text + payload[8 + size:]
    head = MAGIC + FORMAT_VERSION.to_bytes(4, "little") + len(payload).to_bytes(8, "little")
    return head + hashlib.sha256(head + payload).digest() + payload


@pytest.mark.parametrize(("edit", "message"), [
    (lambda m: m.pop("steps"), "another version of Systolith .KeyError: 'steps'"),
    (lambda m: m["steps"][0].update(speed=3), "another version"),
    (lambda m: m.update(graph=[]), "another version"),
    (lambda m: m.update(image=7), "another version"),
    (lambda m: m.update(dram_bytes=64), "contradicts itself"),
    (lambda m: m["layers"].clear(), "contradicts itself"),
    (lambda m: m["steps"][0].update(code_offset=1 << 20), "contradicts itself"),
    (lambda m: m["steps"][0].update(count=-1), "contradicts itself"),
    (lambda m: m["steps"][0].update(first=1 << 20), "contradicts itself"),
    (lambda m: m["steps"][0]["inputs"][0].update(offset=1 << 30), "contradicts itself"),
    (lambda m: m["steps"][1].update(op=99), "contradicts itself"),
    (lambda m: m["graph"]["ops"].reverse(), "contradicts itself: .* before anything writes it"),
    (lambda m: m["graph"]["ops"][0]["attrs"].clear(), "another version|contradicts itself"),
], ids=range(13))
def test_a_checksum_does_not_make_a_manifest_right(raw, edit, message):
    assert Program.from_bytes(forged(raw, dict)).to_bytes() == raw
    with pytest.raises(ProgramError, match=message) as caught:
        Program.from_bytes(forged(raw, edit))
    assert "\n" not in str(caught.value)


def test_another_configuration_is_refused(raw):
    with pytest.raises(ProgramError, match="compile the model for this configuration"):
        Program.from_bytes(raw, AcceleratorConfig.preset("edge"))


def test_the_environment_of_the_core_does_not_matter(raw):
    assert Program.from_bytes(raw, replace(TINY, dram_latency=99)).config == TINY


def test_another_instruction_set_is_refused(program, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr("systolith.hw.config.ISA_VERSION", 999)
        other = program.to_bytes()
    with pytest.raises(ProgramError, match="version of the instruction set"):
        Program.from_bytes(other)


def test_a_missing_file_and_another_file_are_refused(tmp_path):
    with pytest.raises(ProgramError, match="cannot read"):
        Program.load(tmp_path / "absent")
    (tmp_path / "other").write_bytes(b"TFL3 is not a program")
    with pytest.raises(ProgramError, match="not a compiled program"):
        Program.load(tmp_path / "other")


def test_an_unwritable_place_is_refused(program, tmp_path):
    with pytest.raises(ProgramError, match="cannot write"):
        program.save(tmp_path / "no" / "folder")


def test_programs_are_recognised(raw):
    assert is_program(raw) and not is_program(b"TFL3")


def test_the_disassembly_shows_every_instruction_and_step(program):
    lines = list(disassemble(program))
    assert sum(not line.startswith("#") for line in lines) == len(program.layer_index)
    assert sum("CPU" in line for line in lines) == sum(isinstance(step, CpuStep) for step in program.steps) == 1
    assert any("compute" in line and "load>=" in line and "kw=3 kh=3" in line for line in lines)


def test_an_instruction_reads_as_text():
    text = format_instruction(encode(Opcode.LOAD, {"wr_banks": 5, "wait_compute": 7}, dram=64, rows=1, row_words=9))
    assert text == "load    load     {compute>=7 wr=0,2} dram=0x40 rows=1 row_words=9 buffer=act"


def test_statistics_add_up(program):
    stats = layer_stats(program)
    assert sum(entry.macs for entry in stats) == program.macs == network().macs()
    assert sum(entry.instructions for entry in stats) * INSTR_BYTES == len(program.code)
    assert stats[0].bytes_loaded >= 25 * 4 + 6 * 27 and stats[0].bytes_stored == 9 * 8
