"""Diagnostics (RFC 7851): what is asked for, what is answered, PathTrack.

Where the RFC's text leaves the bytes open: `ext_length` repeats the length of the vector after it; the arrays
"indexed by" Kind-ID and method code are the pairs that there are, index first (tshark reads them so as well).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Annotated

from p2psip.reload.wire.common import KindId
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import DestinationEntry
from p2psip.reload.wire.language.codec import Struct, Vector, structure
from p2psip.reload.wire.language.primitives import DecodeError, Hex64, Opaque16, Opaque32, Uint8, Uint64, WireEnum


class DiagnosticKind(WireEnum, width=2, is_open=True):
    """Diagnostic Kind IDs (section 9.2)."""

    STATUS_INFO = 0x0001, "STATUS_INFO"
    ROUTING_TABLE_SIZE = 0x0002, "ROUTING_TABLE_SIZE"
    PROCESS_POWER = 0x0003, "PROCESS_POWER"
    UPSTREAM_BANDWIDTH = 0x0004, "UPSTREAM_BANDWIDTH"
    DOWNSTREAM_BANDWIDTH = 0x0005, "DOWNSTREAM_BANDWIDTH"
    SOFTWARE_VERSION = 0x0006, "SOFTWARE_VERSION"
    MACHINE_UPTIME = 0x0007, "MACHINE_UPTIME"
    APP_UPTIME = 0x0008, "APP_UPTIME"
    MEMORY_FOOTPRINT = 0x0009, "MEMORY_FOOTPRINT"
    DATASIZE_STORED = 0x000A, "DATASIZE_STORED"
    INSTANCES_STORED = 0x000B, "INSTANCES_STORED"
    MESSAGES_SENT_RCVD = 0x000C, "MESSAGES_SENT_RCVD"
    EWMA_BYTES_SENT = 0x000D, "EWMA_BYTES_SENT"
    EWMA_BYTES_RCVD = 0x000E, "EWMA_BYTES_RCVD"
    UNDERLAY_HOP = 0x000F, "UNDERLAY_HOP"
    BATTERY_STATUS = 0x0010, "BATTERY_STATUS"

    @property
    def flag(self) -> int:
        """Its bit in dMFlags (section 9.1)."""
        return 1 << self


KINDS_BY_FLAG = range(1, 63)
"""Of which Kinds dMFlags can ask: "the first and last flags being reserved" (section 5.3)."""

EXTENDED_KINDS_FROM = 0x40
"""5.1: "Kinds from 0x0000 to 0x003f MUST NOT be indicated in the diagnostic_extensions_list"."""

ALL_FLAGS = (1 << 64) - 1
"""5.3: "all "1"s, which means everything is requested"."""

RESERVED_FLAGS = 1 << 63 | 1


def flags_of(kinds: Iterable[DiagnosticKind]) -> int:
    """The dMFlags that ask for these Kinds, as far as there are flags for them."""
    return sum(kind.flag for kind in kinds if kind in KINDS_BY_FLAG)


@structure
class DiagnosticExtension(Struct):
    """A Kind that no flag stands for, and what is asked of it (section 5.1)."""

    kind: DiagnosticKind
    diagnostic_extension_contents: Opaque32


@structure
class DiagnosticsRequest(Struct):
    """What is asked for; times in milliseconds since 1970 (section 5.1)."""

    expiration: Uint64
    timestamp_initiated: Uint64
    dm_flags: Hex64
    diagnostic_extensions_list: Annotated[tuple[DiagnosticExtension, ...], Vector(4, length_twice=True)] = ()


@structure
class InstancesStored(Struct):
    """How many values of one Kind are stored (section 5.3)."""

    kind: KindId
    instances: Uint64


@structure
class MessagesSentRcvd(Struct):
    """How many messages of one code were sent and received (section 5.3)."""

    code: MessageCode
    sent: Uint64
    received: Uint64


WIDTHS: Mapping[DiagnosticKind, int] = {
    DiagnosticKind.STATUS_INFO: 1,
    DiagnosticKind.ROUTING_TABLE_SIZE: 4,
    DiagnosticKind.PROCESS_POWER: 8,
    DiagnosticKind.UPSTREAM_BANDWIDTH: 8,
    DiagnosticKind.DOWNSTREAM_BANDWIDTH: 8,
    DiagnosticKind.MACHINE_UPTIME: 8,
    DiagnosticKind.APP_UPTIME: 8,
    DiagnosticKind.MEMORY_FOOTPRINT: 8,
    DiagnosticKind.DATASIZE_STORED: 8,
    DiagnosticKind.EWMA_BYTES_SENT: 4,
    DiagnosticKind.EWMA_BYTES_RCVD: 4,
    DiagnosticKind.UNDERLAY_HOP: 1,
    DiagnosticKind.BATTERY_STATUS: 1,
}
"""In bytes, of those that are one unsigned integer (section 5.3)."""

ARRAYS: Mapping[DiagnosticKind, type[InstancesStored] | type[MessagesSentRcvd]] = {
    DiagnosticKind.INSTANCES_STORED: InstancesStored,
    DiagnosticKind.MESSAGES_SENT_RCVD: MessagesSentRcvd,
}

Value = int | str | tuple[InstancesStored, ...] | tuple[MessagesSentRcvd, ...] | bytes
"""What a DiagnosticInfo tells; bytes where it is of a Kind that is unknown here, or not as section 5.3 has it."""


@structure
class DiagnosticInfo(Struct):
    """One piece of diagnostic information (section 5.2)."""

    kind: DiagnosticKind
    diagnostic_info_contents: Opaque16

    @classmethod
    def of(cls, kind: DiagnosticKind, value: Value) -> DiagnosticInfo:
        """As section 5.3 has the value of this Kind."""
        match value:
            case int():
                # What does not fit is told as the most that does.
                most = (1 << 8 * WIDTHS[kind]) - 1
                return cls(kind, min(value, most).to_bytes(WIDTHS[kind], "big"))
            case str():
                # "The string is a C-style string and MUST be terminated by "\0". "\0" MUST NOT be included in the
                # string itself".
                return cls(kind, value.replace("\0", "").encode("ascii", "replace") + b"\0")
            case tuple():
                return cls(kind, b"".join(entry.encode() for entry in value))
        return cls(kind, value)

    @property
    def value(self) -> Value:
        """What it tells."""
        contents = self.diagnostic_info_contents
        if len(contents) == WIDTHS.get(self.kind):
            return int.from_bytes(contents, "big")
        if self.kind is DiagnosticKind.SOFTWARE_VERSION and contents.find(b"\0") == len(contents) - 1 >= 0:
            return contents[:-1].decode("ascii", "replace")
        if self.kind in ARRAYS:
            return _array(ARRAYS[self.kind], contents)
        return contents

    def summary(self) -> str:
        """Kind and value."""
        value = self.value
        if isinstance(value, tuple):
            told = ", ".join(" ".join(str(field) for _, _, field in entry.items()) for entry in value)
        else:
            told = value.hex() if isinstance(value, bytes) else str(value)
        return f"{self.kind.rfc_name}: {told}"


def _array(entry: type[InstancesStored] | type[MessagesSentRcvd], contents: bytes) -> Value:
    entries, offset = [], 0
    try:
        while offset < len(contents):
            found, offset = entry.decode_prefix(contents, offset)
            entries.append(found)
    except DecodeError:
        return contents
    return tuple(entries)  # type: ignore[return-value]


@structure
class DiagnosticsResponse(Struct):
    """What is answered; times in milliseconds since 1970 (section 5.2)."""

    expiration: Uint64
    timestamp_initiated: Uint64
    timestamp_received: Uint64
    hop_counter: Uint8
    diagnostic_info_list: Annotated[tuple[DiagnosticInfo, ...], Vector(4, length_twice=True)] = ()


@structure
class PathTrackReq(Struct):
    """Body of a PathTrack request (section 4.3.1.1)."""

    destination: DestinationEntry
    request: DiagnosticsRequest


@structure
class PathTrackAns(Struct):
    """Body of a PathTrack answer (section 4.3.1.2)."""

    next_hop: DestinationEntry
    response: DiagnosticsResponse
