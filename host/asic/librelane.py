"""Files with which LibreLane, or OpenLane 2, lays a design out with OpenROAD; its PDK has the cells."""

from __future__ import annotations

import json

_UTILISATION = 45  # percent of the core's area that cells take


def librelane_files(design: str, period_ns: float) -> dict[str, str]:
    """Return `config.json` and `constraints.sdc` for the module `design` in `design.v`, by name."""
    config = {
        "DESIGN_NAME": design,
        "VERILOG_FILES": "dir::design.v",
        "CLOCK_PORT": "clk",
        "CLOCK_PERIOD": period_ns,
        "PNR_SDC_FILE": "dir::constraints.sdc",
        "SIGNOFF_SDC_FILE": "dir::constraints.sdc",
        "FP_CORE_UTIL": _UTILISATION,
    }
    third = period_ns / 3
    constraints = [
        f"create_clock -name clk -period {period_ns:g} [get_ports clk]",
        f"set_clock_uncertainty {period_ns / 40:g} [get_clocks clk]",
        "set data [all_inputs -no_clocks]",
        f"set_input_delay {third:.4g} -clock clk $data",
        f"set_output_delay {third:.4g} -clock clk [all_outputs]",
    ]
    return {"config.json": json.dumps(config, indent=2) + "\n", "constraints.sdc": "\n".join(constraints) + "\n"}
