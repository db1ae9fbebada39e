"""tshark reads a live overlay: peers join, store, look up, call and leave, and it understands every message.

The links are TLS. The peers write their session keys to SSLKEYLOGFILE, tshark decrypts, and since it knows RELOAD over
UDP, TCP and DTLS but not over TLS, what it decrypted is cut into frames and given to it again as datagrams. That also
keeps two faults of it out of the way: it mis-sizes the second frame in a TCP segment, and it recognises an
acknowledgement only after data.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from live_overlay import LiveOverlay, phone_password
from our_phone import OurPhone
from tshark import FRAMED_PORT, Dissection, LoopbackCapture, dissect, fields, needs_tshark

from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.framing import ACK_LENGTH, frame_length

pytestmark = [pytest.mark.slow(40), needs_tshark]

EXCUSED = {
    # Section 7.4.2.2 signs a value that does not exist with SignerIdentityType none(3), which tshark does not know.
    MessageCode.STORE_REQ: {"Unknown identity type"},
    MessageCode.FETCH_ANS: {"Unknown identity type"},
    # It does not know Error_Invalid_Message (0x14), an addition to the RFC's first list.
    MessageCode.ERROR: {"Unknown error code"},
}
"""What tshark complains of by its own fault. Its other faults do not show as complaints: it reads a candidate's
priority and the keys of a dictionary specifier at wrong offsets, and counts the bits of an acknowledgement from one."""

AT_LEAST = {
    MessageCode.ATTACH_REQ: 3,
    MessageCode.ATTACH_ANS: 3,
    MessageCode.JOIN_REQ: 3,
    MessageCode.JOIN_ANS: 3,
    MessageCode.UPDATE_REQ: 10,
    MessageCode.UPDATE_ANS: 10,
    MessageCode.STORE_REQ: 4,
    MessageCode.STORE_ANS: 4,
    MessageCode.FETCH_REQ: 3,
    MessageCode.FETCH_ANS: 3,
    MessageCode.ROUTE_QUERY_REQ: 3,
    MessageCode.ROUTE_QUERY_ANS: 3,
    MessageCode.PING_REQ: 3,
    MessageCode.PING_ANS: 3,
    MessageCode.APP_ATTACH_REQ: 1,
    MessageCode.APP_ATTACH_ANS: 1,
    MessageCode.LEAVE_REQ: 3,
    MessageCode.LEAVE_ANS: 3,
}
"""Three peers join a fourth, two users get lines, one calls the other, all four look him up, one peer leaves."""


@dataclass(frozen=True)
class Evidence:
    """A capture, the keys to it, and whose ports are in it."""

    directory: Path
    capture: Path
    keys: Path
    overlay_ports: frozenset[int]
    sip_ports: frozenset[int]

    @property
    def decrypting(self) -> list[str]:
        """The options with which tshark decrypts it."""
        options = ["-o", f"tls.keylog_file:{self.keys}"]
        for port in self.overlay_ports | self.sip_ports:
            options += ["-d", f"tcp.port=={port},tls"]
        for port in self.sip_ports:
            options += ["-d", f"tls.port=={port},sip"]
        return options


@pytest.fixture(scope="module")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    directory = tmp_path_factory.mktemp("tshark")
    capture, keys = directory / "capture.pcapng", directory / "keys"
    environment = {"SSLKEYLOGFILE": str(keys)}
    with LiveOverlay(directory / "live", peers=1, users=("alice", "bob"), environment=environment) as overlay:
        joining = [overlay.add_peer() for _ in range(3)]
        overlay_ports = frozenset(peer.overlay_port for peer in overlay.peers)
        sip_ports = frozenset(peer.sip_port for peer in overlay.peers)
        with LoopbackCapture(capture, overlay_ports | sip_ports):
            for peer in joining:
                peer.run()
            overlay.wait_whole()
            live_a_little(overlay)
            joining[2].stop()
    return Evidence(directory, capture, keys, overlay_ports, sip_ports)


def live_a_little(overlay: LiveOverlay) -> None:
    """Store, fetch, call."""
    _, at_alice, at_bob, _ = overlay.peers
    overlay.add_lines([(at_alice, "alice"), (at_bob, "bob")])
    with (
        OurPhone("alice", server=at_alice.server, password=phone_password("alice")) as alice,
        OurPhone("bob", server=at_bob.server, password=phone_password("bob"), answer_ms=100) as bob,
    ):
        alice.wait("registered"), bob.wait("registered")
        alice.command("call bob")
        alice.wait("answered", 30)
        alice.command("hangup")
        bob.wait("ended")
    for peer in overlay.peers:
        assert peer.lookup("bob")["entries"]


@pytest.fixture(scope="module")
def frames(evidence: Evidence) -> list[bytes]:
    """What went over the links between peers, decrypted by tshark, frame by frame."""
    return list(_frames(evidence))


def _frames(evidence: Evidence) -> Iterator[bytes]:
    streams: dict[tuple[str, str], bytearray] = {}
    names = ("tcp.stream", "tcp.srcport", "tcp.dstport", "data.data")
    for number, source, target, records in fields(
        evidence.capture, *names, options=[*evidence.decrypting, "-Y", "data"]
    ):
        if evidence.overlay_ports.isdisjoint({int(source), int(target)}):
            continue
        stream = streams.setdefault((number, source), bytearray())
        for record in records.split(","):
            stream += bytes.fromhex(record)
        while (length := frame_length(stream)) is not None and length <= len(stream):
            yield bytes(stream[:length])
            del stream[:length]
    assert not any(streams.values()), "a frame was cut short"


@pytest.fixture(scope="module")
def dissections(evidence: Evidence, frames: list[bytes]) -> list[Dissection]:
    return dissect(evidence.directory, frames, FRAMED_PORT)


def test_nothing_is_malformed(dissections: list[Dissection]) -> None:
    """Every frame is dissected to its end, with no complaint that is not tshark's own fault."""
    for found in dissections:
        assert not found.is_malformed, found.text
        excused: Iterable[str] = EXCUSED.get(MessageCode(found.message_code), ())
        assert found.complaints <= set(excused), found.text


def test_every_kind_of_message_was_there(dissections: list[Dissection]) -> None:
    seen = Counter(found.message_code for found in dissections)
    assert {code: seen[code] for code in AT_LEAST if seen[code] < AT_LEAST[code]} == {}


def test_each_message_is_acknowledged(frames: list[bytes], dissections: list[Dissection]) -> None:
    """Section 6.6.2; all but those that the last ones alive had no time for."""
    shown = sum("type (FramedMessageType): ACK (129)" in found.text for found in dissections)
    assert shown == sum(len(frame) == ACK_LENGTH for frame in frames)
    assert shown >= 0.95 * (len(frames) - shown)


def test_tshark_reads_in_it_what_happened(dissections: list[Dissection]) -> None:
    """A registration of RFC 7904, a join, a leave."""
    stores = [found.text for found in dissections if found.message_code == MessageCode.STORE_REQ]
    for words in ("SIP-REGISTRATION", "type (SipRegistrationType): sip_registration_route (2)", "signature_value"):
        assert any(words in text for text in stores), words
    app_attaches = [found.text for found in dissections if found.message_code == MessageCode.APP_ATTACH_REQ]
    assert all("application (uint16): SIP (5060)" in text for text in app_attaches), app_attaches[0]
    leaves = [found.text for found in dissections if found.message_code == MessageCode.LEAVE_REQ]
    # In a ring so small everybody is everybody's predecessor as well as successor; one Leave says enough.
    assert all("type (ChordLeaveType): from_succ (1)" in text for text in leaves), leaves[0]


def test_the_call_between_the_peers(evidence: Evidence) -> None:
    """SIP over TLS on a connection made by AppAttach (RFC 7904 section 5.1)."""
    seen, wrong = Counter(), set()
    names = ("sip.Method", "sip.Status-Code", "_ws.malformed", "_ws.expert.message")
    for method, status, *complaints in fields(evidence.capture, *names, options=[*evidence.decrypting, "-Y", "sip"]):
        seen.update(filter(None, [*method.split(","), *status.split(",")]))
        wrong.update(filter(None, complaints))
    assert not wrong
    assert {"INVITE", "180", "200", "ACK", "BYE"} <= seen.keys()


def test_without_the_keys_there_is_nothing_to_read(evidence: Evidence) -> None:
    """Neither who is called nor that this is RELOAD."""
    captured = evidence.capture.read_bytes()
    assert len(captured) > 50_000
    # None of three bytes: in so many that look like chance these come by chance now and then.
    for token in (b"alice@", b"bob@", b"sip:bob", b"INVITE", b"peer-peer", bytes.fromhex("d2454c4f")):
        assert token not in captured
