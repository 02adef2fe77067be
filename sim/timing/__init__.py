"""Cycle model: the control of the core as native code, without data; what `rtl` counts, much faster."""

from .model import TimingModel, WatchdogError

__all__ = ["TimingModel", "WatchdogError"]
