"""Phones that nobody here wrote call each other through five real peers, told nothing but server, user and password."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from baresip import TALK_S, Baresip, hears, needs_baresip, talk
from effort import times
from live_overlay import OVERLAY, LiveOverlay, LivePeer, eventually, phone_password
from our_phone import OurPhone
from sipp import Account, answering, calling, needs_sipp, registering

pytestmark = pytest.mark.slow(40)

PATIENCE_S = 30.0
"""Also what the demo promises: so long after a crash, at most, until calls go through again."""
QUIET_S = 3.0


@dataclass(frozen=True)
class Sites:
    """Who lives where: alice, and carol who is never at home, at one peer; bob at another and, later, at a third.

    The two `keepers` have no phones: one is responsible for bob's record, the other has its first replica.
    """

    overlay: LiveOverlay
    alice: LivePeer
    bob: LivePeer
    bob_later: LivePeer
    keepers: tuple[LivePeer, LivePeer]


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    with LiveOverlay(tmp_path_factory.mktemp("calls"), peers=5, users=("alice", "bob", "carol")) as overlay:
        # Nobody is bob yet, but where his record will be is known.
        found = overlay.peers[0].lookup("bob", status=1)
        keepers = [overlay.by_node_id(hop["node_id"]) for hop in (found["responsible"], found["replicas"][0])]
        alice, bob, bob_later = (peer for peer in overlay.peers if peer not in keepers)
        overlay.add_lines([(alice, "alice"), (bob, "bob"), (bob_later, "bob"), (alice, "carol")])
        yield Sites(overlay, alice, bob, bob_later, (keepers[0], keepers[1]))


def baresip(directory: Path, peer: LivePeer, user: str, **options: object) -> Baresip:
    return Baresip(directory, user, server=peer.server, password=phone_password(user), **options)  # type: ignore[arg-type]


@needs_baresip
@pytest.mark.parametrize(("alices", "bobs"), [("udp", "udp"), ("tcp", "tcp"), ("udp", "tcp")])
def test_two_phones_hear_each_other(tmp_path: Path, sites: Sites, alices: str, bobs: str) -> None:
    with (
        baresip(tmp_path, sites.bob, "bob", plays=700, transport=bobs) as bob,
        baresip(tmp_path, sites.alice, "alice", plays=500, transport=alices) as alice,
    ):
        bob.wait_registered(), alice.wait_registered()
        talk(alice, bob, sites.alice.server)
        assert hears(alice, 700)
        assert hears(bob, 500)


@needs_baresip
def test_the_callee_calls_back_whom_it_was_shown(tmp_path: Path, sites: Sites) -> None:
    """What stands in From leads back to the caller, in the words of the phone that sees it."""
    with (
        baresip(tmp_path, sites.bob, "bob", plays=700) as bob,
        baresip(tmp_path, sites.alice, "alice", plays=500) as alice,
    ):
        bob.wait_registered(), alice.wait_registered()
        alice.dial(f"sip:bob@{sites.alice.server}")
        shown = bob.wait("CALL_ESTABLISHED")["peeruri"]
        assert shown == f"sip:alice@{sites.bob.server}"
        alice.wait("CALL_ESTABLISHED")
        bob.hang_up()
        alice.wait("CALL_CLOSED")
        bob.wait("CALL_CLOSED")
        bob.dial(shown)
        assert alice.wait("CALL_ESTABLISHED")["peeruri"] == f"sip:bob@{sites.alice.server}"


@needs_baresip
@pytest.mark.parametrize("transport", ["udp", "tcp"])
def test_one_phone_alone_hears_its_echo(tmp_path: Path, sites: Sites, transport: str) -> None:
    with baresip(tmp_path, sites.alice, "alice", plays=500, transport=transport) as alice:
        alice.wait_registered()
        alice.dial(f"sip:*43@{sites.alice.server}")
        alice.wait("CALL_ESTABLISHED")
        alice.wait_heard(TALK_S)
        alice.hang_up()
        alice.wait("CALL_CLOSED")
        assert hears(alice, 500)


@needs_baresip
def test_a_wrong_password_is_refused(tmp_path: Path, sites: Sites) -> None:
    with Baresip(tmp_path, "alice", server=sites.alice.server, password="wrong") as alice:
        eventually("baresip says that it is refused", lambda: "403 Wrong password for alice" in alice.log)
    assert not sites.alice.line("alice")["phones"]


@needs_baresip
def test_a_caller_who_gives_up_while_it_rings(tmp_path: Path, sites: Sites) -> None:
    with (
        baresip(tmp_path, sites.bob, "bob", answers=False) as bob,
        baresip(tmp_path, sites.alice, "alice") as alice,
    ):
        bob.wait_registered(), alice.wait_registered()
        alice.dial(f"sip:bob@{sites.alice.server}")
        bob.wait("CALL_INCOMING")
        alice.wait("CALL_RINGING")
        alice.hang_up()
        bob.wait("CALL_CLOSED")


@needs_baresip
def test_a_callee_who_is_busy(tmp_path: Path, sites: Sites) -> None:
    with (
        baresip(tmp_path, sites.bob, "bob", answers=False) as bob,
        baresip(tmp_path, sites.alice, "alice") as alice,
    ):
        bob.wait_registered(), alice.wait_registered()
        alice.dial(f"sip:bob@{sites.alice.server}")
        bob.wait("CALL_INCOMING")
        bob.hang_up()
        assert alice.wait("CALL_CLOSED")["param"].startswith("486")


@needs_baresip
def test_nobody_of_that_name_and_nobody_at_home(tmp_path: Path, sites: Sites) -> None:
    with baresip(tmp_path, sites.alice, "alice") as alice:
        alice.wait_registered()
        for name, status in (("nobody", "404"), ("carol", "480"), ("bob", "480")):
            alice.dial(f"sip:{name}@{sites.alice.server}")
            assert alice.wait("CALL_CLOSED")["param"].startswith(status)


def test_the_phone_is_told_why(sites: Sites) -> None:
    """The Reason header, which baresip does not show: what is wrong, and whose fault it is."""
    password = phone_password("alice")
    with OurPhone("alice", server=sites.alice.server, password=password) as alice:
        alice.wait("registered")
        reasons = {}
        for name in ("nobody", "carol", "bob"):
            alice.command(f"call {name}")
            ended = alice.wait("ended", PATIENCE_S)
            reasons[name] = ended["reason"]
    assert reasons == {
        "nobody": f"404 Not Found; nobody in the overlay is nobody@{OVERLAY}; nobody takes no messages",
        "carol": f"480 Temporarily Unavailable; no phone of carol@{OVERLAY} is registered; carol takes no messages",
        "bob": "480 Temporarily Unavailable; the phone of bob is not registered at its peer",
    }


@needs_sipp
@pytest.mark.parametrize(("transport", "calls"), [("udp", times(50)), ("tcp", times(20))])
def test_many_calls(tmp_path: Path, sites: Sites, transport: str, calls: int) -> None:
    """SIPp at both ends, ten calls a second, each answered and ended."""
    account = Account(sites.alice.server, "alice", phone_password("alice"))
    bobs = Account(sites.bob.server, "bob", phone_password("bob"))
    with answering(tmp_path, "bob", calls=calls, transport=transport) as bob:
        registering(tmp_path, bobs, bob.address, transport=transport).run()
        caller = calling(
            *(tmp_path, account, f"sip:bob@{sites.alice.server}"),
            calls=calls,
            rate=10,
            talk_ms=300,
            transport=transport,
        ).run()
        assert len(caller.setup_ms()) == calls
        bob.wait(PATIENCE_S)
        registering(tmp_path, bobs, bob.address, transport=transport, expires_s=0).run()


@needs_baresip
def test_after_the_keepers_died_and_after_bob_moved(tmp_path: Path, sites: Sites) -> None:
    """SIGKILL, together, for the peer that is responsible for bob's record and for its first replica."""
    server = sites.alice.server
    with baresip(tmp_path, sites.alice, "alice", plays=500) as alice:
        alice.wait_registered()
        with baresip(tmp_path, sites.bob, "bob", plays=700) as bob:
            bob.wait_registered()
            for keeper in sites.keepers:
                keeper.kill()
            call_until_it_works(alice, f"sip:bob@{server}")
            bob.wait("CALL_ESTABLISHED")
            alice.wait_heard(TALK_S), bob.wait_heard(TALK_S)
            alice.hang_up()
            bob.wait("CALL_CLOSED")
            assert hears(alice, 700)
            assert hears(bob, 500)
        sites.overlay.wait_whole()
        with baresip(tmp_path / "later", sites.bob_later, "bob", plays=900) as bob:
            bob.wait_registered()
            talk(alice, bob, server)
            assert hears(alice, 900)
            assert hears(bob, 500)
    assert sites.alice.lookup("bob")["responsible"]["node_id"] in [peer.node_id for peer in sites.overlay.running()]


def call_until_it_works(phone: Baresip, uri: str) -> None:
    """As a person would: again when it does not work, for so long as we promise."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        phone.dial(uri)
        if phone.wait_any("CALL_ESTABLISHED", "CALL_CLOSED", timeout_s=PATIENCE_S)["type"] == "CALL_ESTABLISHED":
            return
        assert time.monotonic() < deadline, f"no call in {PATIENCE_S} s\n{phone.log}"


def test_who_comes_back_after_a_crash_is_a_member_again(sites: Sites) -> None:
    for keeper in sites.keepers:
        if not keeper.is_running:
            keeper.run()
    sites.overlay.wait_whole()
    assert sites.keepers[0].lookup("bob")["entries"]


def test_peers_with_nothing_to_do_are_quiet(sites: Sites) -> None:
    """After all these calls no two of them keep each other busy; one that has just begun may be for a while."""

    def used_s() -> float:
        before = [peer.cpu_s() for peer in sites.overlay.running()]
        time.sleep(QUIET_S)
        return max(peer.cpu_s() - earlier for peer, earlier in zip(sites.overlay.running(), before, strict=True))

    eventually("none has anything to do", lambda: used_s() < QUIET_S / 10)
