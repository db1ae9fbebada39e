"""Where packets come from and go to."""

from __future__ import annotations

from typing import NamedTuple


class Address(NamedTuple):
    """A numeric IP address, without brackets, and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
