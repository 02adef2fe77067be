"""The table of what each block takes."""

from __future__ import annotations

from systolith.host.bench.resources import by_block
from systolith.hw.synthesis import Cells


def cells(lut4: int) -> Cells:
    return Cells(lut4=lut4, ccu2c=0, ff=1, multipliers=0, block_rams=0, lut_rams=0)


def test_modules_are_summed_by_part_and_the_small_joined() -> None:
    modules = {"top": cells(100), "top.vector": cells(300), "top.vector.requant": cells(500),
               "top.vector.requant.lane": cells(50), "top.axi": cells(2), "top.arbiter": cells(3)}
    found = by_block(modules)
    assert {name: block.lut4 for name, block in found.items()} == {
        "vector.requant": 550, "vector": 300, "core": 100, "others": 5}
    assert list(found) == ["vector.requant", "vector", "core", "others"]
    assert found["others"].ff == 2
