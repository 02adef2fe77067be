"""Memories as macros: area, timing and energy scaled from one published SRAM, as a Liberty library.

The published one is `fakeram45_512x64` of OpenROAD-flow-scripts (platform nangate45): 512 x 64 bits with one port, as
CACTI models it at 45 nm and 1.1 V. Its numbers go to another library by the area of a NAND gate: areas as that area,
times as its root, energies as that root and the square of the supply. Every macro has the times of that one, whatever
its size; its energy goes with the width of a word and the root of the size. No macro like this can be bought: it has a
read port and a write port, at the price of one port. Use it for what a memory is in proportion, no more.
"""

from .liberty import Library
from .mapping import Shape, address_bits, sram_name

__all__ = ["access_joules", "macro_area", "macro_library"]

_AREA = 17_301.438 / (512 * 64)  # um2 per bit
_NAND2_AREA = 0.798              # um2, NAND2_X1 of Nangate45
_ACCESS, _SETUP = 0.305, 0.050   # ns, clock to output and inputs to clock
_ENERGY = 2 * 5.30043e-12        # J per cycle, of both edges of the clock
_VOLTS = 1.1
_CAPACITANCE = 3                 # of an input, in those of a NAND gate's inputs

# Units, and thresholds as usual; capacitances are in the unit of the other library.
_UNITS = {"time_unit": '"1ns"', "voltage_unit": '"1V"', "current_unit": '"1mA"', "leakage_power_unit": '"1nW"',
          "pulling_resistance_unit": '"1kohm"', **{
              f"{name}_{edge}": value for edge in ("rise", "fall") for name, value in (
                  ("slew_lower_threshold_pct", 20), ("slew_upper_threshold_pct", 80), ("input_threshold_pct", 50),
                  ("output_threshold_pct", 50))}}


def macro_area(shape: Shape, library: Library) -> float:
    """Return the area in um2."""
    return shape[0] * shape[1] * _AREA * library.nand2.area / _NAND2_AREA


def access_joules(shape: Shape, library: Library) -> float:
    """Return the energy to read or write a word in joules."""
    size = shape[0] * shape[1] / (512 * 64)
    return _ENERGY * shape[1] / 64 * size**0.5 * _length(library) * (library.volts / _VOLTS) ** 2


def _length(library: Library) -> float:
    """Return how long anything is in the library, relative to the published SRAM's."""
    return (library.nand2.area / _NAND2_AREA) ** 0.5


def macro_library(shapes: list[Shape], library: Library) -> str:
    """Return a Liberty library of macros called `sram_name`, with delays and setup times and without power."""
    length = _length(library)
    setup, access = _SETUP * length, _ACCESS * length
    load = _CAPACITANCE * library.nand2.capacitance
    constraint = (f'timing () {{ related_pin : "clk"; timing_type : setup_rising; rise_constraint (scalar) '
                  f'{{ values ("{setup:.4f}"); }} fall_constraint (scalar) {{ values ("{setup:.4f}"); }} }}')
    tables = " ".join(f'{table} (scalar) {{ values ("{value:.4f}"); }}' for table, value in (
        ("cell_rise", access), ("cell_fall", access), ("rise_transition", setup), ("fall_transition", setup)))
    widths = sorted({width for shape in shapes for width in (address_bits(shape), shape[1])})
    lines = [
        "library (macros) {", "  delay_model : table_lookup;", *(
            f"  {unit} : {value};" for unit, value in _UNITS.items()),
        f"  capacitive_load_unit ({library.load_unit});",
        f"  nom_process : 1; nom_temperature : 25; nom_voltage : {library.volts:g};",
        *(f"  type (bits{width}) {{ base_type : array; data_type : bit; bit_width : {width}; bit_from : {width - 1}; "
          "bit_to : 0; }" for width in widths),
    ]
    for shape in shapes:
        lines.append(f"  cell ({sram_name(shape)}) {{ area : {macro_area(shape, library):.2f}; is_macro_cell : true;")
        lines.append(f"    pin (clk) {{ direction : input; clock : true; capacitance : {load:.6f}; }}")
        for pin in ("r_en", "w_en"):
            lines.append(f"    pin ({pin}) {{ direction : input; capacitance : {load:.6f}; {constraint} }}")
        for pin, width in (("r_addr", address_bits(shape)), ("w_addr", address_bits(shape)), ("w_data", shape[1])):
            lines.append(f"    bus ({pin}) {{ bus_type : bits{width}; direction : input; capacitance : {load:.6f}; "
                         f"{constraint} }}")
        lines.append(f"    bus (r_data) {{ bus_type : bits{shape[1]}; direction : output; timing () {{ related_pin : "
                     f'"clk"; timing_type : rising_edge; {tables} }} }} }}')
    return "\n".join([*lines, "}"]) + "\n"

