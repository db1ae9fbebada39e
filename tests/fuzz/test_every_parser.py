"""Every parser of bytes that somebody else may have written: damaged specimens end in a value or in the one error.

What a target reads it gives back as bytes, if they can be encoded again: for the exact ones these are the bytes that it
was given; of the others (SIP, SDP, XML: there are several ways to say the same) what they are read as again is the
same. A mutant is made by the name of its target and a number, and nothing else: a failure names both.
"""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import wire_specimens
from effort import times
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import mutant
from watching import CALLS, PRESENCE
from wire_specimens import BODIES
from wire_strategies import all_structures, values_of

from p2psip.base.address import Address
from p2psip.base.errors import LocalMisuse, RemoteProtocolError
from p2psip.coupling.gruu import make_gruu, read_gruu
from p2psip.daemon.state.kept import (
    CONTACTS_FILE,
    KINDS_FILE,
    PHONES_FILE,
    load_contacts,
    load_kinds,
    load_phones,
    save_phones,
)
from p2psip.daemon.state.settings import SETTINGS_FILE, load_settings, make_settings, write_settings
from p2psip.enrollment.client import EnrollmentRefused, read_answer, verify_first
from p2psip.enrollment.csr import make_request, read_request
from p2psip.enrollment.form import read_form
from p2psip.enrollment.refusals import BadCsr, BadForm
from p2psip.media.relay.description import read
from p2psip.media.relay.multiplex import Frame, MalformedFrame
from p2psip.media.relay.ports import OpenPorts
from p2psip.media.relay.relay import CALLEE, CALLER, NothingToCarry, Relay
from p2psip.media.relay.rtpengine.bencode import MalformedBencode, decode, encode
from p2psip.media.relay.rtpengine.figures import counted
from p2psip.media.relay.sides import Phone
from p2psip.media.rtp import MalformedRtp, RtpPacket
from p2psip.media.sdp import MalformedSdp, SessionDescription
from p2psip.reload.config.document import parse as parse_document
from p2psip.reload.config.errors import ConfigurationError
from p2psip.reload.config.kind_blocks import kind_block, parse_kind_block
from p2psip.reload.forwarding.fragmentation import fragment
from p2psip.reload.forwarding.reassembly import CannotReassemble, Reassembler
from p2psip.reload.link.datagram import DatagramLink
from p2psip.reload.link.framing import FramingError, frame_ack, frame_data
from p2psip.reload.link.stream import StreamLink
from p2psip.reload.paths.ice.checks import (
    CheckCredentials,
    CheckRole,
    Plain,
    encode_conflict,
    encode_request,
    encode_success,
)
from p2psip.reload.paths.ice.checks import read as read_check
from p2psip.reload.security.certificates import chain_from_pem, chain_to_pem, read_leaf
from p2psip.reload.security.errors import UntrustedCertificate
from p2psip.reload.security.reload_uri import node_uri, parse_node_uri
from p2psip.reload.topology.chord.messages import BODIES as CHORD_BODIES
from p2psip.reload.topology.chord.messages import ChordLeaveData
from p2psip.reload.wire.framing import FramedMessage
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.kinds import DataModel
from p2psip.reload.wire.language.codec import Struct
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.link_messages import PingReq
from p2psip.reload.wire.message import Message, body_of, split
from p2psip.reload.wire.storage_messages import StoredData, StoredMetaData
from p2psip.sim.membership import DATE, OVERLAY, Club, founding, key, node_id
from p2psip.sip.entities.registrar.bindings import Bindings
from p2psip.sip.events.documents import DIALOG_INFO, renamed
from p2psip.sip.events.documents import parse_document as parse_state
from p2psip.sip.events.presence import PresencePackage, Published
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.headers import AuthParams, Event, NameAddr, Via
from p2psip.sip.message.parser import parse as parse_sip
from p2psip.sip.message.uri import parse_sip_uri, parse_uri
from p2psip.sip.transports.framing import StreamFraming
from p2psip.stun.message import MessageClass, NotStun, StunMessage
from p2psip.stun.message import decode as decode_stun

pytestmark = pytest.mark.long

MESSAGES = tuple(wire_specimens.message(code, body).encode() for _, code, body in BODIES)


@dataclass(frozen=True)
class Target:
    """A parser: `read` gives back what it read, as bytes again, or None if that cannot be written."""

    name: str
    read: Callable[[bytes], bytes | None]
    error: type[Exception] | tuple[type[Exception], ...]
    specimens: Callable[[], Sequence[bytes]]
    count: int = 4_000
    is_exact: bool = True

    def __str__(self) -> str:
        return self.name


# RELOAD


def _message(data: bytes) -> bytes:
    """Header, contents, body, security block."""
    message = Message.decode(data)
    assert body_of(message.contents, topology=CHORD_BODIES).encode() == message.contents.message_body
    return message.encode()


def _body(structure: type[Struct]) -> Callable[[bytes], bytes]:
    return lambda data: structure.decode(data).encode()


def _frames_of_a_stream(data: bytes) -> None:
    StreamLink(5000, 0.0).receive(data, 0.0)


def _datagrams(data: bytes) -> None:
    link = DatagramLink(5000, 1400, 3.0, 0.0)
    link.send(MESSAGES[0], 0.0)
    link.receive(data, 0.5)
    link.receive(data, 0.6)
    link.handle_timeout(30.0)


def _fragments(data: bytes) -> None:
    """One piece of a message that is damaged, between those that are not."""
    big = wire_specimens.message(BODIES[0][1], PingReq(bytes(3000))).encode()
    first, *others = fragment(big, 1000)
    reassembler = Reassembler(5000)
    for piece in (first, data, *others):
        header, payload = split(piece)
        if not header.is_unfragmented:
            whole = reassembler.receive(header, payload, node_id(1), node_id(2), 0.0)
            assert whole is None or whole[0].is_unfragmented


def _pieces() -> list[bytes]:
    return fragment(wire_specimens.message(BODIES[0][1], PingReq(bytes(3000))).encode(), 1000)


# Certificates and documents


@cache
def _club() -> Club:
    return Club.of()


def _leaf(data: bytes) -> None:
    read_leaf(data, 16)


def _membership(data: bytes) -> None:
    """In a TLS handshake."""
    _club().verifier.check([data], DATE, True)


def _certificates() -> list[bytes]:
    return [_club().certificate(), _club().certificate(node_ids=[node_id(1), node_id(2)]), _club().anchor.der]


def _pem(data: bytes) -> bytes:
    return chain_to_pem(chain_from_pem(data))


def _uri(data: bytes) -> bytes:
    node, overlay = parse_node_uri(data.decode("latin-1"), 16)
    return node_uri(node, overlay).encode("latin-1")


def _document(data: bytes) -> None:
    """As a stranger sends it, and as it is believed."""
    parse_document(data)
    verify_first(data, _club().anchor.fingerprint, DATE, True)


def _kind_block(data: bytes) -> bytes:
    return kind_block(parse_kind_block(data))


def _kind_blocks() -> list[bytes]:
    return [kind_block(entry) for entry in parse_document(founding().document).kinds]


# Enrollment

BOUNDARY = b"----------------------------0123456789"
FORM = b"".join(
    b"--" + BOUNDARY + b'\r\nContent-Disposition: form-data; name="' + name + b'"\r\n\r\n' + value + b"\r\n"
    for name, value in ((b"username", b"alice"), (b"password", b"secret"), (b"nodeids", b"1"), (b"csr", b"\x30\x03abc"))
) + b"--" + BOUNDARY + b"--\r\n"  # fmt: skip


def _form(data: bytes) -> None:
    read_form(f"multipart/form-data; boundary={BOUNDARY.decode()}", data)


def _content_type(data: bytes) -> None:
    read_form(data.decode("latin-1"), FORM)


def _enrollment_answer(data: bytes) -> None:
    """Status and content type before the first line's end, then the body."""
    head, _, body = data.partition(b"\n")
    status, _, content_type = head.decode("latin-1").partition(" ")
    read_answer("server", int(status) if status.isdecimal() and status.isascii() else 0, content_type, body, 0.0)


def _csr(data: bytes) -> None:
    request = read_request(data)
    assert request.key_hash


# SIP and media

INVITE = b"""INVITE sip:bob@overlay SIP/2.0\r
Via: SIP/2.0/UDP 10.0.0.2:5060;branch=z9hG4bKx;rport\r
Max-Forwards: 70\r
From: "Alice" <sip:alice@overlay>;tag=a\r
To: <sip:bob@overlay>\r
Call-ID: c\r
CSeq: 7 INVITE\r
Contact: <sip:alice@10.0.0.2:5060>;q=0.5\r
Content-Length: 4\r
\r
body"""

OFFER = b"""v=0\r
o=alice 1 2 IN IP4 192.0.2.1\r
s=-\r
c=IN IP4 192.0.2.1\r
t=0 0\r
m=audio 40000 RTP/AVP 0 8 101\r
a=rtpmap:101 telephone-event/8000\r
a=fmtp:101 0-16\r
a=sendrecv\r
"""


def _sip(data: bytes) -> bytes:
    return parse_sip(data).encode()


def _sip_stream(data: bytes) -> None:
    framer = StreamFraming()
    for start in range(0, len(data), 7):
        framer.feed(data[start : start + 7])
    if framer.error is not None:
        raise framer.error


def _text(read: Callable[[str], object]) -> Callable[[bytes], bytes]:
    return lambda data: str(read(data.decode("latin-1"))).encode("latin-1")


def _published(data: bytes) -> None:
    """What a phone publishes, as it is told on."""
    said = Published.parse(data)
    package = PresencePackage("overlay")
    package.note_published("bob", said)
    again = Published.parse(package.document("bob", 0, sees_calls=False))
    assert (again.note, again.activities) == (said.note, said.activities)


def _told(data: bytes) -> bytes:
    """What another peer tells, as a phone is told it: what can be read can be read afterwards."""
    parse_state(data)
    return renamed(DIALOG_INFO, data, lambda uri: uri)


def _gruu(data: bytes) -> None:
    uri = parse_sip_uri(data.decode("latin-1"))
    assert read_gruu(uri) != ()


def _sdp(data: bytes) -> bytes:
    return SessionDescription.decode(data).encode()


def _relayed_sdp(data: bytes) -> bytes:
    """A description through a relay: where it named a phone's ports, it names ours."""
    relay = Relay(random.Random(1))
    relay.start()
    for effect in relay.drain():
        assert isinstance(effect, OpenPorts)
        relay.handle_ports(effect.port, True, 0.0)
    call = relay.begin("call", Phone("alice", "192.0.2.9", "192.0.2.1"), Phone("bob", "2001:db8::9", "2001:db8::1"))
    described = read(data)
    written = read(relay.describe(call, CALLER, data, 0.0))
    for was, now in zip(described, written, strict=True):
        if not (now.is_refused or now.is_held):
            assert now.rtp is not None
            assert now.rtp[0] == "2001:db8::9"
        assert was.kind == now.kind
    return relay.describe(call, CALLEE, data, 0.0)


ENGINE_ANSWER = encode(
    {
        "created": 1795949499,
        "tags": {"caller": {"medias": [{"index": 1, "streams": [{"stats": {"packets": 8, "bytes": 1253}}]}]}},
        "sdp": OFFER.decode(),
        "result": "ok",
    }
)


def _bencode(data: bytes) -> bytes:
    value = decode(data)
    if isinstance(value, dict):
        counted(value)
    return encode(value)


def _rtp(data: bytes) -> None:
    packet = RtpPacket.decode(data)
    again = RtpPacket.decode(packet.encode())
    assert again == packet


def _rtp_packets() -> list[bytes]:
    plain = RtpPacket(0, 1, 160, 0x11223344, bytes(160)).encode()
    padded = bytes([plain[0] | 0x20]) + plain[1:] + b"\0\0\0\4"
    extended = bytes([plain[0] | 0x10]) + plain[1:12] + b"\xbe\xde\0\1abcd" + plain[12:]
    return [plain, padded, extended]


def _stream_frame(data: bytes) -> bytes:
    return Frame.decode(data).encode()


def _stun(data: bytes) -> bytes:
    return decode_stun(data).encode()


def _stun_messages() -> list[bytes]:
    attributes = ((0x0006, b"alice"), (0x8022, b"a client"))
    return [StunMessage(MessageClass.REQUEST, 1, b"twelve bytes", attributes, flag).encode() for flag in (False, True)]


def _check(data: bytes) -> None:
    if isinstance(read_check(data), Plain):
        raise NotStun("no check, and no answer to one")


def _checks() -> list[bytes]:
    theirs, number = CheckCredentials(b"abcd", b"p" * 22), b"twelve bytes"
    request = encode_request(number, b"efgh", theirs, 99, CheckRole(is_controlling=True, tie_breaker=7))
    answer = encode_success(number, Address("203.0.113.9", 6000), theirs.password)
    return [request, answer, encode_conflict(number, theirs.password)]


# What a peer has written down itself, and somebody edited


def _file(name: str, load: Callable[[Path], object]) -> Callable[[bytes], None]:
    def read(data: bytes) -> None:
        with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as directory:
            (Path(directory) / name).write_bytes(data)
            load(Path(directory))

    return read


def _phones_file() -> list[bytes]:
    with tempfile.TemporaryDirectory() as directory:
        save_phones(Path(directory), b"[]", DATE)
        return [(Path(directory) / PHONES_FILE).read_bytes()]


def _bindings(data: bytes) -> None:
    Bindings(8).restore(data, 100.0, 1.0)


BINDINGS = json.dumps(
    [
        {
            "user": "alice", "contact": "sip:alice@10.0.0.2:5060", "call_id": "c", "cseq": 1, "age_s": 1.0,
            "remaining_s": 600.0, "q": 1.0, "instance": "<urn:uuid:1>", "user_agent": "phone", "reg_id": 1,
            "path": ["<sip:edge;lr;ob>"], "hops": [["UDP", "10.0.0.2", 5060, "10.0.0.1", 5060]],
        }
    ]
).encode()  # fmt: skip


def _settings_file() -> list[bytes]:
    return [write_settings(make_settings({"name": "garden", "fingerprint": "5" * 64}, "test")).encode()]


RELOAD_TARGETS = [
    Target("message", _message, DecodeError, lambda: MESSAGES, count=60_000),
    *(
        Target(f"body of {name}", _body(type(body)), DecodeError, lambda body=body: [body.encode()], count=1500)  # type: ignore[misc]
        for name, _, body in BODIES
    ),
    Target(
        "data of a leave",
        _body(ChordLeaveData),
        DecodeError,
        lambda: [body.overlay_specific_data for name, _, body in BODIES if name.startswith("leave_req")],  # type: ignore[attr-defined]
    ),
    Target(
        "frame",
        _body(FramedMessage),
        DecodeError,
        lambda: [FramedMessage.data(7, MESSAGES[0]).encode(), FramedMessage.ack(7, 0b1011).encode()],
    ),
    Target(
        "frames of a stream",
        _frames_of_a_stream,
        FramingError,
        lambda: [frame_data(1, MESSAGES[0]) + frame_ack(1, 1) + frame_data(2, MESSAGES[1]), frame_ack(9, 0xFFFFFFFF)],
    ),
    Target(
        "datagrams of a link",
        _datagrams,
        FramingError,
        lambda: [frame_data(1, MESSAGES[0]), frame_ack(0, 1), frame_ack(1, 0xFFFFFFFF)],
    ),
    Target("fragments", _fragments, (DecodeError, CannotReassemble), _pieces, count=2000),
]

SECURITY_TARGETS = [
    Target("certificate", _leaf, UntrustedCertificate, _certificates),
    Target("membership", _membership, UntrustedCertificate, _certificates, count=1500),
    Target("certificates in PEM", _pem, LocalMisuse, lambda: [chain_to_pem(_certificates())], is_exact=False),
    Target("URI of a node", _uri, ValueError, lambda: [node_uri(node_id(1), OVERLAY).encode()], is_exact=False),
    Target("configuration document", _document, ConfigurationError, lambda: [founding().document], count=1500),
    Target("kind-block", _kind_block, ConfigurationError, _kind_blocks, count=2000, is_exact=False),
    Target("enrollment form", _form, BadForm, lambda: [FORM]),
    Target(
        "content type of a form",
        _content_type,
        BadForm,
        lambda: [f'multipart/form-data; boundary="{BOUNDARY.decode()}"'.encode()],
    ),
    Target(
        "an enrollment server's answer",
        _enrollment_answer,
        EnrollmentRefused,
        lambda: [b"200 application/pkix-cert\n0123", b"403 text/plain\nfailed_authentication"],
    ),
    Target("certificate request", _csr, BadCsr, lambda: [make_request(key(), f"alice@{OVERLAY}")]),
]

SIP_TARGETS = [
    Target("SIP message", _sip, BadMessage, lambda: [INVITE, INVITE.replace(b"INVITE", b"REGISTER")], is_exact=False),
    Target("SIP stream", _sip_stream, BadMessage, lambda: [INVITE + b"\r\n\r\n" + INVITE]),
    Target(
        "URI",
        _text(parse_uri),
        BadMessage,
        lambda: [b"sip:alice:secret@[2001:db8::1]:5060;transport=tcp;lr?subject=x", b"tel:+49-30-1234;phone-context=x"],
        is_exact=False,
    ),
    Target(
        "Via", _text(Via.parse), BadMessage, lambda: [b"SIP/2.0/TLS [::1]:5061;branch=z9hG4bKx;rport=1"], is_exact=False
    ),
    Target(
        "name-addr",
        _text(NameAddr.parse),
        BadMessage,
        lambda: [b'"A \\"B\\"" <sip:a@b;lr?x=y>;tag=1;q=0.5', b"sip:a@b;tag=2"],
        is_exact=False,
    ),
    Target(
        "credentials",
        _text(AuthParams.parse),
        BadMessage,
        lambda: [b'Digest username="a", realm="b", nonce="c", uri="sip:d", response="00", qop=auth, nc=00000001'],
        is_exact=False,
    ),
    Target(
        "GRUU",
        _gruu,
        BadMessage,
        lambda: [str(make_gruu("a", OVERLAY, (Destination.node(node_id(1)), Destination.node(node_id(2))))).encode()],
    ),
    Target("event", _text(Event.parse), BadMessage, lambda: [b"dialog;id=7;x=y", b"presence.winfo"], is_exact=False),
    Target("published presence", _published, BadMessage, lambda: [PRESENCE]),
    Target("what is told of lines", _told, BadMessage, lambda: [CALLS, PRESENCE], is_exact=False),
    Target("SDP", _sdp, MalformedSdp, lambda: [OFFER], is_exact=False),
    Target("SDP through a relay", _relayed_sdp, (MalformedSdp, NothingToCarry), lambda: [OFFER], is_exact=False),
    # A dictionary with a key that it has twice.
    Target("commands of an engine", _bencode, MalformedBencode, lambda: [ENGINE_ANSWER], is_exact=False),
    Target("RTP", _rtp, MalformedRtp, _rtp_packets),
    Target("frames of streams", _stream_frame, MalformedFrame, lambda: [Frame(1, 7, _rtp_packets()[0]).encode()]),
    # What its padding held is not kept.
    Target("STUN", _stun, NotStun, _stun_messages, is_exact=False),
    Target("check of ICE", _check, NotStun, _checks),
]

FILE_TARGETS = [
    Target(
        "contacts.json",
        _file(CONTACTS_FILE, load_contacts),
        LocalMisuse,
        lambda: [b'[["192.0.2.1",6084],["2001:db8::1",1]]'],
        count=2000,
    ),
    Target("kinds.json", _file(KINDS_FILE, load_kinds), LocalMisuse, lambda: [b'["<kind-block/>"]'], count=2000),
    Target(
        "phones.json", _file(PHONES_FILE, lambda path: load_phones(path, DATE)), LocalMisuse, _phones_file, count=2000
    ),
    Target("registrations", _bindings, LocalMisuse, lambda: [BINDINGS, b"[]"]),
    Target("peer.toml", _file(SETTINGS_FILE, load_settings), LocalMisuse, _settings_file, count=2000),
]

TARGETS = [*RELOAD_TARGETS, *SECURITY_TARGETS, *SIP_TARGETS, *FILE_TARGETS]


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_damaged_specimens(target: Target) -> None:
    """A value or the one error; and what is a value can be written again."""
    specimens = target.specimens()
    accepted = 0
    for number in range(times(target.count)):
        data = mutant(specimens, random.Random(f"{target.name}/{number}"))
        try:
            accepted += _check(target, data)
        except Exception as error:
            error.add_note(f"{target.name}, mutant {number}: {data.hex()}")
            raise
    assert 0 < accepted < times(target.count), "some mutants are values and some are not, or nothing is tested"


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_sound_specimens(target: Target) -> None:
    """Each is accepted, except what only has the form; none of them hides the others."""
    assert any(_check(target, specimen) for specimen in target.specimens())


def _check(target: Target, data: bytes) -> bool:
    """True if the bytes are accepted."""
    try:
        written = target.read(data)
    except target.error:
        return False
    if written is not None:
        assert (written == data) if target.is_exact else (target.read(written) == written)
    return True


# Structures: every one of the wire, whoever adds it

MODELS = {StoredData: DataModel.SINGLE, StoredMetaData: DataModel.SINGLE}


@pytest.mark.parametrize("length", [16, 20])
@pytest.mark.parametrize("structure", all_structures(), ids=lambda structure: structure.__name__)
@settings(max_examples=times(40), derandomize=True, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_damaged_structures(structure: type[Struct], length: int, data: st.DataObject) -> None:
    """Property: encode after decode is the identity on every byte string that is accepted."""
    model = MODELS.get(structure)
    specimen = data.draw(values_of(structure, model, length)).encode()
    rng = random.Random(data.draw(st.integers(0, 1 << 32)))
    for _ in range(10):
        damaged = mutant([specimen], rng)
        try:
            value = structure.decode(damaged, model=model, node_id_length=length)
        except DecodeError:
            continue
        assert value.encode() == damaged


def test_the_errors_are_those_that_callers_expect() -> None:
    """What a remote can cause is a RemoteProtocolError or an error that is answered; files are the operator's."""
    for target in [*RELOAD_TARGETS, *SIP_TARGETS]:
        errors = target.error if isinstance(target.error, tuple) else (target.error,)
        assert all(issubclass(error, RemoteProtocolError) for error in errors), target.name
    assert all(target.error is LocalMisuse for target in FILE_TARGETS)


def test_every_message_code_is_a_target() -> None:
    """Also those that come later: there is a specimen of each."""
    names = {target.name for target in RELOAD_TARGETS}
    assert {f"body of {name}" for name, _, _ in BODIES} <= names
