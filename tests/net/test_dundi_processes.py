"""A peer that runs, and an Asterisk's DUNDi on a socket: keys in files, a call out, a question that comes in."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from dundi_bench import THEM, US, pair
from fake_asterisk import FINAL, FakeAsterisk, answer_ie
from free_ports import free_port
from live_overlay import LiveOverlay, LivePeer, eventually, phone_password
from our_phone import OurPhone

pytestmark = pytest.mark.slow

HOST = "127.0.0.1"

FILE = """\
eid = "{us}"
host = "{host}:{sip_port}"
listen = "127.0.0.1"
port = {port}

[[context]]
name = "home"
numbers = [""]

[[peer]]
name = "pbx"
eid = "{them}"
host = "{host}:{their_port}"
inkey = "pbx.pub"
outkey = "ours.key"
include = ["home"]
permit = ["home"]
"""


@contextmanager
def asterisk_at(port: int, ours: int) -> Iterator[FakeAsterisk]:
    """It listens, in a thread of its own."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind((HOST, port))
        asterisk = FakeAsterisk(
            bytes(THEM),
            lambda data: sock.sendto(data, (HOST, ours)),
            own=pair("theirs"),
            other=pair("ours").public_key(),
        )
        is_over = threading.Event()

        def listen() -> None:
            sock.settimeout(0.05)
            while not is_over.is_set():
                try:
                    data, remote = sock.recvfrom(65536)
                except TimeoutError:
                    continue
                assert remote == (HOST, ours)
                asterisk.hear(data)

        listening = threading.Thread(target=listen, daemon=True)
        listening.start()
        try:
            yield asterisk
        finally:
            is_over.set()
            listening.join()


def set_up(peer: LivePeer, port: int, their_port: int) -> None:
    """Write the file and its keys, as docs/operating.md says, and start the peer anew."""
    sip_port = int(peer.server.rpartition(":")[2])
    (peer.directory / "dundi.toml").write_text(
        FILE.format(us=US, them=THEM, host=HOST, sip_port=sip_port, port=port, their_port=their_port)
    )
    kinds = (serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL)
    private = peer.directory / "ours.key"
    private.write_bytes(pair("ours").private_bytes(*kinds, serialization.NoEncryption()))
    private.chmod(0o600)
    public = pair("theirs").public_key()
    (peer.directory / "pbx.pub").write_bytes(
        public.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    )
    peer.stop()
    peer.run("--first")
    peer.wait_joined()


def test_a_peer_and_an_asterisk_find_each_other_s_numbers(tmp_path: Path) -> None:
    port, their_port = free_port(), free_port()
    with LiveOverlay(tmp_path, peers=1, users=("alice",)) as overlay, asterisk_at(their_port, port) as asterisk:
        (peer,) = overlay.peers
        peer.add_line("alice")
        set_up(peer, port, their_port)
        eventually("the neighbour has answered", lambda: _neighbour(peer)["state"] == "answers")

        # Asterisk asks.
        asterisk.discover("alice", "home")
        eventually("it is answered", lambda: [each for each in asterisk.heard if each.said == 0x42 | FINAL])
        (answer,) = [each for each in asterisk.heard if each.said == 0x42 | FINAL]
        assert answer.one(5)[11:].decode() == f"alice@{peer.server}"

        # A phone dials a number of the Asterisk, whose SIP is played by another phone.
        with OurPhone("700", registers=False, answer_ms=0) as pbx:
            asterisk.numbers["home", "700"] = [answer_ie(bytes(THEM), f"700@{HOST}:{pbx.sip_port}")]
            explained = overlay.command_json("dial", "--explain", "700", "--as", "alice", "--peer", peer.directory)
            assert not explained["refused"]
            assert explained["places"][1:] == [
                f"DUNDi peer pbx: 700@{HOST}:{pbx.sip_port}, weight 0",
                f"goes to 700@{HOST}:{pbx.sip_port} by the word of DUNDi peer pbx",
            ]
            with OurPhone("alice", server=peer.server, password=phone_password("alice")) as alice:
                peer.wait_phones("alice", 1)
                alice.command("call 700")
                alice.wait("answered")
                alice.command("hangup")
        assert "DUNDi peer pbx: answers" in overlay.command("status", "--peer", peer.directory)


def _neighbour(peer: LivePeer) -> dict[str, object]:
    (found,) = peer.status()["dundi"]["peers"]
    return dict(found)
