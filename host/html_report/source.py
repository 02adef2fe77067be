"""The report of a run as the page reads it: the JSON file that `systolith run --report` writes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...hw.config import AcceleratorConfig
from ..errors import UsageError

_LAYER_KEYS = {"name", "op", "unit", "macs", "cycles", "utilisation", "stalls", "dram_bytes"}
_KEYS = {"model", "device", "preset", "samples", "macs", "cycles", "utilisation", "dram_bytes_read",
         "dram_bytes_written", "stalls", "config", "layers"}
_AGAIN = "write it with 'systolith run --report'"

MALFORMED = (KeyError, TypeError, ValueError, AttributeError, IndexError)
"""What reading a report raises that another version, or another program, wrote."""


@dataclass(frozen=True)
class Source:
    """A report with cycles: its JSON, and the configuration that it is of."""

    values: dict[str, Any]
    config: AcceleratorConfig

    @property
    def layers(self) -> list[dict[str, Any]]:
        return self.values["layers"]

    @property
    def views(self) -> dict[str, Any] | None:
        return self.values.get("views")

    @property
    def energy(self) -> dict[str, Any] | None:
        return self.values.get("energy")

    @property
    def dram_bytes(self) -> int:
        return self.values["dram_bytes_read"] + self.values["dram_bytes_written"]


def load(path: Path) -> Source:
    """Return the report in a file.

    Raises:
        UsageError: the file cannot be read, is not the report of a run, or is of a run without cycles.
    """
    try:
        values = json.loads(path.read_bytes())
    except OSError as error:
        raise UsageError(f"cannot read '{path}' ({error.strerror}); give the path of a report") from error
    except ValueError as error:
        raise UsageError(f"{path} must be a report in JSON; {_AGAIN}") from error
    if not isinstance(values, dict) or "device" not in values or not _is_list_of_objects(values.get("layers")):
        raise UsageError(f"{path} must be the report of a run, not other JSON; {_AGAIN}")
    missing = _KEYS - values.keys() | {key for layer in values["layers"] for key in _LAYER_KEYS - set(layer)}
    if missing:
        raise UsageError(f"{path} must be a report of this version, but has no {min(missing)!r}; {_AGAIN} again")
    if values["device"] == "golden":
        raise UsageError(f"{path} must be of a device that counts cycles, not of golden; run with --device sim or rtl")
    if values["cycles"] is None:
        note = values.get("note") or f"device {values['device']} did not count them"
        raise UsageError(f"{path} must be of a run with cycles, but {note}")
    if not values["cycles"]:
        raise UsageError(f"{path} must be of a run on the accelerator, not of {values['model']}, whose operators all "
                         "run on the CPU and take no cycles; 'systolith info' says why they do")
    try:
        return Source(values, AcceleratorConfig.from_dict(values["config"]))
    except MALFORMED as error:
        raise UsageError(f"{path} must be a report of this version ({error}); {_AGAIN} again") from error


def _is_list_of_objects(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)
