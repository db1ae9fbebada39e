"""The forwarding header (RFC 6940 section 6.3.2), which every peer on the way reads and rewrites."""

from __future__ import annotations

import hashlib
import struct
from enum import IntFlag
from typing import Annotated

from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.wire.language.codec import OneOf, Prefixed, Select, Struct, Vector, structure
from p2psip.reload.wire.language.primitives import (
    Constant,
    Flags,
    Hex32,
    Hex64,
    Opaque8,
    Opaque16,
    Reader,
    Uint8,
    Uint16,
    Uint32,
    WireEnum,
)

RELO_TOKEN = 0xD2454C4F
VERSION = 0x0A

FRAGMENT_ALWAYS_SET = 0x80000000
LAST_FRAGMENT = 0x40000000
FRAGMENT_OFFSET_MASK = 0x00FFFFFF
UNFRAGMENTED = FRAGMENT_ALWAYS_SET | LAST_FRAGMENT

INITIAL_TTL = 100
CONFIGURATION_SEQUENCE_ANY = 0xFFFF
"""The configuration_sequence with which a ConfigUpdate is accepted by everybody (section 6.3.2.1)."""


def overlay_hash(name: str) -> int:
    """The `overlay` field: "the lower 32 bits of the SHA-1 hash of the overlay name"."""
    return int.from_bytes(hashlib.sha1(name.encode(), usedforsecurity=False).digest()[-4:], "big")


class DestinationType(WireEnum, width=1, is_open=True):
    """Types of Destination (section 6.3.2.2)."""

    NODE = 1
    RESOURCE = 2
    OPAQUE_ID_TYPE = 3


@structure
class Destination(Struct):
    """An entry of a destination or via list, as type, length and value (section 6.3.2.2)."""

    type: DestinationType
    destination_data: Annotated[
        NodeId | ResourceId | bytes,
        Prefixed(
            1,
            Select(
                "type",
                {
                    DestinationType.NODE: NodeId,
                    DestinationType.RESOURCE: ResourceId,
                    DestinationType.OPAQUE_ID_TYPE: Opaque8,
                },
            ),
        ),
    ]

    @classmethod
    def node(cls, node_id: NodeId) -> Destination:
        """The node with this Node-ID."""
        if type(node_id) is not NodeId:
            return cls(DestinationType.NODE, node_id)
        # Every Node-ID can be encoded.
        made = _new(cls)
        _set_type(made, _NODE)
        _set_destination_data(made, node_id)
        return made

    @classmethod
    def resource(cls, resource_id: ResourceId) -> Destination:
        """The peer that is responsible for this Resource-ID."""
        return cls(DestinationType.RESOURCE, resource_id)

    @classmethod
    def opaque(cls, opaque_id: bytes) -> Destination:
        """What some peer on the way knows how to expand."""
        return cls(DestinationType.OPAQUE_ID_TYPE, opaque_id)

    def validate(self) -> None:
        """A type of 128 and above would read as the 16-bit form: "128-255 not allowed"."""
        if self.type >= 0x80:
            raise ValueError(f"{int(self.type)} is no DestinationType")

    @property
    def node_id(self) -> NodeId | None:
        """The Node-ID, of a node."""
        data = self.destination_data
        return data if self.type is _NODE and isinstance(data, NodeId) else None

    @property
    def resource_id(self) -> ResourceId | None:
        """The Resource-ID, of a resource."""
        data = self.destination_data
        return data if self.type is _RESOURCE and isinstance(data, ResourceId) else None

    @property
    def opaque_id(self) -> bytes | None:
        """The opaque ID, of an opaque one."""
        return self.destination_data if self.type is DestinationType.OPAQUE_ID_TYPE else None

    def summary(self) -> str:
        """Type and value."""
        return f"{self.type.rfc_name} {self.destination_data.hex()}"


@structure
class CompressedDestination(Struct):
    """An entry of a destination or via list in its 16-bit form (section 6.3.2.2)."""

    compressed_id: Uint16

    def validate(self) -> None:
        """Top bit MUST be 1."""
        if not self.compressed_id & 0x8000:
            raise ValueError(f"the top bit of {self.compressed_id:#06x} is not set")

    @property
    def node_id(self) -> NodeId | None:
        """None: this is no node."""
        return None

    @property
    def resource_id(self) -> ResourceId | None:
        """None: this is no resource."""
        return None

    @property
    def opaque_id(self) -> bytes:
        """As of "an opaque_id that was 2 bytes long with the value of the 16-bit integer"."""
        return self.compressed_id.to_bytes(2, "big")

    def summary(self) -> str:
        """The 16 bits."""
        return f"opaque {self.compressed_id:#06x} (16 bits)"


class _EitherForm(OneOf):
    """The first bit tells which form a destination has, entry by entry."""

    def choose(self, reader: Reader) -> type[Struct]:
        return CompressedDestination if reader.peek(1) & 0x80 else Destination


Entry = Destination | CompressedDestination
"""An entry of a destination or via list, in either form."""

DestinationEntry = Annotated[Entry, _EitherForm(Destination, CompressedDestination)]


class ForwardingOptionType(WireEnum, width=1, is_open=True):
    """Types of ForwardingOption (section 14.12)."""

    INVALID_FORWARDING_OPTION_TYPE = 0, "invalidForwardingOptionType"
    EXP_FORWARD = 1, "exp-forward"
    EXTENSIVE_ROUTING_MODE = 2
    """RFC 7263 section 8.1."""


class ForwardingOptionFlags(IntFlag):
    """The flags of a ForwardingOption, which "MUST NOT be set in a response" (section 6.3.2.3)."""

    FORWARD_CRITICAL = 0x01
    DESTINATION_CRITICAL = 0x02
    RESPONSE_COPY = 0x04
    IGNORE_STATE_KEEPING = 0x08
    """RFC 7263 section 5.2.1."""


@structure
class ForwardingOption(Struct):
    """An option of the forwarding header (section 6.3.2.3)."""

    type: ForwardingOptionType
    flags: Annotated[ForwardingOptionFlags, Flags(ForwardingOptionFlags, 1)]
    option: Opaque16


@structure(kw_only=True)
class ForwardingHeader(Struct):
    """The forwarding header (section 6.3.2). `length` counts the whole message; Message.encode sets it."""

    relo_token: Annotated[int, Constant(4, RELO_TOKEN, "the RELOAD token 0xd2454c4f")] = RELO_TOKEN
    overlay: Hex32
    configuration_sequence: Uint16
    version: Annotated[int, Constant(1, VERSION, "version 1.0 (0x0a)")] = VERSION
    ttl: Uint8 = INITIAL_TTL
    fragment: Hex32 = UNFRAGMENTED
    length: Uint32 = 0
    transaction_id: Hex64
    max_response_length: Uint32 = 0
    via_list: Annotated[tuple[DestinationEntry, ...], Vector(2, lengths_first=True)] = ()
    destination_list: Annotated[tuple[DestinationEntry, ...], Vector(2, lengths_first=True)]
    options: Annotated[tuple[ForwardingOption, ...], Vector(2, lengths_first=True)] = ()

    def validate(self) -> None:
        """The high bit of `fragment` "MUST be set", and receivers discard messages without it (section 6.7)."""
        if not self.fragment & FRAGMENT_ALWAYS_SET:
            raise ValueError("the high bit of fragment is not set")

    @classmethod
    def decode_from(cls, reader: Reader) -> ForwardingHeader:
        """Read the header: the usual one by hand, whatever else as it is declared."""
        return _read_usual_header(reader) or cls.decode_declared(reader)

    def encode_to(self, out: bytearray) -> None:
        """Append the header: the usual one by hand, whatever else as it is declared."""
        if self.options or not _write_usual_header(self, out):
            self.encode_declared(out)

    def altered(
        self,
        *,
        ttl: int | None = None,
        length: int | None = None,
        transaction_id: int | None = None,
        max_response_length: int | None = None,
        via_list: tuple[Entry, ...] | None = None,
        destination_list: tuple[Entry, ...] | None = None,
        options: tuple[ForwardingOption, ...] | None = None,
    ) -> ForwardingHeader:
        """The same but for these fields, known to be good: `dataclasses.replace` would check all of them once more."""
        made = _new(ForwardingHeader)
        _set_relo_token(made, self.relo_token)
        _set_overlay(made, self.overlay)
        _set_configuration_sequence(made, self.configuration_sequence)
        _set_version(made, self.version)
        _set_ttl(made, self.ttl if ttl is None else ttl)
        _set_fragment(made, self.fragment)
        _set_length(made, self.length if length is None else length)
        _set_transaction_id(made, self.transaction_id if transaction_id is None else transaction_id)
        _set_max_response_length(made, self.max_response_length if max_response_length is None else max_response_length)
        _set_via_list(made, self.via_list if via_list is None else via_list)
        _set_destination_list(made, self.destination_list if destination_list is None else destination_list)
        _set_options(made, self.options if options is None else options)
        return made

    @property
    def size(self) -> int:
        """How many bytes the header has."""
        size = _FIXED_PART.size
        for entry in (*self.via_list, *self.destination_list):
            if isinstance(entry, Destination) and entry.type is _NODE:
                size += 2 + len(entry.destination_data)
            else:
                size += len(entry.encode())
        return size + sum(len(option.encode()) for option in self.options)

    @property
    def is_unfragmented(self) -> bool:
        """True for a whole message, the only fragment."""
        return self.is_last_fragment and self.fragment_offset == 0

    @property
    def is_last_fragment(self) -> bool:
        """True for the last fragment or the only one."""
        return bool(self.fragment & LAST_FRAGMENT)

    @property
    def fragment_offset(self) -> int:
        """How many bytes of payload precede those of this fragment."""
        return self.fragment & FRAGMENT_OFFSET_MASK


# What follows repeats the declarations above for speed: every message is read here at every hop. It handles headers
# without options whose lists consist of Node-IDs and Resource-IDs, and leaves all others to `decode_declared`.

_FIXED_PART = struct.Struct(">IIHBBIIQIHHH")
_new = object.__new__
_NODE, _RESOURCE = DestinationType.NODE, DestinationType.RESOURCE
_set_relo_token, _set_overlay, _set_configuration_sequence, _set_version, _set_ttl, _set_fragment, _set_length = (
    vars(ForwardingHeader)[name].__set__
    for name in ("relo_token", "overlay", "configuration_sequence", "version", "ttl", "fragment", "length")
)
_set_transaction_id, _set_max_response_length, _set_via_list, _set_destination_list, _set_options = (
    vars(ForwardingHeader)[name].__set__
    for name in ("transaction_id", "max_response_length", "via_list", "destination_list", "options")
)
_set_type, _set_destination_data = (vars(Destination)[name].__set__ for name in ("type", "destination_data"))


def _read_usual_header(reader: Reader) -> ForwardingHeader | None:
    data, start = reader.data, reader.offset + _FIXED_PART.size
    if start > reader.end:
        return None
    (
        relo_token,
        overlay,
        configuration_sequence,
        version,
        ttl,
        fragment,
        length,
        transaction_id,
        max_response_length,
        via_length,
        destination_length,
        options_length,
    ) = _FIXED_PART.unpack_from(data, reader.offset)
    middle, end = start + via_length, start + via_length + destination_length
    is_usual = relo_token == RELO_TOKEN and version == VERSION and fragment & FRAGMENT_ALWAYS_SET
    if not is_usual or options_length or end > reader.end:
        return None
    via_list = _read_usual_entries(data, start, middle, reader.node_id_length)
    destination_list = _read_usual_entries(data, middle, end, reader.node_id_length)
    if via_list is None or destination_list is None:
        return None
    header = _new(ForwardingHeader)
    _set_relo_token(header, relo_token)
    _set_overlay(header, overlay)
    _set_configuration_sequence(header, configuration_sequence)
    _set_version(header, version)
    _set_ttl(header, ttl)
    _set_fragment(header, fragment)
    _set_length(header, length)
    _set_transaction_id(header, transaction_id)
    _set_max_response_length(header, max_response_length)
    _set_via_list(header, via_list)
    _set_destination_list(header, destination_list)
    _set_options(header, ())
    reader.offset = end
    return header


def _write_usual_header(header: ForwardingHeader, out: bytearray) -> bool:
    via_list = _usual_entries_bytes(header.via_list)
    destination_list = _usual_entries_bytes(header.destination_list)
    if via_list is None or destination_list is None:
        return False
    out += _FIXED_PART.pack(
        header.relo_token,
        header.overlay,
        header.configuration_sequence,
        header.version,
        header.ttl,
        header.fragment,
        header.length,
        header.transaction_id,
        header.max_response_length,
        len(via_list),
        len(destination_list),
        0,
    )
    out += via_list
    out += destination_list
    return True


def _usual_entries_bytes(entries: tuple[Destination | CompressedDestination, ...]) -> bytes | None:
    if not entries:
        return b""
    parts: list[bytes] = []
    for entry in entries:
        if not isinstance(entry, Destination):
            return None
        data, kind = entry.destination_data, entry.type
        if kind is _NODE:
            parts += (bytes((1, len(data))), data)
        elif kind is _RESOURCE:
            parts += (bytes((2, len(data) + 1, len(data))), data)
        else:
            return None
    return b"".join(parts)


def _read_usual_entries(data: bytes, offset: int, end: int, node_id_length: int) -> tuple[Destination, ...] | None:
    if offset == end:
        return ()
    entries: list[Destination] = []
    while offset < end:
        value = offset + 2
        offset = value + data[offset + 1] if value <= end else end + 1
        if offset > end:
            return None
        entry = _new(Destination)
        if data[value - 2] == 1 and offset - value == node_id_length:
            _set_type(entry, _NODE)
            _set_destination_data(entry, NodeId(data[value:offset]))
        elif data[value - 2] == 2 and 0 < offset - value == data[value] + 1 < 0x100:
            _set_type(entry, _RESOURCE)
            _set_destination_data(entry, ResourceId(data[value + 1 : offset]))
        else:
            return None
        entries.append(entry)
    return tuple(entries)
