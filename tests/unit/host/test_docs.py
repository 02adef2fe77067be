"""The documentation says what the code says: generated tables, links, commands."""

from __future__ import annotations

import importlib
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from amaranth import unsigned
from amaranth.lib.data import StructLayout

from systolith.host import docs
from systolith.host.isadoc import field_table

ROOT = Path(docs.FOLDER).parent
PAGES = [*docs.documents(), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
MODULES = sorted(path.stem for path in (ROOT / "hw").glob("*.py") if path.stem != "__init__")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@pytest.mark.parametrize("page", docs.documents(), ids=name_of)
def test_committed_tables_are_those_generated(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert docs.refresh(text) == text, f"run `make docs`: the tables of {page.name} are not what the code says"


def test_every_table_is_on_some_page() -> None:
    pages = "".join(page.read_text(encoding="utf-8") for page in docs.documents())
    assert [name for name in docs.tables() if f"<!-- table: {name} -->" not in pages] == []


def test_an_unknown_table_is_refused() -> None:
    with pytest.raises(ValueError, match="table must be one of header, .*, not 'headers'"):
        docs.refresh("<!-- table: headers -->\n<!-- end of table -->")


def test_a_field_without_description_is_refused() -> None:
    with pytest.raises(ValueError, match=r"differing: \['b'\]"):
        field_table(StructLayout({"a": unsigned(1), "b": unsigned(2)}), 0, {"a": "something"})


def test_field_bits_count_from_the_start_of_the_instruction() -> None:
    table = field_table(StructLayout({"a": unsigned(1), "b": unsigned(2)}), 128, {"a": "one", "b": "two"})
    assert [line.split("|")[2].strip() for line in table.splitlines()[2:]] == ["128", "130:129"]


@pytest.mark.parametrize("module", MODULES)
def test_every_latency_constant_is_in_the_table(module: str) -> None:
    constants = [name for name, value in vars(importlib.import_module(f"systolith.hw.{module}")).items()
                 if name.endswith("_LATENCY") and isinstance(value, int)]
    table = docs.tables()["latencies"]
    assert [name for name in constants if f"`{name}`" not in table] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8"))
    local = [target for target in targets if not target.startswith(("http:", "https:"))]
    assert [target for target in local if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_make_targets_exist(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`)make ([a-z-]+)", page.read_text(encoding="utf-8"), re.MULTILINE))
    assert {target for target in named if not re.search(rf"^{target}:", makefile, re.MULTILINE)} == set()


def test_the_datapath_picture_is_well_formed() -> None:
    assert ElementTree.parse(docs.FOLDER / "datapath.svg").getroot().get("viewBox")
