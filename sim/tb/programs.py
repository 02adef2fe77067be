"""Random whole programs: bodies from `stimuli`, bank masks and dependency tokens from what they touch."""

import random
from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import numpy.typing as npt

from ...hw.config import AcceleratorConfig
from ...hw.isa import PARAM_WORDS, UNIT_OF, Buffer, Opcode, PoolMode, Unit, encode
from ..decode import decode_instruction
from ..memories import FILL, Region
from ..steps import Broken, Step, prepare
from .stimuli import random_add, random_compute, random_params, random_pool, random_requant

__all__ = ["Body", "Tokens", "link", "random_program"]

Body: TypeAlias = tuple[Opcode, dict[str, int]]
Tokens: TypeAlias = Literal["serial", "minimal"]

_ALL_BANKS = 0xFF


def _touched(regions: Sequence[Region], half: int | None) -> set[tuple[str, int]]:
    """Return the words of ``regions``; accumulators count as a whole half, which has one read port."""
    words: set[tuple[str, int]] = set()
    for memory, where in regions:
        if memory == "acc":
            assert half is not None
            words.add(("acc", half))
        elif isinstance(where, slice):
            words |= {(memory, word) for word in range(where.start, where.stop)}
        else:
            words |= {(memory, word) for word in np.unique(where).tolist() if word != FILL}
    return words


def _banks(words: set[tuple[str, int]], bank_words: int) -> int:
    return sum(1 << bank for bank in {word // bank_words for memory, word in words if memory == "act"})


def link(config: AcceleratorConfig, bodies: Sequence[Body], tokens: Tokens, dram_bytes: int, base: int = 0) -> bytes:
    """Return the program of ``bodies`` with exact bank masks and tokens.

    ``serial`` lets every instruction wait for all before it; ``minimal`` only for those of other units whose words
    it would disturb, so that units overlap as much as is safe. Raises ``ValueError`` for a body that cannot run.
    """
    history: list[tuple[Unit, int, set[tuple[str, int]], set[tuple[str, int]]]] = []
    retired = [0] * len(Unit)
    program = b""
    for index, (opcode, body) in enumerate(bodies):
        raw = encode(opcode, {"rd_banks": _ALL_BANKS, "wr_banks": _ALL_BANKS}, **body)
        step: Step = prepare(config, decode_instruction(raw, index), base, dram_bytes // config.word_bytes)
        if isinstance(step, Broken):
            raise ValueError(f"instruction {index} must be able to run: {opcode.name} {body}")
        unit = UNIT_OF[opcode]
        reads, writes = (_touched(regions, step.acc_half) for regions in (step.reads, step.writes))
        waits = list(retired)
        if tokens == "minimal":
            waits = [0] * len(Unit)
            for other, number, other_reads, other_writes in history:
                if other != unit and (other_writes & (reads | writes) or other_reads & writes
                                      or (step.acc_half is not None
                                          and ("acc", step.acc_half) in other_reads | other_writes)):
                    waits[other] = max(waits[other], number)
        retired[unit] += 1
        history.append((unit, retired[unit], reads, writes))
        header = {"rd_banks": _banks(reads, config.bank_words), "wr_banks": _banks(writes, config.bank_words),
                  **{f"wait_{u.name.lower()}": waits[u] for u in Unit}}
        program += encode(opcode, header, **body)
    return program


def _whole(opcode: Opcode, dram: int, words: int, buffer: Buffer = Buffer.ACT) -> Body:
    return opcode, {"dram": dram, "local": 0, "rows": 1, "row_words": words, "buffer": buffer}


def _transfer(rng: random.Random, config: AcceleratorConfig, words: int, local: range, dram: range) -> dict[str, int]:
    """Return a strided transfer of at most ``words`` words; ``dram`` is a range of bytes."""
    size = config.word_bytes
    rows = rng.randint(1, 5)
    row_words = rng.randint(1, max(1, words // rows))
    local_stride = row_words + rng.choice((0, 0, 1))
    dram_stride = row_words + rng.choice((0, rng.randint(0, 20)))
    local_span, dram_span = (rows - 1) * local_stride + row_words, (rows - 1) * dram_stride + row_words
    return {"rows": rows, "row_words": row_words, "local_stride": local_stride, "dram_stride": dram_stride * size,
            "local": rng.randint(local.start, local.stop - local_span),
            "dram": dram.start + size * rng.randint(0, len(dram) // size - dram_span)}


def random_program(rng: random.Random, config: AcceleratorConfig, length: int, inputs: range,
                   outputs: range) -> tuple[list[Body], npt.NDArray[np.uint8]]:
    """Return a random program and the bytes of its input image at ``inputs``.

    ``inputs`` and ``outputs`` are ranges of DRAM bytes. The program fills all buffers, then runs ``length`` random
    instructions of all kinds, then stores the whole activation buffer at the start of ``outputs``.
    """
    size, half_words = config.word_bytes, config.act_words // 2
    act_bytes, wgt_bytes = config.act_words * size, config.wgt_words * size
    params = np.concatenate([random_params(rng, config, (-12, 0)) for _ in range(config.param_words // PARAM_WORDS)])
    param_at = inputs.start + act_bytes + wgt_bytes
    image = np.frombuffer(rng.randbytes(act_bytes + wgt_bytes), np.uint8)
    image = np.concatenate([image, params.reshape(-1)])
    if len(image) > len(inputs) or len(outputs) < 2 * act_bytes:
        raise ValueError(f"inputs and outputs must have room for {len(image)} and {2 * act_bytes} bytes, "
                         f"not {len(inputs)} and {len(outputs)}")
    bodies = [_whole(Opcode.LOAD, inputs.start, config.act_words),
              _whole(Opcode.LOAD, inputs.start + act_bytes, config.wgt_words, Buffer.WGT),
              _whole(Opcode.LOAD, param_at, len(params), Buffer.PARAM)]
    # Accumulators start undefined: give every one a value.
    for half in range(2):
        bodies.append((Opcode.COMPUTE, {
            "in_h": 1, "in_w": config.acc_half, "step_x": 1, "stride_x": 1, "out_h": 1, "out_w": config.acc_half,
            "kw": 1, "kh": 1, "blocks": 1, "groups": 1, "tiles": 1, "acc": half * config.acc_half}))
    halves = (range(half_words), range(half_words, config.act_words))
    scratch = range(outputs.start + act_bytes, outputs.stop)
    while len(bodies) < 5 + length:
        opcode = rng.choice((Opcode.COMPUTE, Opcode.COMPUTE, Opcode.REQUANT, Opcode.REQUANT, Opcode.ADD, Opcode.POOL,
                             Opcode.LOAD, Opcode.STORE))
        source, target = rng.sample(halves, 2)
        half = rng.randrange(2)
        if opcode == Opcode.COMPUTE:
            body = random_compute(rng, config, source, range(config.wgt_words), half, max_kernel=3)[0]
        elif opcode == Opcode.REQUANT:
            body = random_requant(rng, config, target, range(PARAM_WORDS * rng.randint(1, len(params) // PARAM_WORDS)),
                                  half)
            body["param"] -= body["param"] % PARAM_WORDS
        elif opcode == Opcode.ADD:
            body = random_add(rng, config, source, target)
        elif opcode == Opcode.POOL:
            body = random_pool(rng, config, source, target, rng.choice(list(PoolMode)), max_kernel=3)[0]
        elif opcode == Opcode.STORE:
            body = _transfer(rng, config, 48, rng.choice(halves), scratch)
        else:
            buffer = rng.choice((Buffer.ACT, Buffer.ACT, Buffer.WGT))
            local = rng.choice(halves) if buffer == Buffer.ACT else range(config.wgt_words)
            # Also from where stores write, so that tokens through DRAM matter.
            where = rng.choice((range(inputs.start, param_at), scratch))
            body = {**_transfer(rng, config, 48, local, where), "buffer": buffer}
        bodies.append((opcode, body))
    bodies.append(_whole(Opcode.STORE, outputs.start, config.act_words))
    return bodies, image
