"""Data models and registered Kinds (RFC 6940 section 7.2, 14.6, 14.7; RFC 7904 section 9.1; RFC 7374 section 10.3)."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType


class DataModel(Enum):
    """How the values of a Kind are arranged (RFC 6940 section 14.7). Known from the Kind, never on the wire."""

    SINGLE = "SINGLE"
    ARRAY = "ARRAY"
    DICTIONARY = "DICTIONARY"


SIP_REGISTRATION = 0x1
TURN_SERVICE = 0x2
CERTIFICATE_BY_NODE = 0x3
CERTIFICATE_BY_USER = 0x10
REDIR = 0x104
DIRECTORY_ENTRY = 0xF0D10001
LINES_REACHED = 0xF0D10002
"""Of our own (docs/decisions/directory.md): who has a line, and at which lines of a peer there are phones."""

MAILBOX = 0xF0D10003
MAIL = 0xF0D10004
MAIL_PART = 0xF0D10005
"""Of our own (docs/decisions/mailboxes.md): which lines take messages, what waits for them, and what is in it."""

Models = Mapping[int, DataModel]
"""The data model of each Kind that an overlay knows; its configuration adds kind-blocks to the registered ones."""

REGISTERED_MODELS: Models = MappingProxyType(
    {
        SIP_REGISTRATION: DataModel.DICTIONARY,
        TURN_SERVICE: DataModel.SINGLE,
        CERTIFICATE_BY_NODE: DataModel.ARRAY,
        CERTIFICATE_BY_USER: DataModel.ARRAY,
        REDIR: DataModel.DICTIONARY,
    }
)

REGISTERED_NAMES: Mapping[str, int] = MappingProxyType(
    {
        "SIP-REGISTRATION": SIP_REGISTRATION,
        "TURN-SERVICE": TURN_SERVICE,
        "CERTIFICATE_BY_NODE": CERTIFICATE_BY_NODE,
        "CERTIFICATE_BY_USER": CERTIFICATE_BY_USER,
        "REDIR": REDIR,
    }
)
"""The names by which a configuration document refers to registered Kinds (RFC 6940 section 11.1)."""
