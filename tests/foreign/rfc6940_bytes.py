"""The bytes of RELOAD, written from the text of RFC 6940 alone: nothing here knows the program under test.

Sections 6.3 (messages), 6.4 to 6.6 (methods, framing), 7 (data), 10.7 to 10.9 (Chord), 14 (numbers).
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import NamedTuple, TypeVar

T = TypeVar("T")

NODE_BYTES = 16
WILDCARD = b"\xff" * NODE_BYTES

# 14.8
PROBE, ATTACH, STORE, FETCH, FIND, JOIN, LEAVE = 0x1, 0x3, 0x7, 0x9, 0xD, 0xF, 0x11
UPDATE, ROUTE_QUERY, PING, STAT, APP_ATTACH, CONFIG_UPDATE = 0x13, 0x15, 0x17, 0x19, 0x1D, 0x21
ERROR = 0xFFFF

# 14.9
FORBIDDEN, NOT_FOUND, TIMEOUT, GENERATION_TOO_LOW, INCOMPATIBLE = 0x2, 0x3, 0x4, 0x5, 0x6
UNSUPPORTED_OPTION, DATA_TOO_LARGE, DATA_TOO_OLD, TTL_EXCEEDED, MESSAGE_TOO_LARGE = 0x7, 0x8, 0x9, 0xA, 0xB
UNKNOWN_KIND, UNKNOWN_EXTENSION, RESPONSE_TOO_LARGE, CONFIG_TOO_OLD, CONFIG_TOO_NEW = 0xC, 0xD, 0xE, 0xF, 0x10
IN_PROGRESS, INVALID_MESSAGE = 0x11, 0x14


class Malformed(Exception):
    """Bytes that are not what the RFC says."""


class Reader:
    """Takes bytes from the front."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self.at

    def take(self, count: int) -> bytes:
        if count > self.left:
            raise Malformed(f"{count} bytes wanted, {self.left} left")
        self.at += count
        return self._data[self.at - count : self.at]

    def number(self, size: int) -> int:
        return int.from_bytes(self.take(size), "big")

    def boolean(self) -> bool:
        value = self.number(1)
        if value > 1:
            raise Malformed(f"a Boolean of {value}")
        return bool(value)

    def vector(self, size: int) -> bytes:
        return self.take(self.number(size))

    def list(self, size: int, read: Callable[[Reader], T]) -> list[T]:
        return whole(self.vector(size), lambda inner: many(inner, read))

    def end(self) -> None:
        if self.left:
            raise Malformed(f"{self.left} bytes too many")


def many(reader: Reader, read: Callable[[Reader], T]) -> list[T]:
    found = []
    while reader.left:
        found.append(read(reader))
    return found


def whole(data: bytes, read: Callable[[Reader], T]) -> T:
    """What `read` makes of all of `data`."""
    reader = Reader(data)
    value = read(reader)
    reader.end()
    return value


def number(value: int, size: int) -> bytes:
    return value.to_bytes(size, "big")


def vector(data: bytes, size: int) -> bytes:
    return number(len(data), size) + data


def node_list(nodes: Iterable[bytes]) -> bytes:
    return vector(b"".join(nodes), 2)


def read_node(reader: Reader) -> bytes:
    return reader.take(NODE_BYTES)


def overlay_hash(name: str) -> int:
    """6.3.2: "the lower 32 bits of the SHA-1 hash of the overlay name"."""
    return int.from_bytes(hashlib.sha1(name.encode()).digest()[-4:], "big")


def resource_id(text: bytes) -> bytes:
    """10.2: SHA-1, "truncated to the most significant 128 bits"."""
    return hashlib.sha1(text).digest()[:16]


# 6.3.2.2 Destination lists


class Destination(NamedTuple):
    """A node (1), a resource (2) or an opaque ID (3)."""

    type: int
    value: bytes

    def encode(self) -> bytes:
        if self.type == 3 and len(self.value) == 2 and self.value[0] & 0x80:
            # The other form: "uint16 opaque_id; /* Top bit MUST be 1 */".
            return self.value
        data = self.value if self.type == 1 else vector(self.value, 1)
        return number(self.type, 1) + vector(data, 1)


def node(value: bytes) -> Destination:
    return Destination(1, value)


def resource(value: bytes) -> Destination:
    return Destination(2, value)


def opaque(value: bytes) -> Destination:
    return Destination(3, value)


def read_destination(reader: Reader) -> Destination:
    first = reader.number(1)
    if first & 0x80:
        # "it MUST be treated as if it were a full structure with a DestinationType of opaque_id_type".
        return Destination(3, number(first, 1) + reader.take(1))
    data = Reader(reader.vector(1))
    value = data.take(NODE_BYTES) if first == 1 else data.vector(1)
    data.end()
    if first not in (1, 2, 3):
        raise Malformed(f"destination type {first}")
    return Destination(first, value)


# 6.3.2 Forwarding header

_FIXED = struct.Struct(">IIHBBIIQIHHH")
TOKEN = 0xD2454C4F
UNFRAGMENTED = 0xC0000000


class Option(NamedTuple):
    """6.3.2.3: a forwarding option."""

    type: int
    flags: int
    value: bytes


@dataclass(frozen=True)
class Header:
    """The forwarding header; `length` is that of the whole message, 0 to be filled in."""

    overlay: int
    sequence: int
    transaction: int
    destinations: tuple[Destination, ...]
    via: tuple[Destination, ...] = ()
    options: tuple[Option, ...] = ()
    ttl: int = 100
    version: int = 0x0A
    fragment: int = UNFRAGMENTED
    max_response: int = 0
    token: int = TOKEN
    length: int = 0

    def encode(self, payload_bytes: int) -> bytes:
        via, destinations = (b"".join(entry.encode() for entry in each) for each in (self.via, self.destinations))
        options = b"".join(struct.pack(">BB", kind, flags) + vector(value, 2) for kind, flags, value in self.options)
        length = self.length or _FIXED.size + len(via) + len(destinations) + len(options) + payload_bytes
        fixed = (self.token, self.overlay, self.sequence, self.version, self.ttl, self.fragment, length)
        sizes = (len(via), len(destinations), len(options))
        return _FIXED.pack(*fixed, self.transaction, self.max_response, *sizes) + via + destinations + options


def read_header(reader: Reader) -> Header:
    fixed = _FIXED.unpack(reader.take(_FIXED.size))
    token, overlay, sequence, version, ttl, fragment, length, transaction, max_response, *sizes = fixed
    if token != TOKEN or version != 0x0A:
        raise Malformed(f"token {token:#x}, version {version:#x}")
    via, destinations = (tuple(whole(reader.take(size), lambda r: many(r, read_destination))) for size in sizes[:2])
    options = tuple(
        whole(reader.take(sizes[2]), lambda r: many(r, lambda o: Option(o.number(1), o.number(1), o.vector(2))))
    )
    return Header(
        overlay, sequence, transaction, destinations, via, options, ttl, version, fragment, max_response, token, length
    )


# 6.3.4 Signatures


@dataclass(frozen=True)
class Signature:
    """`identity` is the encoded SignerIdentity, as it enters the input of the signature."""

    hash_algorithm: int
    signature_algorithm: int
    identity: bytes
    value: bytes

    def encode(self) -> bytes:
        algorithm = number(self.hash_algorithm, 1) + number(self.signature_algorithm, 1)
        return algorithm + self.identity + vector(self.value, 2)


NO_SIGNATURE = Signature(0, 0, b"\x03\0\0", b"")
"""7.4.2.2: that of a value which the storing node knows nothing of."""


def read_signature(reader: Reader) -> Signature:
    hash_algorithm, signature_algorithm, kind = reader.number(1), reader.number(1), reader.number(1)
    identity = reader.vector(2)
    return Signature(hash_algorithm, signature_algorithm, number(kind, 1) + vector(identity, 2), value=reader.vector(2))


def read_certificate(reader: Reader) -> bytes:
    kind, certificate = reader.number(1), reader.vector(2)
    if kind != 0:
        raise Malformed(f"a certificate of type {kind}, X.509 is 0")
    return certificate


def certificate_bucket(certificates: Iterable[bytes]) -> bytes:
    return vector(b"".join(b"\0" + vector(each, 2) for each in certificates), 2)


# 6.3.3 Contents


@dataclass(frozen=True)
class Message:
    """A whole message; `contents` is what the signature covers."""

    header: Header
    code: int
    body: bytes
    contents: bytes
    certificates: list[bytes]
    signature: Signature

    @property
    def is_request(self) -> bool:
        return self.code != ERROR and self.code % 2 == 1


def contents(code: int, body: bytes, extensions: bytes = b"") -> bytes:
    return number(code, 2) + vector(body, 4) + vector(extensions, 4)


def read_message(data: bytes) -> Message:
    reader = Reader(data)
    header = read_header(reader)
    if header.length != len(data) or header.fragment != UNFRAGMENTED:
        raise Malformed(f"length {header.length} of {len(data)}, fragment {header.fragment:#x}")
    begin = reader.at
    code, body, _ = reader.number(2), reader.vector(4), reader.vector(4)
    signed = data[begin : reader.at]
    certificates, signature = reader.list(2, read_certificate), read_signature(reader)
    reader.end()
    return Message(header, code, body, signed, certificates, signature)


def readdressed(data: bytes, **changes: object) -> bytes:
    """The same message with other fields in its header, which no signature covers; so it is forwarded."""
    reader = Reader(data)
    header = replace(read_header(reader), length=0, **changes)  # type: ignore[arg-type]
    payload = reader.take(reader.left)
    return header.encode(len(payload)) + payload


def fragments(data: bytes, size: int) -> list[bytes]:
    """6.7: "each fragment has a full copy of the forwarding header", and an offset into what comes after it."""
    reader = Reader(data)
    header = read_header(reader)
    payload = reader.take(reader.left)
    made = []
    for offset in range(0, len(payload), size):
        piece = payload[offset : offset + size]
        last = 0x40000000 if offset + size >= len(payload) else 0
        part = replace(header, length=0, fragment=0x80000000 | last | offset)
        made.append(part.encode(len(piece)) + piece)
    return made


def extension(kind: int, *, critical: bool, content: bytes = b"") -> bytes:
    """A MessageExtension."""
    return number(kind, 2) + number(critical, 1) + vector(content, 4)


def error(code: int, info: bytes = b"") -> bytes:
    return number(code, 2) + vector(info, 2)


# 6.6.2 Framing


def data_frame(sequence: int, message: bytes) -> bytes:
    return b"\x80" + number(sequence, 4) + vector(message, 3)


def ack_frame(sequence: int, received: int) -> bytes:
    return b"\x81" + number(sequence, 4) + number(received, 4)


# 6.5.1.1 Attach

TLS_TCP_FH_NO_ICE = 4


class Candidate(NamedTuple):
    """A host candidate, or another of which only the address matters here."""

    host: str
    port: int
    link: int = TLS_TCP_FH_NO_ICE


@dataclass(frozen=True)
class AttachBody:
    """AttachReqAns."""

    role: bytes
    candidates: tuple[Candidate, ...]
    send_update: bool
    ufrag: bytes = b""
    password: bytes = b""

    def encode(self) -> bytes:
        offered = b"".join(_candidate(each, rank) for rank, each in enumerate(self.candidates))
        secrets = vector(self.ufrag, 1) + vector(self.password, 1)
        return secrets + vector(self.role, 1) + vector(offered, 2) + number(self.send_update, 1)


def _candidate(candidate: Candidate, rank: int) -> bytes:
    address = bytes(map(int, candidate.host.split("."))) + number(candidate.port, 2)
    foundation, priority = vector(b"%d" % (rank + 1), 1), (126 << 24) + ((65535 - rank) << 8) + 255
    return b"\x01" + vector(address, 1) + number(candidate.link, 1) + foundation + number(priority, 4) + b"\x01\0\0"


def _read_address(reader: Reader) -> tuple[str, int]:
    kind, address = reader.number(1), reader.vector(1)
    host = ".".join(map(str, address[:4])) if kind == 1 else address[:16].hex(":", 2)
    return host, int.from_bytes(address[-2:], "big")


def _read_candidate(reader: Reader) -> Candidate:
    host, port = _read_address(reader)
    link, _, _, kind = reader.number(1), reader.vector(1), reader.number(4), reader.number(1)
    if kind in (2, 4):
        _read_address(reader)
    elif kind != 1:
        raise Malformed(f"a candidate of type {kind}")
    reader.list(2, lambda r: (r.vector(2), r.vector(2)))
    return Candidate(host, port, link)


def read_attach(reader: Reader) -> AttachBody:
    ufrag, password, role = reader.vector(1), reader.vector(1), reader.vector(1)
    return AttachBody(role, tuple(reader.list(2, _read_candidate)), reader.boolean(), ufrag, password)


# 10.7 Chord's Update, 10.9 Leave


@dataclass(frozen=True)
class ChordUpdate:
    """`type` is peer_ready (1), neighbors (2) or full (3)."""

    uptime: int
    type: int
    predecessors: tuple[bytes, ...] = ()
    successors: tuple[bytes, ...] = ()
    fingers: tuple[bytes, ...] = ()

    def encode(self) -> bytes:
        lists = [self.predecessors, self.successors, self.fingers][: {1: 0, 2: 2, 3: 3}[self.type]]
        return number(self.uptime, 4) + number(self.type, 1) + b"".join(map(node_list, lists))


def read_update(reader: Reader) -> ChordUpdate:
    uptime, kind = reader.number(4), reader.number(1)
    if kind not in (1, 2, 3):
        raise Malformed(f"an Update of type {kind}")
    return ChordUpdate(uptime, kind, *(tuple(reader.list(2, read_node)) for _ in range({1: 0, 2: 2, 3: 3}[kind])))


def leave(leaving: bytes, relation: int, nodes: Iterable[bytes]) -> bytes:
    """LeaveReq with ChordLeaveData; `relation` is from_succ (1) or from_pred (2)."""
    return leaving + vector(number(relation, 1) + node_list(nodes), 2)


# 7 Data

SINGLE, ARRAY, DICTIONARY = "SINGLE", "ARRAY", "DICTIONARY"
APPEND = 0xFFFFFFFF
LAST = 0xFFFFFFFF


@dataclass(frozen=True)
class Value:
    """StoredDataValue; `slot` is None, an array's index or a dictionary's key."""

    data: bytes
    exists: bool = True
    slot: int | bytes | None = None

    def encode(self, *, signing: bool = False) -> bytes:
        """`signing`: 7.4.2.2: "the index value in the array is set to zero before the signature is computed"."""
        plain = number(self.exists, 1) + vector(self.data, 4)
        if isinstance(self.slot, int):
            return number(0 if signing else self.slot, 4) + plain
        return plain if self.slot is None else vector(self.slot, 2) + plain


def read_slot(reader: Reader, model: str) -> int | bytes | None:
    if model == SINGLE:
        return None
    return reader.number(4) if model == ARRAY else reader.vector(2)


def read_value(reader: Reader, model: str) -> Value:
    slot, exists = read_slot(reader, model), reader.boolean()
    return Value(reader.vector(4), exists, slot)


@dataclass(frozen=True)
class Stored:
    """StoredData."""

    storage_time: int
    lifetime: int
    value: Value
    signature: Signature

    def encode(self) -> bytes:
        inner = number(self.storage_time, 8) + number(self.lifetime, 4) + self.value.encode() + self.signature.encode()
        return vector(inner, 4)


def read_stored(reader: Reader, model: str) -> Stored:
    inner = Reader(reader.vector(4))
    stored = Stored(inner.number(8), inner.number(4), read_value(inner, model), read_signature(inner))
    inner.end()
    return stored


@dataclass(frozen=True)
class KindData:
    """StoreKindData and FetchKindResponse, which have the same bytes."""

    kind: int
    generation: int
    values: list[Stored] = field(default_factory=list)

    def encode(self) -> bytes:
        values = b"".join(value.encode() for value in self.values)
        return number(self.kind, 4) + number(self.generation, 8) + vector(values, 4)


class UnknownKind(Exception):
    """A Kind whose data model nobody has told us."""

    def __init__(self, kind: int) -> None:
        super().__init__(f"kind {kind:#x}")
        self.kind = kind


def read_kind_data(reader: Reader, models: dict[int, str]) -> KindData:
    kind, generation, values = reader.number(4), reader.number(8), reader.vector(4)
    if kind not in models:
        raise UnknownKind(kind)
    return KindData(kind, generation, whole(values, lambda r: many(r, lambda v: read_stored(v, models[kind]))))


def store(resource_: bytes, replica: int, kinds: Iterable[KindData]) -> bytes:
    return vector(resource_, 1) + number(replica, 1) + vector(b"".join(kind.encode() for kind in kinds), 4)


class StoreKindAnswer(NamedTuple):
    """StoreKindResponse."""

    kind: int
    generation: int
    replicas: list[bytes]

    def encode(self) -> bytes:
        return number(self.kind, 4) + number(self.generation, 8) + node_list(self.replicas)


def store_answer(answers: Iterable[StoreKindAnswer]) -> bytes:
    return vector(b"".join(answer.encode() for answer in answers), 2)


def read_store_answer(reader: Reader) -> list[StoreKindAnswer]:
    return reader.list(2, lambda r: StoreKindAnswer(r.number(4), r.number(8), r.list(2, read_node)))


class Specifier(NamedTuple):
    """StoredDataSpecifier; `wanted` are array ranges or dictionary keys, as bytes already."""

    kind: int
    generation: int
    wanted: bytes | None

    def encode(self) -> bytes:
        model = b"" if self.wanted is None else vector(self.wanted, 2)
        return number(self.kind, 4) + number(self.generation, 8) + vector(model, 2)


def ranges(*pairs: tuple[int, int]) -> bytes:
    return b"".join(number(first, 4) + number(last, 4) for first, last in pairs)


def keys(*names: bytes) -> bytes:
    return b"".join(vector(name, 2) for name in names)


def read_specifier(reader: Reader, models: dict[int, str]) -> Specifier:
    kind, generation, model = reader.number(4), reader.number(8), reader.vector(2)
    if kind not in models:
        raise UnknownKind(kind)
    return Specifier(kind, generation, None if models[kind] == SINGLE else whole(model, lambda r: r.vector(2)))


def fetch(resource_: bytes, specifiers: Iterable[Specifier]) -> bytes:
    """FetchReq, and StatReq: "identical to the Fetch request"."""
    return vector(resource_, 1) + vector(b"".join(each.encode() for each in specifiers), 2)


class Meta(NamedTuple):
    """StoredMetaData with its MetaData."""

    slot: int | bytes | None
    storage_time: int
    lifetime: int
    exists: bool
    length: int
    hash_algorithm: int
    digest: bytes


def read_meta(reader: Reader, model: str) -> Meta:
    inner = Reader(reader.vector(4))
    storage_time, lifetime, slot = inner.number(8), inner.number(4), read_slot(inner, model)
    meta = Meta(slot, storage_time, lifetime, inner.boolean(), inner.number(4), inner.number(1), digest=inner.vector(1))
    inner.end()
    return meta


def find(resource_: bytes, kinds: Iterable[int]) -> bytes:
    return vector(resource_, 1) + vector(b"".join(number(kind, 4) for kind in kinds), 1)


def read_found(reader: Reader) -> list[tuple[int, bytes]]:
    return reader.list(2, lambda r: (r.number(4), r.vector(1)))


def is_for_any(message: Message) -> bool:
    """6.3.2.1: "equal to 65535 and the message type is ConfigUpdate, then the message MUST be accepted"."""
    return message.code == CONFIG_UPDATE and message.header.sequence == 65535
