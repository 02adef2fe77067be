"""The compiler's programs on the instruction-level machine against the golden device, operator by operator."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from systolith.host.compiler import compile_graph, compile_model
from systolith.host.devices.golden import execute
from systolith.host.disasm import disassemble
from systolith.host.frontends.tflite import read_tflite
from systolith.host.graph import Graph, QuantParams, Tensor
from systolith.host.program import CpuStep, HwStep, Program
from systolith.hw.config import AcceleratorConfig
from systolith.hw.isa import INSTR_BYTES, Opcode, decode
from tests.shared_data import shared_file

from .graphs import QUANT, act, const, graph, op
from .simulate import check, random_inputs, run

TINY = AcceleratorConfig.preset("tiny")
# Buffers so small that tensors stream in bands and weights come in pieces.
CRAMPED = replace(TINY, act_kib=1, wgt_kib=1, queue_depth=2)
ACTIVATIONS = ("NONE", "RELU", "RELU6", "RELU_N1_TO_1")


def units(compiled) -> dict[str, str]:
    return {layer.name: layer.unit for layer in compiled.layers}


def quant(rng: np.random.Generator) -> QuantParams:
    return QuantParams((float(np.float32(rng.uniform(0.02, 0.3))),), (int(rng.integers(-128, 128)),))


def weights(rng: np.random.Generator, name: str, *shape: int, axis: int = 0) -> Tensor:
    data = rng.integers(-127, 128, shape).astype(np.int8)
    scales = tuple(float(np.float32(s)) for s in rng.uniform(0.0005, 0.02, shape[axis]))
    return Tensor(name, shape, "int8", QuantParams(scales, (0,) * shape[axis], axis), data)


def bias(rng: np.random.Generator, channels: int) -> Tensor:
    return Tensor("b", (channels,), "int32", None, rng.integers(-5000, 5000, channels).astype(np.int32))


def random_conv(rng: np.random.Generator, depthwise: bool) -> Graph:
    kh, kw = rng.integers(1, 5, 2).tolist()
    sy, sx = rng.integers(1, 4, 2).tolist()
    dy, dx = rng.integers(1, 3, 2).tolist()
    pads = tuple(tuple(pair) for pair in rng.integers(0, 3, (2, 2)).tolist())
    h, w = ((kernel - 1) * dilation + 1 + int(rng.integers(0, 12)) for kernel, dilation in ((kh, dy), (kw, dx)))
    channels = int(rng.integers(1, 14))
    outputs = channels if depthwise else int(rng.integers(1, 14))
    oh = (h + sum(pads[0]) - (kh - 1) * dy - 1) // sy + 1
    ow = (w + sum(pads[1]) - (kw - 1) * dx - 1) // sx + 1
    shape = (1, kh, kw, channels) if depthwise else (outputs, kh, kw, channels)
    kernel = weights(rng, "w", *shape, axis=3 if depthwise else 0)
    attrs = {"stride": (sy, sx), "dilation": (dy, dx), "pads": pads, "activation": str(rng.choice(ACTIVATIONS))}
    tensors = [act("x", 1, h, w, channels, quant=quant(rng)), kernel, bias(rng, outputs),
               act("y", 1, oh, ow, outputs, quant=quant(rng))]
    names = "x w b" if rng.integers(4) else "x w"
    if depthwise:
        return graph(tensors, [op("DEPTHWISE_CONV_2D", names, "y", **attrs, multiplier=1)])
    return graph(tensors, [op("CONV_2D", names, "y", **attrs, groups=1)])


def random_fully_connected(rng: np.random.Generator) -> Graph:
    rows, inputs, outputs = (int(n) for n in rng.integers(1, (6, 70, 40)))
    tensors = [act("x", rows, inputs, quant=quant(rng)), weights(rng, "w", outputs, inputs), bias(rng, outputs),
               act("y", rows, outputs, quant=quant(rng))]
    # The batch of a network is 1; rows of a matrix are not a batch here.
    return graph(tensors, [op("FULLY_CONNECTED", "x w b", "y", activation="RELU", keep_dims=False)])


def random_pool(rng: np.random.Generator, kind: str) -> Graph:
    kh, kw = rng.integers(1, 6, 2).tolist()
    sy, sx = rng.integers(1, 4, 2).tolist()
    pads = tuple(tuple(int(n) for n in rng.integers(0, k, 2)) for k in (kh, kw))
    h, w, channels = (int(n) for n in rng.integers((kh, kw, 1), (20, 20, 14)))
    # A window may not lie wholly in the padding behind the image.
    oh, ow = ((size + sum(pad) - k) // s + 1 for size, pad, k, s in ((h, pads[0], kh, sy), (w, pads[1], kw, sx)))
    oh, ow = (min(n, (size + pad[0] - 1) // s + 1) for n, size, pad, s in ((oh, h, pads[0], sy), (ow, w, pads[1], sx)))
    pads = tuple((before, (n - 1) * s + k - size - before if (n - 1) * s + k > size + before else 0)
                 for (before, _), n, s, k, size in ((pads[0], oh, sy, kh, h), (pads[1], ow, sx, kw, w)))
    oh, ow = ((size + sum(pad) - k) // s + 1 for size, pad, k, s in ((h, pads[0], kh, sy), (w, pads[1], kw, sx)))
    q = quant(rng)
    tensors = [act("x", 1, h, w, channels, quant=q), act("y", 1, oh, ow, channels, quant=q)]
    attrs = {"kernel": (kh, kw), "stride": (sy, sx), "pads": pads, "activation": str(rng.choice(ACTIVATIONS[:3]))}
    return graph(tensors, [op(kind, "x", "y", **attrs)])


def random_reduction(rng: np.random.Generator, kind: str) -> Graph:
    h, w, channels = (int(n) for n in rng.integers(1, (20, 20, 14)))
    axes = ((1,), (2,), (1, 2))[rng.integers(3)]
    keep = bool(rng.integers(2))
    full = [1, *(1 if axis in axes else size for axis, size in ((1, h), (2, w))), channels]
    shape = full if keep else [size for axis, size in enumerate(full) if axis not in axes]
    x = act("x", 1, h, w, channels, quant=quant(rng))
    scale = 0.05 * x.scale * float(h * w) if kind == "SUM" else x.scale
    y = act("y", *shape, quant=x.quant if kind == "REDUCE_MAX" else QuantParams((scale,), quant(rng).zero_point))
    return graph([x, y], [op(kind, "x", "y", axes=axes, keepdims=keep)])


def random_pair(rng: np.random.Generator, kind: str, constant: bool = False) -> Graph:
    """One operand may be repeated over rows and columns, or be a constant, then also over channels."""
    shape = 1, *(int(n) for n in rng.integers(1, (20, 20, 14)))
    repeated = 1, *(n if rng.integers(2) else 1 for n in shape[1:3]), shape[3] if not constant or rng.integers(2) else 1
    sizes = {"a": shape, "b": repeated, "y": shape}
    tensors = {name: act(name, *size, quant=quant(rng)) for name, size in sizes.items()}
    if kind == "MUL":
        tensors["y"] = act("y", *shape, quant=QuantParams((4.0,), (int(rng.integers(-128, 128)),)))
    if constant:
        data = rng.integers(-128, 128, repeated).astype(np.int8)
        tensors["b"] = replace(tensors["b"], data=data)
    names = "a b" if rng.integers(2) else "b a"
    return graph([*tensors.values()], [op(kind, names, "y", activation=str(rng.choice(ACTIVATIONS)))],
                 inputs="a" if constant else "a b")


def random_unary(rng: np.random.Generator) -> Graph:
    shape = 1, *(int(n) for n in rng.integers(1, (20, 20, 14)))
    return graph([act(name, *shape, quant=quant(rng)) for name in "xy"], [op("HARD_SWISH", "x", "y")])


def random_steps(rng: np.random.Generator) -> Graph:
    """A convolution whose result goes through a table, is added, weighted by a gate and goes through a table again."""
    h, w, channels = (int(n) for n in rng.integers(1, (20, 20, 14)))
    image, gate = (1, h, w, channels), (1, 1, 1, channels)
    tensors = [act("x", 1, h, w, 3, quant=quant(rng)), weights(rng, "k", channels, 1, 1, 3),
               act("r", *image, quant=quant(rng)), act("g", *gate, quant=quant(rng)),
               *(act(name, *image, quant=quant(rng)) for name in "abcdy")]
    ops = [op("CONV_2D", "x k", "a", stride=(1, 1), dilation=(1, 1), groups=1, activation="NONE",
              pads=((0, 0), (0, 0))), op("HARD_SWISH", "a", "b"), op("ADD", "r b", "c", activation="RELU"),
           op("MUL", "c g", "d", activation="NONE"), op("TANH" if rng.integers(2) else "ABS", "d", "y")]
    ends = {"TANH": QuantParams((1 / 128,), (0,))}
    tensors[-1] = replace(tensors[-1], quant=ends.get(ops[-1].kind, tensors[-1].quant))
    return graph(tensors, ops, inputs="x r g")


def random_quantize(rng: np.random.Generator) -> Graph:
    shape = 1, *(int(n) for n in rng.integers(1, (20, 20, 14)))
    return graph([act(name, *shape, quant=quant(rng)) for name in "xy"], [op("QUANTIZE", "x", "y")])


def random_pad(rng: np.random.Generator, kind: str) -> Graph:
    h, w, channels = (int(n) for n in rng.integers(1, (12, 12, 14)))
    (top, bottom), (left, right) = rng.integers(0, 5, (2, 2)).tolist()
    q = quant(rng)
    tensors = [act("x", 1, h, w, channels, quant=q), act("y", 1, h + top + bottom, w + left + right, channels, quant=q)]
    value = {"value": int(rng.integers(-128, 128))} if kind == "PADV2" else {}
    return graph(tensors, [op(kind, "x", "y", paddings=((0, 0), (top, bottom), (left, right), (0, 0)), **value)])


GENERATORS = {
    "conv": lambda rng: random_conv(rng, depthwise=False),
    "depthwise": lambda rng: random_conv(rng, depthwise=True),
    "fully_connected": random_fully_connected,
    "max_pool": lambda rng: random_pool(rng, "MAX_POOL_2D"),
    "average_pool": lambda rng: random_pool(rng, "AVERAGE_POOL_2D"),
    "mean": lambda rng: random_reduction(rng, "MEAN"),
    "sum": lambda rng: random_reduction(rng, "SUM"),
    "reduce_max": lambda rng: random_reduction(rng, "REDUCE_MAX"),
    "add": lambda rng: random_pair(rng, "ADD"),
    "sub": lambda rng: random_pair(rng, "SUB"),
    "mul": lambda rng: random_pair(rng, "MUL"),
    "add_constant": lambda rng: random_pair(rng, "ADD", constant=True),
    "mul_constant": lambda rng: random_pair(rng, "MUL", constant=True),
    "unary": random_unary,
    "steps": random_steps,
    "quantize": random_quantize,
    "pad": lambda rng: random_pad(rng, "PAD"),
    "pad_value": lambda rng: random_pad(rng, "PADV2"),
}


@pytest.mark.parametrize("config", [TINY, CRAMPED], ids=["tiny", "cramped"])
@pytest.mark.parametrize("kind", GENERATORS)
def test_random_operators_equal_golden(kind, config):
    for seed in range(20):
        network = GENERATORS[kind](np.random.default_rng(seed))
        compiled = compile_graph(network, config)
        if config is TINY:
            assert set(units(compiled).values()) <= {"array", "vector"}, f"seed {seed}: {compiled.layers}"
        try:
            check(network, compiled)
        except Exception as error:
            raise AssertionError(f"{kind}, seed {seed}: {error}") from error


def chain(rng: np.random.Generator, size: int, channels: int) -> Graph:
    """A residual block: two convolutions and a pointwise shortcut, added; then pooled, flattened and classified."""
    same = {"stride": (1, 1), "dilation": (1, 1), "groups": 1, "activation": "RELU"}
    image = 1, size, size, channels
    tensors = [act("x", 1, size, size, 3, quant=quant(rng)), *(act(n, *image, quant=quant(rng)) for n in "abcd"),
               weights(rng, "wa", channels, 3, 3, 3), weights(rng, "wb", channels, 3, 3, channels),
               weights(rng, "wc", channels, 1, 1, 3), weights(rng, "wf", 7, size * size // 4 * channels)]
    pooled = act("p", 1, size // 2, size // 2, channels, quant=tensors[4].quant)
    tensors += [pooled, act("f", 1, size * size // 4 * channels, quant=pooled.quant), act("y", 1, 7, quant=quant(rng))]
    ops = [op("CONV_2D", "x wa", "a", **same, pads=((1, 1), (1, 1))),
           op("CONV_2D", "a wb", "b", **same, pads=((1, 1), (1, 1))),
           op("CONV_2D", "x wc", "c", **same, pads=((0, 0), (0, 0))),
           op("ADD", "b c", "d", activation="RELU"),
           op("MAX_POOL_2D", "d", "p", kernel=(2, 2), stride=(2, 2), pads=((0, 0), (0, 0)), activation="NONE"),
           op("RESHAPE", "p", "f"),
           op("FULLY_CONNECTED", "f wf", "y", activation="NONE", keep_dims=False)]
    return graph(tensors, ops)


@pytest.mark.parametrize("config", [TINY, CRAMPED, replace(TINY, act_kib=2), replace(TINY, act_kib=4, wgt_kib=2)],
                         ids=["tiny", "cramped", "2KiB", "4KiB"])
@pytest.mark.parametrize("channels", [6, 8])
def test_residual_network_equals_golden_whether_it_fits_or_streams(config, channels):
    network = chain(np.random.default_rng(channels), 8, channels)
    compiled = compile_graph(network, config)
    assert "cpu" not in units(compiled).values(), compiled.layers
    check(network, compiled, seeds=8)


def test_flattening_an_image_moves_no_byte():
    compiled = compile_graph(chain(np.random.default_rng(0), 8, 6), TINY)
    assert [layer.kind for layer in compiled.layers if layer.kind == "RESHAPE"] == []
    assert sum(isinstance(step, HwStep) for step in compiled.steps) == 1


def test_weights_larger_than_the_buffer_accumulate_in_passes():
    rng = np.random.default_rng(5)
    tensors = [act("x", 1, 7, 5, 60, quant=quant(rng)), weights(rng, "w", 9, 5, 4, 60), bias(rng, 9),
               act("y", 1, 3, 2, 9, quant=quant(rng))]
    network = graph(tensors, [op("CONV_2D", "x w b", "y", stride=(1, 1), dilation=(1, 1), pads=((0, 0), (0, 0)),
                                 activation="NONE", groups=1)])
    config = replace(TINY, wgt_kib=1)
    check(network, compile_graph(network, config), seeds=4)


def test_one_requantisation_follows_the_weights_of_several_output_blocks():
    rng = np.random.default_rng(7)
    config = replace(TINY, wgt_kib=2)  # half of it holds the weights of two blocks
    tensors = [act("x", 1, 120, quant=quant(rng)), weights(rng, "w", 22, 120), bias(rng, 22),
               act("y", 1, 22, quant=quant(rng))]
    network = graph(tensors, [op("FULLY_CONNECTED", "x w b", "y", activation="NONE", keep_dims=False)])
    compiled = compile_graph(network, config)
    code = [decode(compiled.code[at:at + INSTR_BYTES]) for at in range(0, len(compiled.code), INSTR_BYTES)]
    groups = {opcode: [body["groups"] for found, _, body in code if found == opcode]
              for opcode in (Opcode.COMPUTE, Opcode.REQUANT)}
    assert groups[Opcode.REQUANT] == [5, 1] and sum(groups[Opcode.COMPUTE]) == 6 and max(groups[Opcode.COMPUTE]) < 5
    check(network, compiled, seeds=4)


def test_grouped_convolution_equals_golden():
    rng = np.random.default_rng(6)
    tensors = [act("x", 1, 5, 5, 6, quant=quant(rng)), weights(rng, "w", 9, 2, 2, 2), act("y", 1, 4, 4, 9)]
    network = graph(tensors, [op("CONV_2D", "x w", "y", stride=(1, 1), dilation=(1, 1), pads=((0, 0), (0, 0)),
                                 activation="NONE", groups=3)])
    check(network, compile_graph(network, TINY))


@pytest.mark.parametrize("kind", ["MEAN", "SUM", "REDUCE_MAX"])
def test_reductions_of_large_images_equal_golden(kind):
    x = act("x", 1, 120, 250, 5, quant=QuantParams((0.1,), (127,)))
    y = act("y", 1, 5, quant=x.quant if kind == "REDUCE_MAX" else QuantParams((20.0 if kind == "SUM" else 0.1,), (9,)))
    network = graph([x, y], [op(kind, "x", "y", axes=(1, 2), keepdims=False)])
    compiled = compile_graph(network, replace(TINY, act_kib=256))
    assert set(units(compiled).values()) == {"vector"}
    check(network, compiled, seeds=0)


@pytest.mark.parametrize(("kind", "table"), [("MINIMUM", False), ("RELU", False), ("ABS", True)])
def test_a_clamp_needs_no_table(kind, table):
    tensors = [act("x", 1, 2, 2, 4), Tensor("c", (1,), "int8", QUANT, np.array([5], np.int8)), act("y", 1, 2, 2, 4)]
    network = graph(tensors, [op(kind, "x c" if kind == "MINIMUM" else "x", "y")])
    compiled = compile_graph(network, TINY)
    assert any(" table " in line for line in disassemble(compiled)) == table
    check(network, compiled, seeds=0)


def softmax_in_the_middle() -> Graph:
    probability = QuantParams((1 / 256,), (-128,))
    tensors = [act("s", 1, 2, 2, 8, quant=probability), act("x", 1, 2, 2, 8, quant=QuantParams((0.25,), (3,))),
               *(act(name, 1, 2, 2, 8) for name in "rqy")]
    ops = [op("QUANTIZE", "x", "r"), op("SOFTMAX", "r", "s", beta=1.0), op("QUANTIZE", "s", "q"),
           op("ADD", "r q", "y", activation="NONE")]
    return graph(tensors, ops)


def test_operators_without_hardware_run_on_the_cpu_between_hardware_steps():
    network = softmax_in_the_middle()
    compiled = compile_graph(network, TINY)
    assert [type(step) for step in compiled.steps] == [HwStep, CpuStep, HwStep]
    assert [layer.reason for layer in compiled.layers if layer.unit == "cpu"] == ["the hardware has no such operator"]
    check(network, compiled)


def test_a_tensor_left_in_dram_is_not_written_again_by_the_host():
    second = compile_graph(softmax_in_the_middle(), TINY).steps[2]
    assert [binding.name for binding in second.inputs] == ["s"]


def cpu_case(kind: str) -> tuple[Graph, str]:
    conv = {"stride": (1, 1), "dilation": (1, 1), "pads": ((0, 0), (0, 0)), "activation": "NONE"}
    if kind == "left shift":
        big = QuantParams((400.0,), (0,))
        tensors = [act("x", 1, 2, 2, 4, quant=big), const("w", 4, 1, 1, 4, quant=big), act("y", 1, 2, 2, 4)]
        return graph(tensors, [op("CONV_2D", "x w", "y", **conv, groups=1)]), "left shift"
    if kind == "stride":
        tensors = [act("x", 1, 33, 2, 8), const("w", 4, 1, 1, 8), act("y", 1, 3, 2, 4)]
        wide = {**conv, "stride": (16, 1)}
        return graph(tensors, [op("CONV_2D", "x w", "y", **wide, groups=1)]), "stride y must be at most 15, not 16"
    if kind == "broadcast":
        tensors = [act("x", 1, 2, 2, 4), act("b", 1, 2, 2, 1), act("y", 1, 2, 2, 4)]
        return graph(tensors, [op("ADD", "x b", "y", activation="NONE")], inputs="x b"), "4 channels like the result"
    if kind == "size":
        tensors = [act("x", 1, 9000, 1, 1), act("y", 1, 4500, 1, 1)]
        attrs = {"kernel": (2, 1), "stride": (2, 1), "pads": ((0, 0), (0, 0)), "activation": "NONE"}
        return graph(tensors, [op("MAX_POOL_2D", "x", "y", **attrs)]), "height must be at most 8191, not 9000"
    if kind == "maximum":
        tensors = [act("x", 1, 2, 2, 4), act("b", 1, 2, 2, 4), act("y", 1, 2, 2, 4)]
        return graph(tensors, [op("MAXIMUM", "x b", "y")], inputs="x b"), "with a scalar constant only"
    tensors = [act("x", 1, 4, 4, 4, dtype="uint8"), act("y", 1, 4, 4, 4)]
    return graph(tensors, [op("QUANTIZE", "x", "y")]), "not uint8 and int8"


@pytest.mark.parametrize("kind", ["left shift", "stride", "broadcast", "size", "maximum", "uint8"])
def test_what_the_hardware_cannot_do_runs_on_the_cpu_with_a_reason(kind):
    network, reason = cpu_case(kind)
    compiled = compile_graph(network, TINY)
    (layer,) = compiled.layers
    assert layer.unit == "cpu" and reason in (layer.reason or "")
    check(network, compiled, seeds=0)


def test_a_layer_whose_smallest_band_does_not_fit_runs_on_the_cpu():
    tensors = [act("x", 1, 1, 1, 2000), const("w", 4, 1, 1, 2000), act("y", 1, 1, 1, 4)]
    network = graph(tensors, [op("CONV_2D", "x w", "y", stride=(1, 1), dilation=(1, 1), pads=((0, 0), (0, 0)),
                                 activation="NONE", groups=1)])
    compiled = compile_graph(network, CRAMPED)
    assert "smallest band" in (compiled.layers[0].reason or "")
    check(network, compiled, seeds=0)


def test_program_keeps_the_whole_network():
    network = chain(np.random.default_rng(0), 8, 8)

    kept = Program.from_bytes(compile_graph(network, TINY).to_bytes()).graph

    values = random_inputs(network)
    for name, expected in execute(network, values).items():
        np.testing.assert_array_equal(execute(kept, values)[name], expected)


@pytest.mark.parametrize("preset", ["tiny", "ulx3s", "edge"])
@pytest.mark.parametrize(("name", "sample"), [("ic_resnet8", "ic_resnet8"), ("kws_dscnn", "kws_dscnn"),
                                              ("ad_autoencoder", "ad_autoencoder")])
def test_networks_of_others_equal_their_published_outputs(name, sample, preset):
    data = np.load(shared_file(f"samples/{sample}.npz"))
    path = shared_file(f"models/{name}_int8.tflite")
    compiled = compile_model(path, AcceleratorConfig.preset(preset))
    (source,), (target,) = compiled.graph.inputs, compiled.graph.outputs
    for index, order in ((0, "program"), (1, "random")):
        found = run(compiled, {source: data["x"][index:index + 1]}, order, seed=index)
        np.testing.assert_array_equal(found[target].reshape(-1), data["out"][index].reshape(-1))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "preset"), [("vww_mobilenetv1_025_96", "tiny"), ("mobilenetv2_10_224", "edge"),
                                              ("mobilenetv2_10_224", "ulx3s")])
def test_large_networks_equal_golden(name, preset):
    network = read_tflite(shared_file(f"models/{name}_int8.tflite"))
    check(network, compile_graph(network, AcceleratorConfig.preset(preset)), seeds=1)


def test_equal_graphs_compile_to_equal_programs():
    first, second = (compile_graph(chain(np.random.default_rng(1), 8, 8), TINY).to_bytes() for _ in range(2))
    assert first == second


def test_inputs_are_written_by_name():
    network = random_pair(np.random.default_rng(2), "ADD")
    (step,) = compile_graph(network, TINY).steps
    assert [binding.name for binding in step.inputs] == ["a", "b"] and set(random_inputs(network)) == {"a", "b"}
