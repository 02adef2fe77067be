"""The `rtl` device: the Verilated core with a DRAM model, one call per run."""

from .device import CoreError, CoreTimeout, Fault, RtlCore

__all__ = ["CoreError", "CoreTimeout", "Fault", "RtlCore"]
