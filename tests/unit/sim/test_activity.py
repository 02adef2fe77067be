"""Operands of multiplications, of `sim` and as the cells of the RTL have them; toggles of nets, against a recording."""

import itertools
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import pywellen

from systolith.host.compiler import compile_graph
from systolith.host.program import HwStep
from systolith.host.runtime.network import load_network
from systolith.hw.config import PRESETS, AcceleratorConfig
from systolith.models.zoo import cluttered, digits
from systolith.sim.activity import MacEvent, dense_events, filter_events
from systolith.sim.machine import Machine
from systolith.sim.result import CoreResult
from systolith.sim.rtl import RtlCore
from systolith.sim.rtl.activity import Net, Nets, block_activity
from systolith.sim.rtl.saif import save_saif
from systolith.sim.rtl.waves import Waves

TINY = PRESETS["tiny"]


def counted(operands: list[tuple[int, int, int, int]]) -> list[int]:
    """Return the events of (weight, activation, activation before, fill); an activation of 999 is none."""
    zero_weight = [weight == 0 for weight, *_ in operands]
    zero_activation = [x == 0 for _, x, _, _ in operands]
    return [len(operands), sum(zero_weight), sum(zero_activation),
            sum(w or x for w, x in zip(zero_weight, zero_activation, strict=True)),
            sum(x == before != 999 for _, x, before, _ in operands), sum(x == fill for _, x, _, fill in operands)]


def sparse(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.integers(-2, 3, shape, np.int8)  # full of zeros and of repetitions


@pytest.mark.parametrize(("inputs", "groups"), [(1, 1), (1, 3), (3, 3)])
def test_dense_passes_by_hand(inputs: int, groups: int) -> None:
    rng = np.random.default_rng(1)
    words, tiles = sparse(rng, inputs, 7, 2, 4), sparse(rng, groups, 2, 4, 4)
    operands = [(int(tiles[g, t, r, c]), int(words[g % inputs, p, t, r]),
                 int(words[g % inputs, p - 1, t, r]) if p else 999, 1)
                for g, t, p, r, c in itertools.product(range(groups), range(2), range(7), range(4), range(4))]
    assert dense_events(words, tiles, 1).tolist() == counted(operands)


@pytest.mark.parametrize("count", [1, 5, 20])
def test_a_pass_in_filter_mode_by_hand(count: int) -> None:
    rng = np.random.default_rng(2)
    words, tile, ages = sparse(rng, count, 4), sparse(rng, 4, 4), np.array([0, 1, 9])

    def operand(row: int, column: int, place: int) -> int:
        if row == len(ages):  # a row that the filter mode does not reach
            return int(words[place, row]) if place >= 0 else 999
        return int(words[place - ages[row], column]) if place >= ages[row] else 999

    operands = [(int(tile[r, c]), operand(r, c, p), operand(r, c, p - 1), -2)
                for p, r, c in itertools.product(range(count), range(4), range(4))]
    assert filter_events(words, tile, ages, -2).tolist() == counted(operands)


def run(model: Path, config: AcceleratorConfig, *devices: RtlCore | Machine) -> list[list[CoreResult]]:
    """Run the hardware steps of a network on random inputs; return the results of each device."""
    program = compile_graph(load_network(model), config)
    steps = [step for step in program.steps if isinstance(step, HwStep)]
    results = []
    for device in devices:
        rng = np.random.default_rng(1)
        device.write(0, program.image)
        for binding in steps[0].inputs:
            device.write(binding.offset, rng.integers(-128, 128, binding.size(config.word_bytes), np.int8).tobytes())
        results.append([device.run(step.code_offset, step.count) for step in steps])
    return results


def assert_alike(model: Path, config: AcceleratorConfig) -> None:
    with RtlCore(config, activity=True) as core:
        on_rtl, modelled = run(model, config, core, Machine(config, 1 << 26, count_macs=True))
    for rtl, sim in zip(on_rtl, modelled, strict=True):
        assert np.array_equal(rtl.macs, sim.macs)
        assert rtl.macs[:, MacEvent.MAC].sum() == rtl.counters["ARRAY_ACTIVE"] * config.rows * config.cols
        assert rtl.macs.any(axis=0).all()  # every event happens


@pytest.mark.rtl
@pytest.mark.parametrize("model", [digits.model_path(), cluttered.model_path()], ids=lambda path: path.stem)
def test_cells_of_the_rtl_multiply_what_sim_says(model: Path) -> None:
    assert_alike(model, TINY)


@pytest.mark.rtl
@pytest.mark.slow
def test_cells_of_the_rtl_multiply_what_sim_says_in_filters_of_several_lines() -> None:
    assert_alike(cluttered.model_path(), PRESETS["ulx3s"])


@pytest.mark.rtl
@pytest.mark.slow
def test_cells_of_the_rtl_multiply_what_sim_says_without_filters() -> None:
    assert_alike(cluttered.model_path(), replace(TINY, filter_rows=0))


@pytest.fixture(scope="module")
def nets() -> Nets:
    with RtlCore(TINY, activity=True) as core:
        run(digits.model_path(), TINY, core)
        return core.nets()


@pytest.mark.rtl
def test_toggles_are_those_of_a_recording(nets: Nets, tmp_path: Path) -> None:
    with RtlCore(TINY, waves=Waves(tmp_path / "w.fst")) as core:
        run(digits.model_path(), TINY, core)
    signals = {each.full_name: each for each in pywellen.Waveform(path=str(tmp_path / "w.fst")).all_vars()}
    settled = 10 * np.arange(nets.cycles)  # when a cycle's values are there
    chosen = nets.nets[::25]
    assert len({net.module for net in chosen}) > 10 and sum(net.toggles.sum() > 0 for net in chosen) > 30
    for net in chosen:
        times, values = zip(*signals[f"TOP.{net.module}.{net.name}"].signal, strict=True)
        at = np.searchsorted(times, settled, "right") - 1
        words = np.array([int(value) for value in values], object)[at]
        changed = words[1:] ^ words[:-1]
        places = range(len(net.toggles) - 1, -1, -1)
        assert net.toggles.tolist() == [int(np.count_nonzero(changed >> place & 1)) for place in places], net.name
        assert net.high.tolist() == [int(np.count_nonzero(words >> place & 1)) for place in places], net.name
        assert net.changes == np.count_nonzero(changed), net.name


@pytest.mark.rtl
def test_each_signal_counts_once_where_it_is_driven(nets: Nets) -> None:
    by_name = {(net.module, net.name): net for net in nets.nets}
    assert len(by_name) == len(nets.nets)
    assert by_name["core.compute.array", "x_r1c2"].register
    assert not by_name["core.compute.array", "row_select"].register
    assert ("core.compute.array", "w") not in by_name    # an input, which the module above drives
    assert by_name["core.compute", "w"].register
    assert ("core", "bus__rdata") in by_name             # an input of the core
    assert not any(net.name == "clk" for net in nets.nets)
    cells = [net for net in nets.nets if re.fullmatch(r"(x|live|shadow|product|psum)_r\dc\d", net.name)]
    assert len(cells) == 5 * TINY.rows * TINY.cols and all(net.register for net in cells)


@pytest.mark.rtl
def test_blocks_have_all_nets(nets: Nets) -> None:
    blocks = block_activity(nets)
    assert sum(block.net_bits for block in blocks.values()) == sum(net.toggles.size for net in nets.nets)
    assert blocks["array"].net_toggles > blocks["dma"].net_toggles > 0


def test_rates_of_a_block_by_hand() -> None:
    def net(module: str, toggles: list[int], changes: int, register: bool) -> Net:
        return Net(module, "n", np.array(toggles), np.zeros(len(toggles), np.int64), changes, register)

    blocks = block_activity(Nets(10, [net("core.compute.array", [2, 4], 5, True),
                                      net("core.compute.array", [6, 8, 0], 9, False),
                                      net("core.compute.array", [1], 1, True),
                                      net("core.vector.requant", [5], 5, False)]))
    assert list(blocks) == ["array", "vector"]
    array = blocks["array"]
    assert (array.net_bits, array.register_bits) == (6, 3)
    assert array.net_toggles == pytest.approx(21 / 60)
    assert array.register_toggles == pytest.approx(7 / 30)
    assert array.register_changes == pytest.approx((5 * 2 + 1) / 30)
    assert blocks["vector"].register_changes == 0


@pytest.mark.rtl
def test_a_saif_file_has_every_bit_in_its_place(nets: Nets, tmp_path: Path) -> None:
    save_saif(tmp_path / "a.saif", nets)
    text = (tmp_path / "a.saif").read_text()
    (duration,) = map(int, re.findall(r"\(DURATION (\d+)\)", text))
    assert duration == 10 * nets.cycles
    scopes: list[str] = []
    found = {}
    for line in text.splitlines():
        if bit := re.fullmatch(r"\((\S+) \(T0 (\d+)\) \(T1 (\d+)\) \(TX 0\) \(TC (\d+)\)\)", line):
            name, low, high, toggles = bit[1].replace("\\", ""), *map(int, bit.groups()[1:])
            assert low + high == duration and toggles < nets.cycles
            found[".".join(scopes[:-1]), name] = high // 10, toggles
        elif opened := re.fullmatch(r"\((INSTANCE )?(\w+)", line):
            scopes.append(opened[2])
        elif line == ")":
            scopes.pop()
    assert not scopes
    assert len(found) == sum(net.toggles.size for net in nets.nets)
    net = next(net for net in nets.nets if net.name == "psum_r2c1")
    assert [found["SAIFILE.core.compute.array", f"psum_r2c1[{bit}]"] for bit in range(18)] == list(
        zip(net.high[::-1].tolist(), net.toggles[::-1].tolist(), strict=True))


@pytest.mark.rtl
def test_activity_must_be_asked_for() -> None:
    with RtlCore(TINY) as core, pytest.raises(RuntimeError, match="create it with activity=True"):
        core.nets()
    with pytest.raises(ValueError, match="waves must be None where activity is counted"):
        RtlCore(TINY, activity=True, waves=Waves(Path("w.fst")))
