"""Parsers of RELOAD, of certificates and documents, and of files (tests/support/fuzz_target.py)."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import wire_specimens
from effort import times
from fuzz_target import Target
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import mutant
from wire_specimens import BODIES
from wire_strategies import all_structures, values_of

from p2psip.base.errors import LocalMisuse, RemoteProtocolError
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
from p2psip.reload.config.document import parse as parse_document
from p2psip.reload.config.errors import ConfigurationError
from p2psip.reload.config.kind_blocks import kind_block, parse_kind_block
from p2psip.reload.forwarding.fragmentation import fragment
from p2psip.reload.forwarding.reassembly import CannotReassemble, Reassembler
from p2psip.reload.link.datagram import DatagramLink
from p2psip.reload.link.framing import FramingError, frame_ack, frame_data
from p2psip.reload.link.stream import StreamLink
from p2psip.reload.security.certificates import chain_from_pem, chain_to_pem, read_leaf
from p2psip.reload.security.errors import UntrustedCertificate
from p2psip.reload.security.reload_uri import node_uri, parse_node_uri
from p2psip.reload.topology.chord.messages import BODIES as CHORD_BODIES
from p2psip.reload.topology.chord.messages import ChordLeaveData
from p2psip.reload.wire.framing import FramedMessage
from p2psip.reload.wire.kinds import DataModel
from p2psip.reload.wire.language.codec import Struct
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.link_messages import PingReq
from p2psip.reload.wire.message import Message, body_of, split
from p2psip.reload.wire.storage_messages import StoredData, StoredMetaData
from p2psip.sim.membership import DATE, OVERLAY, Club, founding, key, node_id
from p2psip.sip.entities.registrar.bindings import Bindings

pytestmark = pytest.mark.long

MESSAGES = tuple(wire_specimens.message(code, body).encode() for _, code, body in BODIES)


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

TARGETS = [*RELOAD_TARGETS, *SECURITY_TARGETS, *FILE_TARGETS]


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_damaged_specimens(target: Target) -> None:
    target.try_damaged_specimens()


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_sound_specimens(target: Target) -> None:
    target.try_sound_specimens()


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
    for target in RELOAD_TARGETS:
        errors = target.error if isinstance(target.error, tuple) else (target.error,)
        assert all(issubclass(error, RemoteProtocolError) for error in errors), target.name
    assert all(target.error is LocalMisuse for target in FILE_TARGETS)


def test_every_message_code_is_a_target() -> None:
    """Also those that come later: there is a specimen of each."""
    names = {target.name for target in RELOAD_TARGETS}
    assert {f"body of {name}" for name, _, _ in BODIES} <= names
