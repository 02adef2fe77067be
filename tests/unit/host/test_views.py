"""Views of runs: what the array, the DRAM port and the memories did over time, and which cells the weights fill."""

from __future__ import annotations

import base64

import numpy as np
import pytest

from systolith.host.compiler import compile_graph
from systolith.host.devices.base import RunResult
from systolith.host.devices.sim import time_program
from systolith.host.frontends.tflite import read_tflite
from systolith.host.graph import Graph
from systolith.host.profile import decode_code, hardware_code
from systolith.host.program import HwStep, Layer, Program
from systolith.host.report import Report
from systolith.host.runtime import Session
from systolith.host.runtime.performance import performance
from systolith.host.views import Views
from systolith.host.views.memory import MemoryUse, memory_use
from systolith.host.views.occupancy import MOST_TILES, LayerOccupancy, occupancy
from systolith.hw.compute import pass_cycles, pass_words
from systolith.hw.config import PRESETS, AcceleratorConfig
from systolith.hw.isa import INSTR_BYTES, Buffer, Opcode, encode
from systolith.models import zoo
from systolith.models.zoo import digits
from systolith.sim.machine import Machine
from systolith.sim.timing import TimingModel
from tests.random_networks import random_config, random_network
from tests.small_zoo import SMALL

TINY = PRESETS["tiny"]
SEEDS = range(8)


def run(seed: int, samples: int = 1) -> tuple[Report, Views]:
    network = random_network(seed)
    with Session(read_tflite(network.model), config=random_config(seed), batch=1) as session:
        session.run(dict(zip((info.name for info in session.inputs), network.samples(samples), strict=True)))
        views = session.views()
        assert session.last_report is not None and views is not None
        return session.last_report, views


def program_of(code: list[bytes], layers: list[int], image: bytes = b"", config: AcceleratorConfig = TINY) -> Program:
    """Return a program of one hardware step whose constants are `image`, from byte 0 on."""
    raw = image + b"".join(code)
    step = HwStep(len(image), 0, len(code), (), ())
    return Program("p", config, (), (), Graph("p", {}, (), (), ()), (step,),
                   tuple(Layer(f"l{index}", "CONV_2D", 0, "array") for index in range(max(layers) + 1)),
                   np.array(layers, np.uint16), raw, 1 << 16)


def timed(program: Program) -> list[RunResult]:
    return [time_program(TimingModel(program.config), code, program.config) for code, _ in hardware_code(program)]


@pytest.mark.parametrize("samples", [1, 2])
@pytest.mark.parametrize("seed", SEEDS)
def test_activity_sums_to_the_report(seed: int, samples: int) -> None:
    report, views = run(seed, samples)
    activity = views.activity

    assert report.cycles == views.cycles
    assert {name: sum(values) for name, values in activity.causes.items()} == report.stalls
    assert sum(activity.dram_written) == report.dram_bytes_written
    instructions = report.counters["INSTRUCTIONS"] // samples * INSTR_BYTES
    assert report.dram_bytes_read is not None and sum(activity.dram_read) == report.dram_bytes_read - instructions
    each = np.array(list(activity.causes.values())).sum(axis=0)
    assert (each[:-1] == activity.interval).all() and 0 < each[-1] <= activity.interval
    assert set(activity.layer) <= {index for index, layer in enumerate(report.layers) if layer.cycles}


@pytest.mark.parametrize("seed", SEEDS)
def test_bytes_of_the_layers_sum_to_those_of_the_run(seed: int) -> None:
    report, _ = run(seed, 2)

    total = sum(layer.dram_bytes or 0 for layer in report.layers)
    assert total == (report.dram_bytes_read or 0) + (report.dram_bytes_written or 0)


def rectangles(use: MemoryUse) -> list[tuple[int, int, int, int, int, int]]:
    return list(zip(use.begin, use.end, use.low, use.high, use.layer, use.loaded, strict=True))


@pytest.mark.parametrize("seed", SEEDS)
def test_memories_hold_one_thing_at_a_time(seed: int) -> None:
    report, views = run(seed)

    assert [use.name for use in views.memories] == ["activations", "weights", "parameters", "accumulators"]
    assert any(use.layer for use in views.memories)
    for use in views.memories:
        for number, (begin, end, low, high, layer, loaded) in enumerate(rectangles(use)):
            assert 0 <= begin < end <= views.cycles + views.cycles // 1000 + 1 and 0 <= low < high <= use.words
            assert report.layers[layer].cycles is not None and loaded in (0, 1)
            for other in rectangles(use)[:number]:
                assert other[1] <= begin or end <= other[0] or other[3] <= low or high <= other[2]


def test_words_are_in_use_from_their_write_to_their_last_read() -> None:
    size = TINY.act_words // TINY.act_banks
    code = [
        encode(Opcode.LOAD, {"wr_banks": 1}, dram=0, rows=1, row_words=128, local=0, buffer=Buffer.ACT),
        encode(Opcode.LOAD, dram=0, rows=1, row_words=32, local=0, buffer=Buffer.WGT),
        encode(Opcode.COMPUTE, {"rd_banks": 1, "wait_load": 2}, groups=1, tiles=4, blocks=4, kh=1, kw=1, out_h=1,
               out_w=64, in_h=1, in_w=64, step_x=1, stride_x=1, stride_y=1),
        encode(Opcode.REQUANT, {"wr_banks": 2, "wait_compute": 1}, groups=1, out_h=1, out_w=64, dst=size, dst_step_x=1),
        encode(Opcode.STORE, {"rd_banks": 2, "wait_vector": 1}, dram=0x8000, rows=1, row_words=64, local=size),
    ]
    program = program_of(code, [0, 0, 0, 0, 1])
    (result,) = timed(program)
    assert result.retire is not None and result.issue is not None and result.cycles is not None and result.cycles < 1000
    load, compute, vector, store = (result.retire[unit].tolist() for unit in result.retire)
    begin = [issue.tolist() for issue in result.issue.values()]

    use = memory_use({program: [result]}, {"l0": 0, "l1": 1}, result.cycles)
    acts, weights, _, accumulators = (rectangles(each) for each in use)

    # The rows of the maps are 64 words of the activations and 16 of the weights; half of what is loaded is never read.
    assert acts == [(begin[0][0], load[0], 64, 128, 0, 1), (begin[0][0], compute[0], 0, 64, 0, 1),
                    (begin[2][0], store[0], size, size + 64, 0, 0)]
    assert weights == [(load[0], load[1], 16, 32, 0, 1), (load[0], compute[0], 0, 16, 0, 1)]
    assert accumulators == [(begin[1][0], vector[0], 0, 64, 0, 0)]


@pytest.mark.parametrize("seed", SEEDS)
def test_occupancy_is_that_of_the_weights_in_the_machine(seed: int) -> None:
    config = random_config(seed)
    program = compile_graph(read_tflite(random_network(seed).model), config)
    layers = {layer.name: index for index, layer in enumerate(program.layers)}

    found = occupancy({program: []}, layers)

    machine, used, cycles, words = Machine(config, program.dram_bytes), {}, {}, {}
    machine.write(0, program.image)
    for step in (each for each in program.steps if isinstance(each, HwStep)):
        index = program.layer_index[step.first:step.first + step.count].tolist()
        code = program.image[step.code_offset:step.code_offset + step.count * INSTR_BYTES]
        for ready, instruction, layer in zip(machine.steps(step.code_offset, step.count), decode_code(code), index,
                                             strict=True):
            if instruction.opcode == Opcode.COMPUTE:
                f, passes = instruction.fields, instruction.fields["groups"] * instruction.fields["tiles"]
                tiles = machine.wgt[f["wgt"]:f["wgt"] + passes * config.rows].reshape(passes, -1)
                used[layer] = used.get(layer, 0) + pass_words(f) * (tiles != 0).sum(axis=0)
                words[layer] = words.get(layer, 0) + passes * pass_words(f)
                cycles[layer] = cycles.get(layer, 0) + passes * pass_cycles(config, pass_words(f))
            if instruction.opcode == Opcode.LOAD and instruction.fields["buffer"] == Buffer.WGT:
                ready.commit(machine._memories, ready.fetch(machine._memories))
    assert [each.layer for each in found] == sorted(used)
    for each in found:
        assert (each.words, each.cycles) == (words[each.layer], cycles[each.layer])
        assert cells(each).tolist() == np.round(255 * used[each.layer] / cycles[each.layer]).tolist()


def cells(layer: LayerOccupancy) -> np.ndarray:
    return np.frombuffer(base64.b64decode(layer.cells), np.uint8)


def test_tiles_are_described_in_the_order_of_their_use() -> None:
    size = TINY.rows * TINY.cols
    image = np.zeros((2, size), np.int8)
    image[0, [0, 5]], image[1, 15] = 1, -1
    load = encode(Opcode.LOAD, dram=0, rows=1, row_words=2 * TINY.rows, local=0, buffer=Buffer.WGT)
    shape = {"groups": 1, "tiles": 1, "blocks": 1, "kh": 1, "kw": 1, "out_h": 2, "out_w": 4}
    code = [load, encode(Opcode.COMPUTE, wgt=TINY.rows, **shape), encode(Opcode.COMPUTE, wgt=0, **shape),
            encode(Opcode.COMPUTE, wgt=TINY.rows, **shape)]

    (found,) = occupancy({program_of(code, [0] * 4, image.tobytes() + bytes(32)): []}, {"l0": 0})

    assert (found.tiles, found.passes, found.words, found.tile) == (2, 3, 24, (0, 1))
    assert (found.tile_passes, found.tile_words) == ((2, 1), (16, 8))
    filled = np.unpackbits(np.frombuffer(base64.b64decode(found.filled), np.uint8)).reshape(2, size)
    assert filled.tolist() == [(image[1] != 0).tolist(), (image[0] != 0).tolist()]


def test_many_tiles_are_described_by_evenly_spaced_ones() -> None:
    count = 4 * MOST_TILES
    image = np.ones((count, TINY.rows * TINY.cols), np.int8).tobytes()
    code = [encode(Opcode.LOAD, dram=0, rows=1, row_words=count * TINY.rows, local=0, buffer=Buffer.WGT),
            encode(Opcode.COMPUTE, groups=1, tiles=count, blocks=count, kh=1, kw=1, out_h=1, out_w=1)]

    (found,) = occupancy({program_of(code, [0, 0], image): []}, {"l0": 0})

    assert found.tiles == count and len(found.tile) == MOST_TILES
    assert found.tile[0] == 0 and found.tile[-1] == count - 1 and set(np.diff(found.tile)) <= {4, 5}


def test_views_of_batches_are_of_one_run_of_each_program() -> None:
    network = zoo.build("mobilenet_v2", **SMALL["mobilenet_v2"])
    with Session(read_tflite(network), config=TINY, batch=4) as session:
        session.run(np.zeros((4, 48, 48, 3), np.int8))
        views, report = session.views(), session.last_report

    assert views is not None and report is not None and report.batch == 4
    assert 0 < views.cycles < report.counters["CYCLES"]
    assert {each.layer for each in views.occupancy} == {
        index for index, layer in enumerate(report.layers) if layer.unit == "array"}


@pytest.mark.rtl
def test_the_rtl_has_the_views_of_the_simulator() -> None:
    found = []
    for device in ("sim", "rtl"):
        with Session(digits.model_path(), device, preset="tiny") as session:
            session.run(np.zeros((1, 8, 8, 1), np.int8))
            found.append(session.views())

    assert found[0] is not None and found[0] == found[1]


def test_performance_has_the_views_of_a_run() -> None:
    with Session(digits.model_path(), preset="tiny") as session:
        session.run(np.zeros((1, 8, 8, 1), np.int8))

        assert performance(digits.model_path(), preset="tiny", views=True).views == session.views()


def test_golden_has_no_views() -> None:
    with Session(digits.model_path(), "golden") as session:
        session.run(np.zeros((1, 8, 8, 1), np.int8))

        assert session.views() is None
