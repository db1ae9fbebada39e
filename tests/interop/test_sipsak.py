"""sipsak (Debian's) against a peer: what those who look after SIP servers ask them."""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
from collections.abc import Iterator

import pytest
from free_ports import free_port
from live_overlay import LiveOverlay, LivePeer, phone_password
from our_phone import OurPhone

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("sipsak") is None, reason="sipsak (Debian: sipsak) is not installed"),
]


ALICE = ("-u", "alice")
"""What it makes of the URI by itself has the `@` with it."""


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePeer]:
    with LiveOverlay(tmp_path_factory.mktemp("sipsak"), peers=1, users=("alice", "bob")) as live:
        (peer,) = live.peers
        live.add_lines([(peer, "alice"), (peer, "bob")])
        peer.stop()
        peer.phone_port = _short_port()
        peer.run("--phone-port", str(peer.phone_port), "--no-phone-tls")
        yield peer


def _short_port() -> int:
    """sipsak 0.9.8.1 forgets the fifth digit of a port."""
    while True:
        port = random.randrange(5100, 9990)
        try:
            for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
                with socket.socket(socket.AF_INET, kind) as probe:
                    probe.bind(("127.0.0.1", port))
        except OSError:
            continue
        return port


def sipsak(*arguments: str, status: int = 0) -> str:
    """What it says."""
    done = subprocess.run(
        ["sipsak", "-vv", *arguments], capture_output=True, text=True, errors="replace", timeout=120, check=False
    )
    said = done.stdout + done.stderr
    assert done.returncode == status, said
    return said


def test_options_of_the_peer_itself(peer: LivePeer) -> None:
    said = sipsak("-s", f"sip:{peer.server}")
    assert "200 OK" in said
    assert "Allow: REGISTER, OPTIONS" in said


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_a_registration_with_its_password(peer: LivePeer, transport: str) -> None:
    """`-U`: it registers a Contact, and takes it back (`-x 0`)."""
    contact = f"sip:alice@127.0.0.1:{free_port()}"
    options = (
        "-E",
        transport,
        "-U",
        "-C",
        contact,
        *ALICE,
        "-a",
        phone_password("alice"),
        "-s",
        f"sip:alice@{peer.server}",
    )
    sipsak(*options, "-x", "60")
    assert contact.removeprefix("sip:") in str(peer.line("alice")["phones"])
    sipsak(*options, "-x", "0")
    assert peer.line("alice")["phones"] == []


def test_a_wrong_password_is_refused(peer: LivePeer) -> None:
    contact = f"sip:alice@127.0.0.1:{free_port()}"
    said = sipsak("-U", "-C", contact, *ALICE, "-a", "wrong", "-s", f"sip:alice@{peer.server}", status=1)
    assert "403" in said
    assert peer.line("alice")["phones"] == []


def test_garbage_leaves_the_peer_and_its_phones_alone(peer: LivePeer) -> None:
    """`-R`: a request with more and more of it replaced by what is none of it; `-F`: as many as it can."""
    with OurPhone("bob", server=peer.server, password=phone_password("bob"), answer_ms=0) as bob:
        bob.wait("registered")
        subprocess.run(["sipsak", "-R", "-s", f"sip:bob@{peer.server}"], capture_output=True, timeout=120, check=False)
        subprocess.run(
            ["sipsak", "-F", "-e", "500", "-s", f"sip:bob@{peer.server}"], capture_output=True, timeout=120, check=False
        )
        sipsak("-s", f"sip:{peer.server}")
        bob.command("call *43")
        bob.wait("answered")
        bob.command("hangup")
        bob.wait("ended")
