"""Parsers of SIP, SDP, RTP, STUN and of what an rtpengine says (tests/support/fuzz_target.py)."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from fuzz_target import Target
from watching import CALLS, PRESENCE

from p2psip.base.address import Address
from p2psip.base.effects import Ask
from p2psip.base.errors import RemoteProtocolError
from p2psip.coupling.gruu import make_gruu, read_gruu
from p2psip.media.relay.description import read
from p2psip.media.relay.multiplex import Frame, MalformedFrame
from p2psip.media.relay.ports import OpenPorts
from p2psip.media.relay.relay import CALLEE, CALLER, NothingToCarry, Relay
from p2psip.media.relay.rtpengine.bencode import MalformedBencode, decode, encode
from p2psip.media.relay.rtpengine.figures import counted
from p2psip.media.relay.sides import Phone
from p2psip.media.rtp import MalformedRtp, RtpPacket
from p2psip.media.sdp import MalformedSdp, SessionDescription
from p2psip.reload.paths.ice.checks import (
    CheckCredentials,
    CheckRole,
    Plain,
    encode_conflict,
    encode_request,
    encode_success,
)
from p2psip.reload.paths.ice.checks import read as read_check
from p2psip.reload.security.reload_uri import parse_data_uri
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.sim.membership import OVERLAY, node_id
from p2psip.sip.entities.callers import passport
from p2psip.sip.entities.callers.identity_field import IdentityField
from p2psip.sip.entities.callers.passport import Claims, Party, Passport
from p2psip.sip.entities.callers.verification import Identified, Verification
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.gate import identity
from p2psip.sip.entities.questions import Authentic
from p2psip.sip.events.documents import DIALOG_INFO, renamed
from p2psip.sip.events.documents import parse_document as parse_state
from p2psip.sip.events.presence import PresencePackage, Published
from p2psip.sip.message import digest
from p2psip.sip.message.errors import BadMessage
from p2psip.sip.message.grammar import format_params, parse_params, split_list
from p2psip.sip.message.headers import AuthParams, CSeq, Disposition, Event, NameAddr, Reason, Via
from p2psip.sip.message.message import Request
from p2psip.sip.message.parser import parse as parse_sip
from p2psip.sip.message.uri import SipUri, parse_sip_uri, parse_uri
from p2psip.sip.transactions.events import RequestArrived
from p2psip.sip.transports.framing import StreamFraming
from p2psip.sip.transports.hops import Source, UdpHop
from p2psip.stun.message import MessageClass, NotStun, StunMessage
from p2psip.stun.message import decode as decode_stun

pytestmark = pytest.mark.long

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

COMPACT_PROOF = b"..rq3pjT1hoRwakEGjHCnWSwUnshd0-zJ6F1VOgFWSjHBr8Qjpjlk;info=<https://biloxi.example.org/x>;alg=ES256"
CERTIFICATE_PLACE = (
    b"reload://021110902b8664a3e26b5705244a507f2c38eb@club.example/000000030000000000000000000a000800000000ffffffff"
)

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


def _list(data: bytes) -> bytes:
    return ", ".join(split_list(data.decode("latin-1"))).encode("latin-1")


def _parameters(data: bytes) -> bytes:
    return format_params(parse_params(data.decode("latin-1"), "some field")).encode("latin-1")


def _disposition(data: bytes) -> None:
    Disposition.parse(data.decode("latin-1"))


def _challenge(data: bytes) -> None:
    """As a client answers it; what it does not know it ignores."""
    challenge = digest.choose_challenge(digest.read_all(data.decode("latin-1").split("\n")))
    if challenge is not None:
        digest.answer_challenge(challenge, user="a", a1_hash="0" * 32, method="INVITE", uri="sip:b", cnonce="c")


def _proof(data: bytes) -> None:
    """As a server looks at it, with a nonce of its own in it."""
    server = digest.Authenticator("b", random.Random(1), ("SHA-256", "MD5"))
    nonce = server.challenges("here", 0.0)[0].get("nonce")
    found = server.find([data.decode("latin-1").replace("NONCE", nonce)])
    if found is not None and server.is_fresh(found, "here", 1.0):
        server.check("INVITE", found, (digest.ha1_by_algorithm("a", "b", "c"),), "here", 1.0)


PRIVATE = (
    b"Privacy: id;critical\r\nP-Asserted-Identity: <sip:a@overlay>, <tel:+1>\r\n"
    b'Remote-Party-ID: "A" <sip:a@overlay>;party=calling;privacy=full\r\nVia: '
)


def _claims(data: bytes) -> None:
    """Who is calling, as a phone says it and as a peer does."""
    request = parse_sip(data)
    if not isinstance(request, Request):
        raise BadMessage("no request")
    at = Address("10.0.0.2", 5060)
    for source in (Source(UdpHop(at), "UDP", at), Source(UdpHop(at), "TLS", at, "ab")):
        known = identity.requested(request, source, "alice", "overlay")
        identity.unmet_wishes(request)
        assert parse_sip(known.encode()).encode() == known.encode()


def _caller_proof() -> bytes:
    claims = Claims(Party("uri", "sip:alice@overlay"), frozenset({Party("uri", "sip:bob@overlay")}), 0)
    data = passport.signing_input(passport.header("ES256", "reload://02@overlay/00", passport.DIV), claims.encode())
    token = Passport("ES256", "reload://02@overlay/00", passport.DIV, claims, data, b"s" * 64)
    return str(IdentityField("reload://02@overlay/00", "ES256", passport.DIV, b"s" * 64, token)).encode()


def _proof_of_caller(data: bytes) -> bytes:
    """An Identity as a peer sends it, and as its verifier goes about it."""
    given = IdentityField.parse(data.decode("latin-1"))
    request = parse_sip(INVITE)
    assert isinstance(request, Request)
    config = ServerConfig("overlay", frozenset({"overlay"}), (), SipUri("overlay", "peer"))
    verification = Verification(config, lambda uri: True)
    at = Address("10.0.0.2", 5060)
    request = request.replace(fields=request.fields.with_last("Identity", given).with_last("Identity", given))
    arrived = RequestArrived(1, request, Source(UdpHop(at), "TLS", at, "ab"))
    found = verification.examine(arrived, 0.0)
    for _ in range(4):
        if isinstance(found, Ask):
            found = verification.handle_answer(found.token, Authentic("alice"), 0.0)
    assert isinstance(found, Identified)
    return str(given).encode("latin-1")


def _certificate_place(data: bytes) -> None:
    parse_data_uri(data.decode("latin-1"))


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


TARGETS = [
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
    Target("CSeq", _text(CSeq.parse), BadMessage, lambda: [b"314159 INVITE"], is_exact=False),
    Target(
        "Reason", _text(Reason.parse), BadMessage, lambda: [b'SIP ;cause=480 ;text="away, \\"gone\\""'], is_exact=False
    ),
    Target("Content-Disposition", _disposition, BadMessage, lambda: [b"session;handling=optional"]),
    Target("list", _list, BadMessage, lambda: [b'"A, B" <sip:a,b@c;x>;q=1, <sip:d> , e'], is_exact=False),
    Target("parameters", _parameters, BadMessage, lambda: [b';a;b=c;d="e;f" ; g=h'], is_exact=False),
    Target(
        "challenges",
        _challenge,
        BadMessage,
        lambda: [b'Digest realm="b", nonce="n", algorithm=SHA-256, qop="auth,auth-int"\nDigest realm="b", nonce="n"'],
    ),
    Target(
        "proof of a password",
        _proof,
        BadMessage,
        lambda: [
            b'Digest username="a", realm="b", nonce="NONCE", uri="sip:d", response="00", qop=auth, nc=01, cnonce="1"',
            b'Digest username="a", realm="b", nonce="NONCE", uri="sip:d", response="00", algorithm=SHA-256',
        ],
    ),
    Target("who is calling", _claims, BadMessage, lambda: [INVITE.replace(b"Via: ", PRIVATE)]),
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
    Target("proof of a caller", _proof_of_caller, BadMessage, lambda: [_caller_proof(), COMPACT_PROOF], is_exact=False),
    Target("where a certificate is", _certificate_place, DecodeError, lambda: [CERTIFICATE_PLACE]),
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


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_damaged_specimens(target: Target) -> None:
    target.try_damaged_specimens()


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_sound_specimens(target: Target) -> None:
    target.try_sound_specimens()


def test_the_errors_are_those_that_callers_expect() -> None:
    """What a remote can cause is a RemoteProtocolError or an error that is answered."""
    for target in TARGETS:
        errors = target.error if isinstance(target.error, tuple) else (target.error,)
        assert all(issubclass(error, RemoteProtocolError) for error in errors), target.name
