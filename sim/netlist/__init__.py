"""The netlist of a core, as synthesis for ECP5 makes it, in place of its RTL under the harness of `sim.rtl`."""

from .build import build, cell_models, netlist

__all__ = ["build", "cell_models", "netlist"]
