"""Real peers behind real NATs: processes in network namespaces, whose links are made by ICE."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from kernel_nat import needs_nft
from live_overlay import LiveOverlay, LivePeer, eventually, phone_password
from nat_sites import PORT_RESTRICTED, PUBLIC, SYMMETRIC, inside, nat_sites
from networks import Host, needs_networks
from our_phone import OurPhone

TALK_S = 2.0

pytestmark = [pytest.mark.slow, needs_networks, needs_nft]


def links_of(peer: LivePeer) -> dict[str, str]:
    """With whom a peer is linked, and where they are."""
    return {link["node_id"]: link["address"] for link in peer.status()["links"]}


@pytest.mark.parametrize(
    ("kinds", "is_direct"),
    [((PORT_RESTRICTED, PORT_RESTRICTED), True), ((PORT_RESTRICTED, SYMMETRIC), False)],
    ids=["both port restricted", "one symmetric"],
)
def test_two_peers_behind_nats_come_in_by_a_public_one(tmp_path: Path, kinds: tuple[str, str], is_direct: bool) -> None:
    """They are linked with each other, through their NATs, exactly where that can be; there their phones call each
    other, and both are heard: SIP over DTLS, and the audio in the same records.
    """
    hosts = (PUBLIC, *(inside(number) for number in range(len(kinds))))
    with LiveOverlay(tmp_path, peers=0, hosts=hosts, users=("alice", "bob")) as overlay:
        overlay.command("overlay", "set", tmp_path / "overlay", "no-ice=false", "--sign")
        peers = [overlay.add_peer() for _ in hosts]
        with nat_sites(*kinds) as world:
            try:
                for peer, host in zip(peers, (world.public, *world.sites), strict=True):
                    peer.run(*(() if host is not world.public else ("--first",)), namespace=host.name)
                    if is_direct or peer is not peers[-1]:
                        # Whose neighbours cannot be reached is no member: that takes a relay (test_relay_processes.py).
                        peer.wait_joined()
                _, first, second = peers
                if is_direct:
                    eventually("they are linked", lambda: second.node_id in links_of(first))
                    eventually("both ways", lambda: first.node_id in links_of(second))
                    # As whom the other one's NAT shows it, and not by an address of its LAN.
                    assert links_of(first)[second.node_id].startswith("198.51.100.11:")
                    assert links_of(second)[first.node_id].startswith("198.51.100.10:")
                    overlay.add_lines([(first, "alice"), (second, "bob")])
                    here, there = world.sites
                    with phone(second, "bob", there, 700.0) as bob, phone(first, "alice", here, 500.0) as alice:
                        talk(alice, bob)
                    assert first.daemon.wait_log("media carried")["until"] == "hung up"
                else:
                    eventually("all is tried", lambda: "no pair of addresses works" in said(first) + said(second))
                    assert second.node_id not in links_of(first)
            finally:
                for peer in reversed(peers):
                    if peer.is_running:
                        peer.stop()


def phone(peer: LivePeer, user: str, at: Host, plays: float) -> OurPhone:
    """One on the host of its peer, which answers at once."""
    password = phone_password(user)
    return OurPhone(user, server=peer.server, password=password, plays=plays, answer_ms=100, namespace=at.name)


def talk(alice: OurPhone, bob: OurPhone) -> None:
    """Each calls the other, and both hear the tone of the other."""
    alice.wait("registered"), bob.wait("registered")
    for caller, callee in ((alice, bob), (bob, alice)):
        caller.command(f"call {callee.user}")
        caller.wait("answered")
        time.sleep(TALK_S)
        caller.command("hangup")
        assert (tone(alice), tone(bob)) == (700, 500)


def tone(phone: OurPhone) -> int:
    """What it has heard, to ten Hz."""
    return round(phone.wait("heard")["frequency_hz"], -1)


def said(peer: LivePeer) -> str:
    """What a peer has written into its log."""
    return "".join(map(str, peer.daemon.log))
