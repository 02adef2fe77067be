"""Every opcode against plain loops over Python integers."""

from itertools import product

import numpy as np
import pytest

from systolith.hw.config import AcceleratorConfig
from systolith.hw.isa import Buffer, Opcode, PoolMode, Unit
from tests.unit.sim.reference import PROGRAM, TINY, clamp, machine, requant, run_one, tap, window, wrap

R = TINY.rows


@pytest.mark.parametrize("buffer", list(Buffer))
@pytest.mark.parametrize("rows, row_words, local_stride, dram_stride", [(1, 5, 0, 0), (3, 4, 4, 16), (3, 2, 7, 24)])
def test_load_copies_runs_of_words(buffer, rows, row_words, local_stride, dram_stride):
    m = machine()
    target = {Buffer.ACT: m.act, Buffer.WGT: m.wgt, Buffer.PARAM: m.param}[buffer]
    expected = target.copy()
    for r in range(rows):
        at = 0x100 + 0x40 + r * dram_stride
        expected[9 + r * local_stride:][:row_words] = m.dram[at:at + row_words * R].reshape(-1, R).view(target.dtype)
    result = run_one(m, Opcode.LOAD, base=0x100, dram=0x40, dram_stride=dram_stride, local=9,
                     local_stride=local_stride, rows=rows, row_words=row_words, buffer=buffer)
    assert np.array_equal(target, expected)
    assert result.dram_bytes_read == rows * row_words * R
    assert result.instructions == {Unit.LOAD: 1, Unit.COMPUTE: 0, Unit.VECTOR: 0, Unit.STORE: 0}


def test_load_strides_backwards_by_wrapping_dram_addresses():
    m = machine()
    words = m.dram[:0x80].reshape(-1, R).view(np.int8)
    run_one(m, Opcode.LOAD, dram=0x40, dram_stride=2**32 - 0x10, local=0, local_stride=2, rows=3, row_words=2)
    assert np.array_equal(m.act[:6], words[[16, 17, 12, 13, 8, 9]])


@pytest.mark.parametrize("rows, row_words, local_stride, dram_stride", [(1, 5, 0, 0), (3, 4, 4, 16), (3, 2, 7, 24)])
def test_store_copies_runs_of_words(rows, row_words, local_stride, dram_stride):
    m = machine()
    expected = m.dram.copy()
    for r in range(rows):
        source = m.act[9 + r * local_stride:][:row_words]
        expected[0x140 + r * dram_stride:][:row_words * R] = source.reshape(-1).view(np.uint8)
    result = run_one(m, Opcode.STORE, base=0x100, dram=0x40, dram_stride=dram_stride, local=9,
                     local_stride=local_stride, rows=rows, row_words=row_words, buffer=3)
    expected[0x100 + PROGRAM:][:64] = m.dram[0x100 + PROGRAM:][:64]
    assert np.array_equal(m.dram, expected)
    assert result.dram_bytes_written == rows * row_words * R


@pytest.mark.parametrize("row_words, windows, pitch", [(5, 9, 2), (5, 17, 1), (4, 4, 4), (4, 5, 3), (7, 2, 3),
                                                       (1, 1, 4)])
def test_load_gathers_windows_of_bytes(row_words, windows, pitch):
    m = machine()
    expected = m.act.copy()
    for r in range(3):
        run = m.dram[0x140 + r * 0x30:][:row_words * R].view(np.int8)
        for i in range(windows):
            expected[9 + r * 20 + i] = run[i * pitch:i * pitch + R]
    result = run_one(m, Opcode.LOAD, base=0x100, dram=0x40, dram_stride=0x30, local=9, local_stride=20, rows=3,
                     row_words=row_words, pitch=pitch, windows=windows)
    assert np.array_equal(m.act, expected)
    assert result.dram_bytes_read == 3 * row_words * R


def test_store_has_no_windows():
    m = machine()
    run_one(m, Opcode.STORE, local=9, rows=1, row_words=2, pitch=1, windows=99)
    assert np.array_equal(m.dram[:2 * R].view(np.int8).reshape(2, R), m.act[9:11])


# in_h, in_w, blocks, kernel, stride, pads (top, left), dilation, out
CONVOLUTIONS = {
    "pointwise": (4, 5, 2, (1, 1), (1, 1), (0, 0), (1, 1), (4, 5)),
    "same 3x3": (5, 5, 1, (3, 3), (1, 1), (1, 1), (1, 1), (5, 5)),
    "strided": (7, 6, 3, (3, 2), (2, 3), (1, 0), (1, 1), (4, 2)),
    "dilated": (9, 8, 2, (2, 3), (1, 2), (2, 3), (4, 3), (7, 4)),
    "all padding": (2, 2, 1, (1, 1), (1, 1), (5, 5), (1, 1), (2, 2)),
}


@pytest.mark.parametrize("accumulate", [0, 1])
@pytest.mark.parametrize("shape", CONVOLUTIONS.values(), ids=CONVOLUTIONS.keys())
def test_compute_accumulates_a_convolution_tile(shape, accumulate):
    m = machine(accumulate)
    f = window(100, *shape, fill=-7)
    f |= {"blocks": shape[2], "step_block": 1, "dil_y": shape[6][0], "dil_x": shape[6][1], "wgt": 33, "groups": 1}
    f |= {"tiles": f["kh"] * f["kw"] * f["blocks"], "acc": 66, "accumulate": accumulate}
    expected = m.acc.copy()
    for p, (y, x) in enumerate(np.ndindex(*shape[-1])):
        for c in range(R):
            total, t = int(m.acc[66 + p, c]) if accumulate else 0, 0
            for ky, kx, block in np.ndindex(f["kh"], f["kw"], f["blocks"]):
                pixel = tap(m.act, f, y, x, ky, kx, block)
                total += sum(pixel[r] * int(m.wgt[33 + t * R + r, c]) for r in range(R))
                t += 1
            expected[66 + p, c] = wrap(total)
    result = run_one(m, Opcode.COMPUTE, **f)
    assert np.array_equal(m.acc, expected)
    assert result.pixel_words == f["out_h"] * f["out_w"] * f["tiles"]


@pytest.mark.parametrize("accumulate", [0, 1])
@pytest.mark.parametrize("step_block, step_group", [(1, 0), (35, 0), (35, 70), (3, 2**20 - 5)])
def test_compute_repeats_for_groups_of_weights_and_inputs(step_block, step_group, accumulate):
    m = machine(accumulate)
    shape = (5, 7, 2, (3, 2), (1, 2), (1, 1), (1, 1), (4, 3))
    f = window(300, *shape, fill=-7) | {"blocks": 2, "step_block": step_block, "dil_y": 1, "dil_x": 1, "wgt": 33,
                                        "tiles": 12, "acc": 66, "accumulate": accumulate, "groups": 3,
                                        "step_group": step_group}
    expected = m.acc.copy()
    for g, (p, (y, x)) in product(range(3), enumerate(np.ndindex(4, 3))):
        shifted = f | {"in_base": f["in_base"] + g * step_group}
        for c in range(R):
            total = int(m.acc[66 + 12 * g + p, c]) if accumulate else 0
            for t, (ky, kx, block) in enumerate(np.ndindex(3, 2, 2)):
                pixel = tap(m.act, shifted, y, x, ky, kx, block)
                total += sum(pixel[r] * int(m.wgt[33 + (12 * g + t) * R + r, c]) for r in range(R))
            expected[66 + 12 * g + p, c] = wrap(total)
    result = run_one(m, Opcode.COMPUTE, **f)
    assert np.array_equal(m.acc, expected)
    assert result.pixel_words == 3 * 12 * 12


def test_compute_is_exact_when_every_product_is_the_largest():
    config = AcceleratorConfig(rows=16)
    m = machine(config=config)
    m.act[:], m.wgt[:] = -128, -128
    tiles = config.wgt_words // config.rows  # deeper than float32 could sum
    run_one(m, Opcode.COMPUTE, in_h=1, in_w=1, out_h=1, out_w=1, kh=1, kw=1, blocks=tiles, tiles=tiles, groups=1)
    assert m.acc[0].tolist() == [tiles * 16 * 2**14] * 16


def test_accumulators_wrap_at_32_bits():
    m = machine()
    m.act[0], m.wgt[:R], m.acc[0] = 127, 127, 2**31 - 1
    run_one(m, Opcode.COMPUTE, in_h=1, in_w=1, out_h=1, out_w=1, kh=1, kw=1, blocks=1, tiles=1, groups=1, accumulate=1)
    assert m.acc[0].tolist() == [-(2**31) - 1 + R * 127 * 127] * R


def parameters(rng: np.random.Generator, shift: list[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return random biases and multipliers, and the parameter words that hold them, uint8 [9, R]."""
    bias, mult = rng.integers(-(2**30), 2**30, R), rng.integers(2**30, 2**31, R)
    mult[0] = 0
    planes = np.zeros((9, R), np.uint8)
    planes[:8] = np.array([bias, mult], "<i4").T.copy().view(np.uint8).reshape(R, 8).T
    planes[8] = np.array(shift, np.int8).view(np.uint8)
    return bias, mult, planes


@pytest.mark.parametrize("groups", [1, 3])
@pytest.mark.parametrize("height, width", [(3, 7), (1, 1)])
def test_requant_scales_each_channel_of_each_group(groups, height, width):
    m = machine()
    rng = np.random.default_rng(1)
    m.acc[:] >>= rng.integers(0, 24, m.acc.shape)
    f = {"dst": 40, "dst_step_y": 20, "dst_step_x": 2, "out_h": height, "out_w": width, "zp": -3, "lo": -100, "hi": 99}
    expected = m.act.copy()
    for g in range(groups):
        shift = [-9, -31, 7, -g]
        bias, mult, m.param[5 + 9 * g:][:9] = parameters(rng, shift)
        for p, (y, x) in enumerate(np.ndindex(height, width)):
            for c in range(R):
                acc = wrap(int(m.acc[64 + g * height * width + p, c]) + int(bias[c]))
                expected[40 + g * 200 + y * 20 + x * 2, c] = clamp(requant(acc, int(mult[c]), shift[c]), f)
    run_one(m, Opcode.REQUANT, acc=64, param=5, groups=groups, dst_step_group=200, **f)
    assert np.array_equal(m.act, expected)


IMAGES = {"dst": 700, "dst_step_y": 9, "dst_step_x": 1, "out_h": 5, "out_w": 6, "zp": 4, "lo": -128, "hi": 127,
          "a": 10, "a_step_y": 12, "a_step_x": 2, "b": 300, "b_step_y": 6, "b_step_x": 1, "a_zp": -128, "b_zp": 127}


def pairs(m, f):
    """Yield (output index, a, b) of every value of two images, zero points subtracted."""
    for y, x, c in np.ndindex(5, 6, R):
        a, b = int(m.act[10 + y * 12 + x * 2, c]) - f["a_zp"], int(m.act[300 + y * 6 + x, c]) - f["b_zp"]
        yield (700 + y * 9 + x, c), a, b


@pytest.mark.parametrize("a_sign, b_sign", [(1, 1), (1, -1), (-1, 1)])
def test_add_rescales_the_second_operand(a_sign, b_sign):
    m = machine()
    f = IMAGES | {"b_mult": 1987654321, "b_shift": -2, "y_mult": 1300000000, "y_shift": -18,
                  "a_negate": a_sign < 0, "b_negate": b_sign < 0}
    expected = m.act.copy()
    for index, a, b in pairs(m, f):
        total = a_sign * requant(a << 20, 2**30, 0) + b_sign * requant(b << 20, f["b_mult"], f["b_shift"])
        expected[index] = clamp(requant(total, f["y_mult"], f["y_shift"]), f)
    run_one(m, Opcode.ADD, **f)
    assert np.array_equal(m.act, expected)


def test_mul_scales_the_product():
    m = machine()
    f = IMAGES | {"y_mult": 1300000000, "y_shift": -7}
    expected = m.act.copy()
    for index, a, b in pairs(m, f):
        expected[index] = clamp(requant(a * b, f["y_mult"], f["y_shift"]), f)
    run_one(m, Opcode.MUL, **f)
    assert np.array_equal(m.act, expected)


def test_table_maps_every_value_and_keeps_its_entries():
    m = machine()
    entries = m.param[7:7 + 256 // R].reshape(-1).view(np.int8).copy()
    f = {"dst": 700, "dst_step_y": 9, "dst_step_x": 1, "out_h": 5, "out_w": 6, "a": 10, "a_step_y": 12, "a_step_x": 2}
    expected = m.act.copy()
    for y, x, c in np.ndindex(5, 6, R):
        expected[700 + y * 9 + x, c] = entries[int(m.act[10 + y * 12 + x * 2, c]) + 128]
    run_one(m, Opcode.TABLE, param=7, reload=1, **f)
    assert np.array_equal(m.act, expected)
    m.param[:], m.act[700:760] = 0, 0
    run_one(m, Opcode.TABLE, **f)
    assert np.array_equal(m.act, np.where(np.isin(np.arange(len(expected)), np.arange(700, 760))[:, None]
                                          & (expected != m.act), m.act, expected))
    assert m.act[700:706].any()


def test_images_step_backwards_by_wrapping_addresses():
    m = machine()
    expected = m.act[:4].copy()
    backwards = {"out_h": 4, "out_w": 1, "step_y": 2**20 - 1, "in_base": 3}
    run_one(m, Opcode.POOL, **backwards, in_h=1, in_w=1, kh=1, kw=1, dst=103, dst_step_y=2**20 - 1, lo=-128, hi=127)
    assert np.array_equal(m.act[100:104], expected)


def _average(total: int, f: dict[str, int]) -> int:
    total += f["half"] if total > 0 else -f["half"]
    return clamp((total * f["mult"] >> 31) + (total < 0), f)


REDUCTIONS = {
    PoolMode.MAX: lambda taps, f: clamp(max(taps), f),
    PoolMode.SUM: lambda taps, f: clamp(requant(sum(taps) + f["bias"], f["mult"], f["shift"]), f),
    PoolMode.AVERAGE: lambda taps, f: _average(sum(taps), f),
}


@pytest.mark.parametrize("mode", list(PoolMode))
@pytest.mark.parametrize("kernel, stride, pads", [((3, 2), (2, 1), (1, 1)), ((1, 1), (1, 1), (0, 0)),
                                                  ((4, 4), (1, 1), (0, 0))])
def test_pool_reduces_windows(mode, kernel, stride, pads):
    m = machine()
    f = window(50, 8, 7, 3, kernel, stride, pads, (1, 1), (3, 4), fill=-9)
    f |= {"dst": 1000, "dst_step_y": 5, "dst_step_x": 1, "zp": 2, "lo": -90, "hi": 110, "mode": mode}
    f |= {"bias": -300, "mult": 1500000000, "shift": -3, "half": kernel[0] * kernel[1] // 2}
    f |= {"shift": 0} if mode == PoolMode.AVERAGE else {}
    expected = m.act.copy()
    for y, x in np.ndindex(3, 4):
        taps = [tap(m.act, f, y, x, ky, kx) for ky, kx in np.ndindex(*kernel)]
        expected[1000 + y * 5 + x] = [REDUCTIONS[mode](list(column), f) for column in zip(*taps, strict=True)]
    run_one(m, Opcode.POOL, **f)
    assert np.array_equal(m.act, expected)


@pytest.mark.parametrize("n", [2, 3, 4, 7, 9, 16, 49, 64, 1000, 2048])
def test_average_divides_like_the_reference(n):
    """Totals around every multiple of n/2: rounding half away from zero needs a multiplier above 2^31 / n."""
    m = machine()
    totals = sorted({k * n // 2 + d for k in range(-40, 41) for d in (-1, 0, 1)} & set(range(-128 * n, 127 * n + 1)))
    height = next(h for h in range(1, n + 1) if n % h == 0 and n // h <= 255 and h <= 255)
    for total in totals[:: max(1, len(totals) // 60)]:
        low, extra = divmod(total, n)
        m.act[:n] = low
        m.act[:extra] += 1
        run_one(m, Opcode.POOL, in_h=height, in_w=n // height, out_h=1, out_w=1, kh=height, kw=n // height, tap_x=1,
                tap_y=n // height, mode=PoolMode.AVERAGE, half=n // 2, mult=2**31 // n + 1, dst=9000, lo=-128, hi=127)
        expected = (total + n // 2) // n if total > 0 else -((n // 2 - total) // n)
        assert m.act[9000].tolist() == [expected] * R, f"total {total}"


def test_same_program_sees_new_data_and_new_code():
    m = machine()
    run_one(m, Opcode.LOAD, dram=0, local=0, rows=1, row_words=1)
    m.write(0, b"\x05" * R)
    m.run(PROGRAM, 1)
    assert m.act[0].tolist() == [5] * R
    run_one(m, Opcode.LOAD, dram=0, local=1, rows=1, row_words=1)
    assert m.act[1].tolist() == [5] * R


def test_dram_reads_back_what_was_written():
    m = machine()
    m.write(16, np.arange(4, dtype="<i2"))
    assert m.read(16, 8) == bytes([0, 0, 1, 0, 2, 0, 3, 0])
    with pytest.raises(ValueError, match="DRAM range must lie within 0..65536, not 65530..65540"):
        m.read(65530, 10)
