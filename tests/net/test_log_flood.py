"""A stranger, without certificate and password, at every port of a real peer and of its enrollment server."""

from __future__ import annotations

import contextlib
import datetime
import json
import os
import socket
import ssl
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from live_overlay import HOST, OVERLAY, Daemon, LiveOverlay

from p2psip.daemon.log.limits import OF_ALL, OF_SOURCE, PIECE

pytestmark = pytest.mark.slow(40)

TIMES = 150
"""How often each thing is done: several times what one address may write at once."""

GOES_ON = PIECE / OF_ALL.refill_s
"""Bytes a second that a log may grow by for long: a stranger once wrote sixty times as many."""

REGISTER = (
    "REGISTER sip:{overlay} SIP/2.0\r\nVia: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{number}\r\nMax-Forwards: 70\r\n"
    "From: <sip:nobody{number}@{overlay}>;tag=a\r\nTo: <sip:nobody{number}@{overlay}>\r\nCall-ID: {number}\r\n"
    'CSeq: 1 REGISTER\r\nContact: <sip:x@{host}:{port}>\r\nAuthorization: Digest username="nobody{number}", '
    'realm="{overlay}", nonce="none", uri="sip:{overlay}", response="00000000000000000000000000000000"\r\n'
    "Content-Length: 0\r\n\r\n"
)
ENROLL = "POST /enroll HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc"


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveOverlay]:
    with LiveOverlay(tmp_path_factory.mktemp("flood"), peers=1, users=("alice",)) as live:
        live.add_lines([(live.peers[0], "alice")])
        yield live


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    """TLS with a certificate that nobody but its owner has signed."""
    key, name = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "me")])
    now = datetime.datetime.now(datetime.UTC)
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
    builder = builder.serial_number(1).not_valid_before(now).not_valid_after(now + datetime.timedelta(days=9))
    path = Path(tmp_path_factory.mktemp("stranger")) / "both.pem"
    path.write_bytes(
        builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(path)
    return context


def say(port: int, data: bytes, tls: ssl.SSLContext | None = None) -> None:
    """Connect and say something; over TLS, wait for the end or an answer."""
    with contextlib.suppress(OSError), socket.create_connection((HOST, port), 10.0) as plain:
        if tls is None:
            plain.sendall(data)
        else:
            with tls.wrap_socket(plain) as stream:
                stream.sendall(data)
                stream.recv(100)


def flood(overlay: LiveOverlay, stranger: ssl.SSLContext) -> None:
    (peer,) = overlay.peers
    enrollment = int(overlay.url.rpartition(":")[2])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as udp:
        udp.bind((HOST, 0))
        _, own_port = udp.getsockname()
        for number in range(TIMES):
            register = REGISTER.format(overlay=OVERLAY, host=HOST, port=own_port, number=number).encode()
            for port in (peer.overlay_port, peer.sip_port):
                say(port, b"garbage", stranger)
                say(port, os.urandom(40))
            for datagram in (register, os.urandom(40), b"INVITE sip:x SIP/2.0\r\n\r\n"):
                udp.sendto(datagram, (HOST, peer.phone_port))
            udp.sendto(b"\x16\xfe\xfd" + os.urandom(40), (HOST, peer.overlay_port))
            say(peer.phone_port, register.replace(b"/UDP", b"/TCP"))
            say(peer.phone_port, b"\xff\r\n\r\n")
            say(enrollment, ENROLL.encode(), stranger)
            say(enrollment, b"\xff\r\n\r\n", stranger)
            say(enrollment, os.urandom(40))


def written(daemon: Daemon, before: int) -> tuple[Counter[str], int]:
    """How many lines of each event there are since, and how many bytes."""
    lines = daemon.log[before:]
    return Counter(line["event"] for line in lines), sum(len(json.dumps(line)) for line in lines)


def bytes_a_second(overlay: LiveOverlay, stranger: ssl.SSLContext) -> list[float]:
    """What each log grows by, under a flood that goes on."""
    daemons = (overlay.peers[0].daemon, overlay.enrollment)
    before, began = [len(daemon.log) for daemon in daemons], time.monotonic()
    flood(overlay, stranger)
    took_s = time.monotonic() - began
    return [written(daemon, start)[1] / took_s for daemon, start in zip(daemons, before, strict=True)]


def test_a_stranger_does_not_fill_the_log(overlay: LiveOverlay, stranger: ssl.SSLContext) -> None:
    """What he does first of each kind is to be read, with his address; of the rest how much it was."""
    (peer,) = overlay.peers
    enrollment = overlay.enrollment
    daemons = (peer.daemon, enrollment)
    before = [len(daemon.log) for daemon in daemons]
    began = datetime.datetime.now(datetime.UTC)
    flood(overlay, stranger)
    took_s = (datetime.datetime.now(datetime.UTC) - began).total_seconds()
    per_kind = OF_SOURCE.burst + took_s / OF_SOURCE.refill_s + 1
    for daemon, start, expected in zip(
        daemons, before, ({"link refused"}, {"enrollment", "uvicorn.error"}), strict=True
    ):
        counts, size = written(daemon, start)
        assert expected <= counts.keys()
        assert max(counts.values()) <= 2 * per_kind, counts
        assert size <= 600 * per_kind * len(counts), counts
    assert HOST in peer.daemon.wait_log("link refused")["remote"]
    for event in ("enrollment", "uvicorn.error"):
        assert enrollment.wait_log(event)["source"] == HOST
    assert max(bytes_a_second(overlay, stranger)) <= GOES_ON, "what was allowed at once is used up"
    assert peer.line("alice")["record"], "the peer is as it was"
