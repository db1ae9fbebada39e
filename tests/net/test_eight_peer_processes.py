"""Eight real peers in network namespaces, two public and six behind NATs of different kinds: nothing but the eight."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
from ice_oracle import can_be_punched
from ice_world import Scene
from live_overlay import LiveOverlay, LivePeer, eventually
from nat_pairs import FULL, IPV4, PER_ADDRESS, PORT, RESTRICTED, SYMMETRIC_NAT
from netlab import INTERNET, Lab, Plan, needs_lab
from netlab.wire_tap import WireTap

from p2psip.sim.ip.boxes import NatBehaviour

pytestmark = [pytest.mark.slow, needs_lab]

KINDS: tuple[tuple[NatBehaviour, ...], ...] = (
    (), (), (FULL,), (RESTRICTED,), (PORT,), (PER_ADDRESS,), (SYMMETRIC_NAT,), (PORT, FULL),
)  # fmt: skip
"""Behind what each is, the inner box first."""

RELAYS = 2
"""The first peers, which are public, relay for the others."""


def planned() -> tuple[Plan, list[str], list[str]]:
    """A plan, the host of each peer in it, and as whom the Internet knows each."""
    plan, hosts, known = Plan(), [], []
    for number, boxes in enumerate(KINDS):
        uplink = INTERNET
        for depth, box in enumerate(reversed(boxes)):
            uplink = plan.router(f"nat{number}-{depth}", box, uplink)
        hosts.append(plan.host(f"peer{number}", uplink, IPV4))
        outermost = f"nat{number}-0" if boxes else hosts[-1]
        known.append(str(plan.nodes[outermost].address(4)))
    return plan, hosts, known


def links_of(peer: LivePeer) -> dict[str, str]:
    """With whom a peer is linked, and where they are."""
    return {link["node_id"]: link["address"].rpartition(":")[0] for link in peer.status()["links"]}


def unlinked(overlay: LiveOverlay, known: list[str]) -> list[str]:
    """Which pairs are not as they should be: linked directly where their NATs let them, else over one of the relays."""
    links, wrong = [links_of(peer) for peer in overlay.peers], []
    for here, there in itertools.combinations(range(len(KINDS)), 2):
        seen = [links[end].get(overlay.peers[other].node_id) for end, other in ((here, there), (there, here))]
        is_direct = seen == [known[there], known[here]]
        is_relayed = None not in seen and bool({*known[:RELAYS]} & {*seen})
        if not (is_direct if can_be_punched(Scene(KINDS[here], KINDS[there])) else is_relayed):
            wrong.append(f"{here} and {there}: {seen}")
    return wrong


@pytest.fixture
def overlay(tmp_path: Path) -> Iterator[tuple[Lab, WireTap, LiveOverlay, list[str]]]:
    """All eight, which run; and a tap where the Internet is."""
    plan, hosts, known = planned()
    inner = [str(plan.nodes[host].address(4)) for host in hosts]
    with LiveOverlay(tmp_path, peers=0, hosts=inner) as made:
        made.command("overlay", "set", tmp_path / "overlay", "no-ice=false", "--sign")
        made.add_peers(len(KINDS))
        with Lab(plan) as lab, WireTap(lab, INTERNET) as tap:
            for number, (peer, host) in enumerate(zip(made.peers, hosts, strict=True)):
                flags = ("--first",) if not number else ()
                relays = ("--relay", "yes") if number < RELAYS else ()
                peer.run(*flags, *relays, namespace=lab.netns(host))
            yield lab, tap, made, known


def test_it_forms_with_nobody_else_and_nothing_leaves_for_who_is_no_member(
    overlay: tuple[Lab, WireTap, LiveOverlay, list[str]],
) -> None:
    """All 28 pairs are linked: directly, each seen as its NAT shows it, where that can be; no packet goes anywhere but
    to the eight.
    """
    _, tap, made, known = overlay
    try:
        eventually("all are linked", lambda: not unlinked(made, known))
    except AssertionError as failed:
        failed.add_note(str(unlinked(made, known)))
        raise
    eight = {*known, *(peer.host for peer in made.peers)}
    assert [each for each in tap.seen if each.destination not in eight] == []
    assert set(known) <= tap.destinations
    assert tap.lost == 0
