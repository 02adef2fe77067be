"""Energy model: the actions of a program, exact, and what each costs in a technology, from published numbers."""

from .actions import Action, actions_of
from .gating import Gating
from .model import Component, energy_of, leakage_watts, sram_area_mm2
from .operating import LEVELS, OperatingPoint, operating_points
from .technology import DRAM_TYPES, TECHNOLOGIES, Technology

__all__ = ["DRAM_TYPES", "LEVELS", "TECHNOLOGIES", "Action", "Component", "Gating", "OperatingPoint", "Technology",
           "actions_of", "energy_of", "leakage_watts", "operating_points", "sram_area_mm2"]
