"""Real phones at three sites, told nothing but server, user and password: what one is shown it can dial, and calls are
handed on between sites. Each peer and each phone has an address of its own, as in networks of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from baresip import Baresip, needs_baresip
from linphone import Linphone, needs_linphone
from live_overlay import LiveOverlay, LivePeer, eventually, phone_password

pytestmark = [pytest.mark.slow, needs_baresip, needs_linphone]

USERS = ("alice", "bob", "carol")
PATIENCE_S = 30.0


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, LivePeer]]:
    """Where everybody lives."""
    hosts = [f"127.0.{number}.1" for number in (1, 2, 3)]
    with LiveOverlay(tmp_path_factory.mktemp("names"), peers=3, users=USERS, hosts=hosts) as overlay:
        sites = dict(zip(USERS, overlay.peers, strict=True))
        overlay.add_lines((peer, user) for user, peer in sites.items())
        yield sites


class Phones:
    """Phones by need."""

    def __init__(self, directory: Path, sites: dict[str, LivePeer]) -> None:
        self._directory = directory
        self._sites = sites

    def baresip(self, user: str, *, answers: bool = True, transport: str = "udp") -> Baresip:
        peer = self._sites[user]
        return Baresip(
            self._directory,
            user,
            server=peer.server,
            password=phone_password(user),
            answers=answers,
            transport=transport,
            host=phone_host(peer),
        )

    def linphone(self, user: str, transport: str = "udp") -> Linphone:
        peer = self._sites[user]
        return Linphone(
            self._directory,
            user,
            server=peer.server,
            password=phone_password(user),
            host=phone_host(peer),
            transport=transport,
        )

    def uri(self, user: str, caller: str) -> str:
        """`user` as the phone of `caller` writes it: at its own server."""
        return f"sip:{user}@{self._sites[caller].server}"


def wait_registered(*phones: Baresip | Linphone) -> None:
    """By their own word: their peer may still know one that was before them, and has not signed off."""
    for phone in phones:
        phone.wait_registered()


def phone_host(peer: LivePeer) -> str:
    """An address in the network of a peer."""
    return peer.host.rpartition(".")[0] + ".11"


@pytest.fixture
def phones(tmp_path: Path, sites: dict[str, LivePeer]) -> Phones:
    return Phones(tmp_path, sites)


@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_baresip_and_linphone_call_back_whom_they_are_shown(phones: Phones, transport: str) -> None:
    with phones.baresip("alice", transport=transport) as alice, phones.linphone("bob", transport) as bob:
        wait_registered(alice, bob)
        alice.dial(phones.uri("bob", "alice"))
        shown = bob.wait_incoming()
        assert shown == phones.uri("alice", "bob")
        bob.command("answer")
        alice.wait("CALL_ESTABLISHED", PATIENCE_S)
        alice.hang_up()
        bob.wait_ended()
        bob.dial(shown)
        shown = alice.wait("CALL_ESTABLISHED", PATIENCE_S)["peeruri"]
        assert shown == phones.uri("bob", "alice")
        bob.wait_connected()
        bob.hang_up()
        alice.wait("CALL_CLOSED")
        alice.wait("CALL_CLOSED")
        alice.dial(shown)
        assert bob.wait_incoming() == phones.uri("alice", "bob")
        alice.hang_up()
        bob.wait_ended()


def test_baresip_hands_a_linphone_on_to_a_third_site(phones: Phones) -> None:
    """Blind transfer (RFC 5359 2.4)."""
    with phones.baresip("alice") as alice, phones.linphone("bob") as bob, phones.linphone("carol") as carol:
        wait_registered(alice, bob, carol)
        alice.dial(phones.uri("bob", "alice"))
        bob.wait_incoming()
        bob.command("answer")
        alice.wait("CALL_ESTABLISHED", PATIENCE_S)
        bob.wait_connected()
        assert alice.command("transfer", phones.uri("carol", "alice"))["ok"]
        assert bob.wait(r"Establishing call id to (\S+),") == phones.uri("carol", "bob")
        assert carol.wait_incoming() == phones.uri("bob", "carol")
        carol.command("answer")
        bob.wait_connected()
        carol.hang_up()
        bob.wait(r"Call 2 with \S+ ended")


def test_linphone_hands_a_baresip_on_to_a_third_site(phones: Phones) -> None:
    with phones.linphone("alice") as alice, phones.baresip("bob") as bob, phones.baresip("carol") as carol:
        wait_registered(alice, bob, carol)
        alice.dial(phones.uri("bob", "alice"))
        alice.wait_connected()
        bob.wait("CALL_ESTABLISHED")
        alice.command(f"transfer {phones.uri('carol', 'alice')}")
        assert carol.wait("CALL_ESTABLISHED", PATIENCE_S)["peeruri"] == phones.uri("bob", "carol")
        bob.wait("CALL_ESTABLISHED", PATIENCE_S)


def test_linphone_connects_two_whom_it_has_talked_with(phones: Phones) -> None:
    """Attended transfer (RFC 5359 2.5): bob's new call takes the place of carol's with alice."""
    with phones.linphone("alice") as alice, phones.linphone("bob") as bob, phones.linphone("carol") as carol:
        wait_registered(alice, bob, carol)
        for number, other in ((1, bob), (2, carol)):
            alice.dial(phones.uri(other.user, "alice"))
            other.wait_incoming()
            other.command("answer")
            alice.wait(f"Media streams established with .* for call {number}")
            alice.command("pause")
            other.wait("has been paused by")
        alice.command("transfer 1 --to-call 2")
        bob.wait(r"Call 2 with \S+ connected")
        assert carol.wait(r"Call 2 with (\S+) connected") == phones.uri("bob", "carol")
        eventually("carol's call with alice is over", lambda: re.search(r"Call 1 with \S+ ended", carol.said))


@pytest.mark.parametrize("phone", ["baresip", "linphone"])
def test_linphone_sends_a_caller_to_a_third_site(phones: Phones, phone: str) -> None:
    """302: whom bob's phone names, the caller's phone finds."""
    with getattr(phones, phone)("alice") as alice, phones.linphone("bob") as bob, phones.linphone("carol") as carol:
        wait_registered(alice, bob, carol)
        alice.dial(phones.uri("bob", "alice"))
        bob.wait_incoming()
        bob.command(f"redirect all {phones.uri('carol', 'bob')}")
        assert carol.wait_incoming() == phones.uri("alice", "carol")


@pytest.mark.parametrize("restarted", ["alice", "bob"])
@pytest.mark.parametrize("by", ["alice", "bob"])
def test_a_call_outlives_the_restart_of_either_peer(
    phones: Phones, sites: dict[str, LivePeer], restarted: str, by: str
) -> None:
    """Either side holds, resumes and hangs up."""
    with phones.baresip("alice") as alice, phones.linphone("bob") as bob:
        wait_registered(alice, bob)
        alice.dial(phones.uri("bob", "alice"))
        bob.wait_incoming()
        bob.command("answer")
        alice.wait("CALL_ESTABLISHED", PATIENCE_S)
        bob.wait("Media streams established")
        sites[restarted].kill()
        sites[restarted].run()
        sites[restarted].wait_joined()
        if by == "alice":
            alice.command("hold")
            bob.wait("has been paused by")
            alice.command("resume")
            bob.wait("has been resumed|Media streams established")
            alice.hang_up()
            bob.wait_ended()
        else:
            bob.command("pause")
            bob.wait("is now paused")
            bob.command("resume")
            bob.wait("Media streams established|resumed")
            bob.hang_up()
            alice.wait("CALL_CLOSED", PATIENCE_S)


@pytest.mark.parametrize("phone", ["baresip", "linphone"])
def test_each_holds_a_call_with_another_site(phones: Phones, phone: str) -> None:
    with getattr(phones, phone)("alice") as alice, phones.linphone("bob") as bob:
        wait_registered(alice, bob)
        alice.dial(phones.uri("bob", "alice"))
        bob.wait_incoming()
        bob.command("answer")
        bob.wait("Media streams established with .* for call 1")
        hold, resume = ("hold", "resume") if phone == "baresip" else ("pause 1", "resume 1")
        if phone == "baresip":
            alice.wait("CALL_ESTABLISHED")
        else:
            alice.wait("Media streams established with .* for call 1")
        alice.command(hold)
        bob.wait("Call 1 has been paused by")
        if phone == "linphone":
            alice.wait("is now paused")
        alice.command(resume)
        bob.wait("Media streams established with .* for call 1")
        alice.hang_up()
        bob.wait_ended()


def test_digits_pass_between_sites(phones: Phones) -> None:
    """RFC 4733, from phone to phone."""
    with phones.baresip("alice") as alice, phones.linphone("bob") as bob:
        wait_registered(alice, bob)
        alice.dial(phones.uri("bob", "alice"))
        bob.wait_incoming()
        bob.command("answer")
        alice.wait("CALL_ESTABLISHED", PATIENCE_S)
        bob.wait("Media streams established with .* for call 1")
        alice.command("sndcode", "5")
        bob.wait("Receiving tone 5 from")
        alice.hang_up()
        bob.wait_ended()


def test_a_message_from_one_site_to_another(phones: Phones) -> None:
    with phones.linphone("alice") as alice, phones.linphone("bob") as bob, phones.baresip("carol") as carol:
        wait_registered(alice, bob, carol)
        alice.command(f'chat {phones.uri("bob", "alice")} "are you there?"')
        assert "are you there?" in bob.wait("Message received from .*: (.*)")
        alice.command(f'chat {phones.uri("carol", "alice")} "and you?"')
        eventually("carol's phone shows it", lambda: "and you?" in carol.log)
