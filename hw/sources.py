"""The sources of the gateware, as an identity of what they make."""

import hashlib
from pathlib import Path

__all__ = ["source_digest"]


def source_digest() -> str:
    """Return what changes with any source of this package, subpackages included."""
    folder = Path(__file__).parent
    digest = hashlib.sha256()
    for source in sorted(folder.rglob("*.py")):
        digest.update(str(source.relative_to(folder)).encode() + b"\0" + source.read_bytes())
    return digest.hexdigest()
