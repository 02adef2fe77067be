"""The Verilated harness around a small copy engine: AXI4, AXI4-Lite, DRAM timing, faults, events."""

import functools
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from amaranth import Module, Mux, ResetInserter, Signal, unsigned
from amaranth.back import verilog
from amaranth.lib import wiring
from amaranth.lib.wiring import Out

from systolith.hw.axi import ADDR_BITS, AxiMaster, axi4_signature, axi_lite_signature
from systolith.hw.config import PRESETS, AcceleratorConfig
from systolith.hw.csr import CSR_ADDR_BITS, Counter, CsrBlock
from systolith.hw.fifo import StreamFifo
from systolith.hw.isa import ErrorCode, Unit
from systolith.sim.rtl.build import build_verilog
from systolith.sim.rtl.device import CoreError, CoreTimeout, Fault, RtlCore

pytestmark = pytest.mark.rtl

TINY = PRESETS["tiny"]
BLOCK = 64    # bytes that one "instruction" of the copy engine moves
CREDITS = 80  # blocks that it can hold, more than the DRAM takes at a time


class CopyEngine(wiring.Component):
    """Has the ports of the core; copies COUNT blocks of 64 bytes from PROGRAM to the place right behind them.

    Every block counts as one LOAD (AR to last R) and one STORE (AW to B). ``breaks_axi`` seeds a bug: the read address
    changes while it waits.
    """

    def __init__(self, config: AcceleratorConfig, breaks_axi: bool = False):
        self.config = config
        self.breaks_axi = breaks_axi
        super().__init__({"bus": Out(axi4_signature(ADDR_BITS, config.word_bytes)),
                          "csr": Out(axi_lite_signature(CSR_ADDR_BITS)),
                          "irq": Out(1), "issue": Out(4), "retire": Out(4)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        word_bytes, beats = self.config.word_bytes, BLOCK // self.config.word_bytes
        m.submodules.master = master = AxiMaster(word_bytes)
        wiring.connect(m, master.bus, wiring.flipped(self.bus))
        m.submodules.csrs = csr = CsrBlock(self.config)
        wiring.connect(m, wiring.flipped(self.csr), csr.bus)
        data = StreamFifo(unsigned(8 * word_bytes), CREDITS * beats)
        m.submodules.data = ResetInserter(csr.soft_reset)(data)

        # Counts of blocks: address sent, data read, write address sent, write answered, places free in the FIFO.
        asked, read, claimed, written = (Signal(32, name=name) for name in ("asked", "read", "claimed", "written"))
        credits, beat = Signal(range(CREDITS + 1), init=CREDITS), Signal(8)
        running, spin = Signal(), Signal()
        ar, aw, w, r, b = master.ar, master.aw, master.w, master.r, master.b
        took_ar, took_aw, took_w, took_r, took_b = (port.valid & port.ready for port in (ar, aw, w, r, b))
        m.d.comb += [
            ar.payload.addr.eq(csr.base + csr.program + (asked + (spin if self.breaks_axi else 0)) * BLOCK),
            ar.payload.len.eq(beats - 1), ar.valid.eq(running & (asked != csr.count) & (credits != 0)),
            aw.payload.addr.eq(csr.base + csr.program + (csr.count + claimed) * BLOCK),
            aw.payload.len.eq(beats - 1), aw.valid.eq(claimed != read),
            data.i.payload.eq(r.payload.data), data.i.valid.eq(r.valid), r.ready.eq(data.i.ready),
            w.payload.data.eq(data.o.payload), w.payload.last.eq(beat == beats - 1), w.valid.eq(data.o.valid),
            data.o.ready.eq(w.ready), b.ready.eq(1),
            self.issue[Unit.LOAD].eq(took_ar), self.retire[Unit.LOAD].eq(took_r & r.payload.last),
            self.issue[Unit.STORE].eq(took_aw), self.retire[Unit.STORE].eq(took_b),
            self.irq.eq(csr.irq), csr.events[Counter.CYCLES].eq(running),
            csr.busy.eq(running | (asked != read) | (claimed != written)),
            csr.done.eq(running & (written == csr.count)),
        ]
        m.d.sync += [spin.eq(~spin), asked.eq(asked + took_ar), read.eq(read + self.retire[Unit.LOAD]),
                     claimed.eq(claimed + took_aw), written.eq(written + took_b),
                     credits.eq(credits - took_ar + (took_w & w.payload.last))]
        with m.If(took_w):
            m.d.sync += beat.eq(Mux(w.payload.last, 0, beat + 1))
        for port, unit, index, code in ((r, Unit.LOAD, read, ErrorCode.AXI_READ),
                                        (b, Unit.STORE, written, ErrorCode.AXI_WRITE)):
            with m.If(running & port.valid & (port.payload.resp != 0)):
                m.d.comb += [csr.error.valid.eq(1), csr.error.code.eq(code), csr.error.unit.eq(unit),
                             csr.error.address.eq(csr.program + index * BLOCK)]
        with m.If(csr.done | csr.error.valid):
            m.d.sync += running.eq(0)
        with m.If(csr.start):
            m.d.sync += running.eq(1)
        with m.If(csr.start | csr.soft_reset):
            m.d.sync += [credits.eq(CREDITS), *(count.eq(0) for count in (asked, read, claimed, written))]
        return m


@functools.cache
def engine_verilog(config: AcceleratorConfig, breaks_axi: bool = False) -> str:
    return verilog.convert(CopyEngine(config, breaks_axi), name="core", emit_src=False)


def build_engine(config: AcceleratorConfig, *, breaks_axi: bool = False) -> Path:
    return build_verilog(engine_verilog(config, breaks_axi), config.word_bytes)


def make(config: AcceleratorConfig = TINY, latency: int = 20, bandwidth: int | None = None, **options) -> RtlCore:
    bandwidth = config.word_bytes if bandwidth is None else bandwidth
    settings = AcceleratorConfig.from_dict({**config.to_dict(), "dram_latency": latency, "dram_bandwidth": bandwidth})
    return RtlCore(settings, library=build_engine(config), dram_bytes=1 << 20, **options)


def noise(size: int, seed: int = 1) -> bytes:
    return np.random.default_rng(seed).bytes(size)


def copied(core: RtlCore, count: int, program: int = 0x1000, base: int = 0) -> bool:
    data = noise(count * BLOCK)
    core.write(base + program, data)
    core.run(program, count, base=base)
    return core.read(base + program + len(data), len(data)) == data


@pytest.mark.parametrize("rows", [2, 8, 16, 64])
def test_every_word_width_moves_the_same_bytes(rows: int) -> None:
    config = AcceleratorConfig(rows=rows, act_kib=256, wgt_kib=64, param_kib=8)
    assert copied(make(config), 40, program=0x2000, base=0x800)


@pytest.mark.parametrize("latency", [1, 7, 100])
def test_first_beat_comes_latency_cycles_after_the_address(latency: int) -> None:
    core, beats = make(latency=latency, bandwidth=4096), BLOCK // TINY.word_bytes
    result = core.run(0, 1)
    assert result.retire[Unit.LOAD][0] - result.issue[Unit.LOAD][0] == latency + beats - 1


@pytest.mark.parametrize("latency", [1, 30])
def test_write_response_comes_latency_cycles_after_the_last_beat(latency: int) -> None:
    core = make(latency=latency, bandwidth=4096)
    result = core.run(0, 1)
    assert result.retire[Unit.STORE][0] - result.issue[Unit.STORE][0] == BLOCK // TINY.word_bytes + latency


@pytest.mark.parametrize("bandwidth", [1, 3, 4, 8, 4096])
def test_reads_and_writes_share_the_bandwidth_exactly(bandwidth: int) -> None:
    count, latency = 200, 5
    result = make(latency=latency, bandwidth=bandwidth).run(0, count)
    first, last = int(result.issue[Unit.LOAD][0]) + latency, int(result.retire[Unit.STORE][-1]) - latency
    # Between the first beat read and the last beat written the bus never rests; each direction has its own channel,
    # so it cannot pass more than a word per cycle.
    shortest = max(2 * count * BLOCK / bandwidth, count * BLOCK / TINY.word_bytes)
    assert shortest - 2 * TINY.word_bytes / bandwidth <= last - first + 1 <= shortest + 2 * BLOCK / TINY.word_bytes


def test_runs_are_deterministic() -> None:
    first, second = (make(stall=0.4, seed=3).run(0, 50) for _ in range(2))
    assert first.cycles == second.cycles
    assert all(np.array_equal(first.retire[unit], second.retire[unit]) for unit in Unit)


@pytest.mark.parametrize("seed", range(4))
def test_random_stalls_do_not_change_the_data(seed: int) -> None:
    assert copied(make(stall=0.5, seed=seed), 100)


def test_at_most_64_reads_are_outstanding() -> None:
    core = make(AcceleratorConfig(rows=64, act_kib=256), latency=500)
    result = core.run(0, 200)
    issue, retire = result.issue[Unit.LOAD], result.retire[Unit.LOAD]
    assert max(np.count_nonzero(issue <= t) - np.count_nonzero(retire < t) for t in issue) <= 64


def test_events_count_every_block() -> None:
    result = make().run(0, 17)
    assert {unit: (len(result.issue[unit]), len(result.retire[unit])) for unit in Unit} == {
        Unit.LOAD: (17, 17), Unit.COMPUTE: (0, 0), Unit.VECTOR: (0, 0), Unit.STORE: (17, 17)}
    assert result.cycles == result.counters["CYCLES"] > 0


@pytest.mark.parametrize(("fault", "code", "unit", "offset"), [
    (Fault.READ_ERROR, ErrorCode.AXI_READ, Unit.LOAD, 0),
    (Fault.WRITE_ERROR, ErrorCode.AXI_WRITE, Unit.STORE, 8 * BLOCK),
])
def test_bus_errors_are_raised_and_the_next_run_works(fault: Fault, code: ErrorCode, unit: Unit, offset: int) -> None:
    core, program = make(), 0x1000
    at = program + 3 * BLOCK + 4 + offset
    core.inject(fault, at, at + 4)
    with pytest.raises(CoreError, match=rf"{code.name} in {unit.name} at address 0x10c0 \(instruction 3\)") as caught:
        core.run(program, 8)
    assert (caught.value.code, caught.value.unit, caught.value.address) == (code, unit, program + 3 * BLOCK)
    core.clear_faults()
    assert copied(core, 8, program)


def test_access_outside_the_dram_is_an_error() -> None:
    with pytest.raises(CoreError) as caught:
        make().run((1 << 20) - 2 * BLOCK, 4)
    assert caught.value.code in (ErrorCode.AXI_READ, ErrorCode.AXI_WRITE)


@pytest.mark.parametrize("fault", [Fault.NO_READ_DATA, Fault.NO_WRITE_RESPONSE, Fault.NO_ACCEPT])
def test_a_dead_bus_ends_in_a_timeout_and_the_next_run_works(fault: Fault) -> None:
    core = make()
    core.inject(fault)
    with pytest.raises(CoreTimeout, match="within 5000 cycles"):
        core.run(0, 8, max_cycles=5000)
    core.clear_faults()
    assert copied(core, 8)


def test_breaking_an_axi_rule_is_reported() -> None:
    core = RtlCore(TINY, library=build_engine(TINY, breaks_axi=True), dram_bytes=1 << 20, stall=0.5)
    with pytest.raises(RuntimeError, match="read address changed before it was taken"):
        core.run(0, 50)


def test_a_core_of_another_configuration_is_refused() -> None:
    other = AcceleratorConfig.from_dict({**TINY.to_dict(), "queue_depth": 8})
    with pytest.raises(RuntimeError, match="CSR HASH_LO must be .*another configuration"):
        RtlCore(other, library=build_engine(TINY))


def test_bad_arguments_are_refused() -> None:
    core = make()
    with pytest.raises(ValueError, match="DRAM range must lie within 1048576 bytes"):
        core.write((1 << 20) - 1, b"ab")
    with pytest.raises(ValueError, match="dram_bytes must be a multiple of 4"):
        RtlCore(TINY, dram_bytes=10)
    core.close()
    with pytest.raises(RuntimeError, match="the core is closed"):
        core.run(0, 1)


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SYSTOLITH_CACHE", str(tmp_path))
    yield tmp_path


def test_a_failed_build_names_its_log_and_leaves_no_library(empty_cache: Path) -> None:
    with pytest.raises(RuntimeError, match=r"could not build the core(.|\n)*syntax error(.|\n)*\.log") as error:
        build_verilog("module core(; endmodule", 4)
    assert Path(str(error.value).rsplit("full log: ", 1)[1]).exists()
    assert not list(empty_cache.rglob("core.so"))


def test_concurrent_builders_compile_once(empty_cache: Path) -> None:
    compiled: list[str] = []
    text = engine_verilog(TINY)
    with ThreadPoolExecutor(2) as pool:
        builds = [pool.submit(build_verilog, text, TINY.word_bytes, progress=compiled.append) for _ in range(2)]
    assert builds[0].result() == builds[1].result()
    assert len(compiled) == 1


def test_a_missing_compiler_is_one_clear_line(empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", os.devnull)
    with pytest.raises(RuntimeError, match=r"^c\+\+ must be installed to build the rtl device[^\n]*$"):
        build_verilog("module core; endmodule", 4)
