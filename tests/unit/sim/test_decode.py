"""The fast decoder against the layouts of the instruction set."""

import random

import numpy as np
import pytest

from systolith.hw.isa import INSTR_BYTES, UNIT_OF, ErrorCode, Opcode, decode, encode
from systolith.sim.decode import decode_field, decode_instruction
from systolith.sim.errors import MachineError


@pytest.mark.parametrize("opcode", list(Opcode))
@pytest.mark.parametrize("seed", range(5))
def test_decodes_any_bits_as_the_layouts_do(opcode, seed):
    data = bytes([opcode]) + random.Random(seed).randbytes(INSTR_BYTES - 1)
    got = decode_instruction(data, 7)
    _, header, body = decode(data)
    assert (got.index, got.opcode, got.unit, got.fields) == (7, opcode, UNIT_OF[opcode], body)
    assert got.waits == tuple(header[f"wait_{u}"] for u in ("load", "compute", "vector", "store"))
    assert (got.rd_banks, got.wr_banks) == (header["rd_banks"], header["wr_banks"])


@pytest.mark.parametrize("opcode", list(Opcode))
def test_decodes_a_field_of_many_as_of_each(opcode):
    rng = random.Random(opcode)
    code = [bytes([opcode]) + rng.randbytes(INSTR_BYTES - 1) for _ in range(5)]
    words = np.frombuffer(b"".join(code), np.uint8).reshape(-1, INSTR_BYTES)
    singly = [decode_instruction(each, 0) for each in code]
    for name in singly[0].fields:
        assert decode_field(words, name, opcode).tolist() == [each.fields[name] for each in singly], name
    assert decode_field(words, "wait_store").tolist() == [each.waits[3] for each in singly]


def test_decodes_what_was_encoded():
    got = decode_instruction(encode(Opcode.COMPUTE, {"wait_store": 5}, iy0=-3, fill=-128, kh=31), 0)
    assert (got.waits, got.fields["iy0"], got.fields["fill"], got.fields["kh"]) == ((0, 0, 0, 5), -3, -128, 31)


def test_refuses_erased_memory():
    with pytest.raises(MachineError, match="opcode must be one of .*, not 0x0") as caught:
        decode_instruction(bytes(INSTR_BYTES), 3)
    assert (caught.value.code, caught.value.unit, caught.value.index) == (ErrorCode.OPCODE, None, 3)
