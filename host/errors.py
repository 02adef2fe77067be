"""Errors that a user of Systolith may see; each message is one line that says what is wrong and what to do."""

from __future__ import annotations


class SystolithError(Exception):
    """Base of every error that Systolith raises on purpose."""


class ModelError(SystolithError):
    """The model file cannot be read: missing, truncated, corrupt or inconsistent."""


class UnsupportedOperatorError(SystolithError):
    """The model is well formed but uses an operator, or a variant of one, that is not supported."""


class ShapeError(SystolithError):
    """An input's shape or dtype does not match what the model declares."""


class ProgramError(SystolithError):
    """The compiled program is corrupt, or was compiled for another configuration."""


class ConfigError(SystolithError):
    """An accelerator configuration is not valid."""


class UsageError(SystolithError):
    """The caller asked for something that does not exist or does not go together."""


class GraphError(SystolithError):
    """A graph breaks an invariant of the IR: a bug in a pass, or a model whose parts contradict each other."""


class DeviceError(SystolithError):
    """The accelerator stopped with an error.

    Args:
        message: what happened and what to do.
        code: error code that the hardware reported, or None when the device did not answer.
        address: address of the offending instruction, or None when unknown.
    """

    def __init__(self, message: str, code: int | None = None, address: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.address = address
