"""Phones that have IPv6, over each transport, and one that has IPv4 call each other through their peer, with voice."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from live_overlay import LiveOverlay, LivePeer, phone_password
from our_phone import OurPhone
from web_phone import WebPhone

from p2psip.net.sockets.addresses import join_host_port

pytestmark = pytest.mark.slow

HERE, HERE6 = "127.0.0.1", "::1"


def _has_ipv6() -> bool:
    try:
        with socket.create_server((HERE6, 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


needs_ipv6 = pytest.mark.skipif(not _has_ipv6(), reason="this machine has no IPv6 on loopback")


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePeer]:
    """It carries the voice, as the two families do not reach each other."""
    with LiveOverlay(tmp_path_factory.mktemp("ipv6"), peers=1, users=("alice", "bob")) as live:
        (peer,) = live.peers
        live.add_lines([(peer, "alice"), (peer, "bob")])
        peer.stop()
        peer.run("--phone-listen", HERE, "--phone-listen", HERE6, "--media", "anchor", "--phone-ws", "--first")
        peer.wait_joined()
        live.command("peer", "trust", peer.directory, "--out", peer.directory / "own.pem")
        yield peer


@needs_ipv6
@pytest.mark.parametrize("transport", ["udp", "tcp", "tls"])
def test_a_phone_at_ipv6_and_one_at_ipv4(peer: LivePeer, transport: str) -> None:
    is_tls = transport == "tls"
    alices = OurPhone(
        "alice",
        server=join_host_port(HERE6, peer.phone_port + is_tls),
        password=phone_password("alice"),
        plays=900,
        answer_ms=0,
        host=HERE6,
        transport="tcp" if is_tls else transport,
        trusts=peer.directory / "own.pem" if is_tls else None,
    )
    bobs = OurPhone("bob", server=peer.server, password=phone_password("bob"), plays=500, answer_ms=0)
    with alices as alice, bobs as bob:
        alice.wait("registered"), bob.wait("registered")
        for caller, callee in ((alice, bob), (bob, alice)):
            caller.command(f"call {callee.user}")
            callee.wait("answered"), caller.wait("answered")
            time.sleep(1.5)
            caller.command("hangup")
            for phone, tone in ((alice, 500), (bob, 900)):
                assert phone.wait("heard")["frequency_hz"] == pytest.approx(tone, abs=5)
            caller.wait("ended"), callee.wait("ended")


@needs_ipv6
def test_a_page_at_ipv6_and_a_phone_at_ipv4(peer: LivePeer) -> None:
    """Without a browser: it registers over WebSocket, is called, and is sent a message."""
    bobs = OurPhone("bob", server=peer.server, password=phone_password("bob"))
    with WebPhone(HERE6, peer.phone_port + 6, "alice", phone_password("alice")) as alice, bobs as bob:
        alice.register()
        peer.wait_phones("alice", 1)
        bob.wait("registered")
        bob.command("call alice")
        invite = alice.wait_request("INVITE")
        assert invite.via.transport == "WS"
        assert invite.via.host == f"[{HERE6}]"
        alice.answer(invite, 486)
        assert "486" in str(bob.wait("ended"))
