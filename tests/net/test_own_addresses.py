"""A peer and phones in networks of every kind: without a default route, link-local, that come late, or change.

The peer and the phones are on two hosts (network namespaces) with a cable between them; nothing leads elsewhere.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from live_overlay import LiveOverlay, LivePeer, phone_password
from networks import CABLE, Host, needs_networks, two_hosts
from our_phone import OurPhone

pytestmark = [pytest.mark.slow(40), needs_networks]

COMES_S = 5.0
"""A phone works so soon after the address came. (What a busy machine needs to start a program is beside it.)"""

EVERYWHERE = ("--listen", "0.0.0.0", "--listen", "::", "--phone-listen", "0.0.0.0", "--phone-listen", "::")


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LivePeer]:
    """A peer with two lines, made on loopback and stopped."""
    with LiveOverlay(tmp_path_factory.mktemp("live"), peers=1, users=("alice", "bob")) as live:
        (peer,) = live.peers
        live.add_lines([(peer, "alice"), (peer, "bob")])
        peer.stop()
        yield peer


@contextmanager
def running(peer: LivePeer, host: Host, *flags: str) -> Iterator[None]:
    """The peer on that host; it ends cleanly and by nothing else."""
    peer.run("--first", *(flags or EVERYWHERE), namespace=host.name)
    try:
        peer.wait_joined()
        yield
    finally:
        peer.stop()


def server(peer: LivePeer, host: str) -> str:
    return f"[{host}]:{peer.phone_port}" if ":" in host else f"{host}:{peer.phone_port}"


@contextmanager
def phones(peer: LivePeer, desk: Host, host: str, transport: str = "udp") -> Iterator[tuple[OurPhone, OurPhone]]:
    """Alice's and bob's, with nothing set but server, user and password."""

    def phone(user: str, **options: int) -> OurPhone:
        return OurPhone(
            user,
            server=server(peer, host),
            password=phone_password(user),
            transport=transport,
            namespace=desk.name,
            **options,  # type: ignore[arg-type]
        )

    with phone("alice") as alice, phone("bob", answer_ms=0) as bob:
        alice.wait("registered")
        bob.wait("registered")
        yield alice, bob


def talk(alice: OurPhone, to: str) -> None:
    """A call with sound in both directions, as far as `to` has any."""
    alice.command(f"call {to}")
    alice.wait("answered")
    time.sleep(1.0)
    alice.command("hangup")
    heard = alice.wait("heard")
    assert heard["received"] > 20, heard


@pytest.mark.parametrize("transport", ["udp", "tcp"])
@pytest.mark.parametrize(
    ("ours", "theirs", "called"),
    [
        ("192.0.2.1/24", "192.0.2.2/24", "192.0.2.1"),
        ("169.254.7.1/16", "169.254.7.2/16", "169.254.7.1"),
        ("fd00:7::1/64", "fd00:7::2/64", "fd00:7::1"),
        ("fe80::7:1/64", "fe80::7:2/64", f"fe80::7:1%{CABLE}"),
    ],
)
def test_a_network_without_a_way_out(peer: LivePeer, ours: str, theirs: str, called: str, transport: str) -> None:
    """No default route, no name server, or nothing but what machines give themselves (RFC 3927, RFC 4862)."""
    with two_hosts() as (pbx, desk):
        pbx.add(ours)
        desk.add(theirs)
        with running(peer, pbx), phones(peer, desk, called, transport) as (alice, _):
            for target in ("*43", "bob"):
                talk(alice, target)


def test_a_network_that_comes_after_the_start_and_is_another_later(peer: LivePeer) -> None:
    """The same process, whose registrations live on; also where the second address of one interface is spoken to."""
    with two_hosts() as (pbx, desk):
        desk.add("192.0.2.2/24", "198.51.100.2/24")
        with running(peer, pbx):
            pbx.add("192.0.2.1/24")
            peer.daemon.wait_log("this machine has other addresses now", COMES_S, phones=[server(peer, "192.0.2.1")])
            with phones(peer, desk, "192.0.2.1") as (alice, _):
                talk(alice, "bob")
                pbx.add("192.0.2.5/24")
                alice.command("call bob")
                alice.wait("answered")
                peer.daemon.wait_log(
                    "this machine has other addresses now",
                    COMES_S,
                    phones=[server(peer, "192.0.2.1"), server(peer, "192.0.2.5")],
                )
                time.sleep(1.0)
                alice.command("hangup")
                assert alice.wait("heard")["received"] > 20
                with phones(peer, desk, "192.0.2.5") as (other, _):
                    talk(other, "*43")
            pbx.add("198.51.100.1/24")
            pbx.remove("192.0.2.1/24")
            with phones(peer, desk, "198.51.100.1") as (alice, _):
                talk(alice, "bob")


SAYS = """
import asyncio
from p2psip.net.sockets.interfaces import AddressNews

async def main():
    news = AddressNews()
    print("waits", flush=True)
    print(await news.wait(300.0), await news.wait(300.0))

asyncio.run(main())
"""


def test_the_kernel_says_that_an_address_comes_or_goes() -> None:
    """At once, and not when it is looked at next: a call whose uplink was switched waits for it."""
    with two_hosts() as (pbx, _):
        command = [*pbx.within, sys.executable, "-c", SAYS]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as waiting:
            assert waiting.stdout is not None
            assert waiting.stdout.readline() == "waits\n"
            pbx.add("192.0.2.1/24")
            time.sleep(1.0)
            pbx.remove("192.0.2.1/24")
            assert waiting.communicate(timeout=60.0)[0] == "True True\n"


@pytest.mark.parametrize(
    ("flags", "called"),
    [
        ((*EVERYWHERE, "--advertise", "203.0.113.9"), "192.0.2.1"),
        (("--listen", "::", "--phone-listen", "::"), "fd00:7::1"),
    ],
)
def test_what_is_told_and_what_is_there_may_differ(peer: LivePeer, flags: tuple[str, ...], called: str) -> None:
    """A port forwarding beside a phone LAN; IPv6 alone on a machine that has both: nothing of it is a change."""
    with two_hosts() as (pbx, desk):
        pbx.add("192.0.2.1/24", "fd00:7::1/64")
        desk.add("192.0.2.2/24", "fd00:7::2/64")
        with running(peer, pbx, *flags):
            with phones(peer, desk, called) as (alice, _):
                talk(alice, "bob")
            assert not [line for line in peer.daemon.log if "addresses" in line["event"]]
