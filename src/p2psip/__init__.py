"""Telephones that call each other with no server (RFC 6940, RFC 7904, RFC 7890).

For applications: `p2psip.connect` and what else `p2psip.api` has.
"""

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from p2psip.api import connect

__version__ = "0.1.0"
__all__ = ["__version__", "connect"]


def __getattr__(name: str) -> object:
    """What the API has, loaded when it is asked for: the command line starts without it."""
    if name == "connect":
        return importlib.import_module("p2psip.api").connect
    raise AttributeError(f"module 'p2psip' has no attribute {name!r}")
