"""The host link: a serial line through which a computer reads and writes memory and registers of a board."""

from .bridge import HostLink

__all__ = ["HostLink"]
