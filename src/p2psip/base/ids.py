"""Identifiers of RELOAD: Node-ID and Resource-ID (RFC 6940 section 3, 6.3.1.1)."""

from __future__ import annotations

NODE_ID_LENGTHS = range(16, 21)
"""Permitted lengths of a Node-ID, in bytes (RFC 6940 section 6.3.1.1)."""

RESOURCE_ID_LENGTH_MAX = 254


class NodeId(bytes):
    """A Node-ID: 16 to 20 bytes, the same length for every node of an overlay."""

    __slots__ = ()

    def __new__(cls, value: bytes) -> NodeId:
        if len(value) not in NODE_ID_LENGTHS:
            raise ValueError(f"a Node-ID has 16 to 20 bytes, not {len(value)}")
        return super().__new__(cls, value)

    @classmethod
    def wildcard(cls, length: int = 16) -> NodeId:
        """All ones: whoever receives it is meant (RFC 6940 section 6.1.1)."""
        return cls(b"\xff" * length)

    @property
    def is_wildcard(self) -> bool:
        """True for the Node-ID that every node is responsible for."""
        return self.count(0xFF) == len(self)

    @property
    def is_valid(self) -> bool:
        """False for all zeros and all ones, which no node may have (RFC 6940 section 11.3)."""
        return any(self) and not self.is_wildcard

    @property
    def short(self) -> str:
        """The first eight hex digits, for people."""
        return self[:4].hex()

    def __str__(self) -> str:
        return self.hex()

    def __repr__(self) -> str:
        return f"NodeId({self.hex()})"


class ResourceId(bytes):
    """A Resource-ID: up to 254 bytes; in CHORD-RELOAD as long as a Node-ID (RFC 6940 section 10.2)."""

    __slots__ = ()

    def __new__(cls, value: bytes) -> ResourceId:
        if len(value) > RESOURCE_ID_LENGTH_MAX:
            raise ValueError(f"a Resource-ID has at most {RESOURCE_ID_LENGTH_MAX} bytes, not {len(value)}")
        return super().__new__(cls, value)

    @property
    def short(self) -> str:
        """The first eight hex digits, for people."""
        return self[:4].hex()

    def __str__(self) -> str:
        return self.hex()

    def __repr__(self) -> str:
        return f"ResourceId({self.hex()})"
