"""How often the registers of a netlist toggle, for OpenSTA, which works out the logic behind them."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from .liberty import Library
from .netlist import Netlist

__all__ = ["Activity", "activity_commands"]


@dataclass(frozen=True)
class Activity:
    """Toggles per cycle of nets.

    Attributes
    ----------
    source
        Where they come from, for people.
    rate
        Of everything that is not known better.
    blocks
        By path of a module, for all that is inside.
    nets
        By path of a module and net (`plain` names, with "[bit]"): toggles per cycle, and share of the cycles at 1.
    """

    source: str
    rate: float
    blocks: Mapping[str, float] = field(default_factory=dict)
    nets: Mapping[tuple[str, str], tuple[float, float]] = field(default_factory=dict)

    def of(self, path: str, net: str) -> tuple[float, float]:
        """Return toggles per cycle of a net, and the share of the cycles at 1."""
        if found := self.nets.get((path, net)):
            return found
        while path and path not in self.blocks:
            path = path.rpartition("/")[0]
        return self.blocks.get(path, self.rate), 0.5


def activity_commands(netlist: Netlist, library: Library, activity: Activity, inside: str) -> str:
    """Return OpenSTA's commands for the outputs of flip-flops and memories and the inputs of the netlist.

    ``inside``: path from the core to the netlist's top, "" for the core itself.
    """
    lines = [f"set_power_activity -input -activity {activity.of(inside, '')[0]:.6g} -duty 0.5",
             "set_power_activity -input_ports [get_ports rst] -activity 0 -duty 0"]
    for path, module in netlist.paths():
        place = f"{inside}/{path}".strip("/")
        for each in module.instances:
            cell = library.cells.get(each.kind)
            if cell is None and each.kind not in netlist.modules:
                pins = ["r_data*"]
            elif cell is not None and cell.sequential:
                pins = [pin for pin in cell.outputs if pin in each.pins]
            else:
                continue
            for pin in pins:
                rate, duty = activity.of(place, each.pins.get(pin, ""))
                name = f"{path}/{each.name}/{pin}".lstrip("/")
                lines.append(f"set_power_activity -pins [get_pins {{{name}}}] -activity {rate:.6g} -duty {duty:.6g}")
    return "\n".join(lines) + "\n"
