"""Real peers behind kernel NATs where no UDP passes, nobody is public and nobody relays: calls over TCP."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from kernel_nat import needs_nft
from live_overlay import LiveOverlay, LivePeer, eventually, phone_password
from nat_sites import OUTSIDE, PORT_RESTRICTED, inside, nat_sites
from networks import Host, needs_networks
from our_phone import OurPhone

pytestmark = [pytest.mark.slow(60), needs_networks, needs_nft]

USERS = ("anna", "bob", "carol")
PITCH = {"anna": 500.0, "bob": 600.0, "carol": 700.0}
TALK_S = 3.0
FRAME_S = 0.02


def phone(peer: LivePeer, user: str, host: Host) -> OurPhone:
    """A phone at a peer, on its machine, which answers at once."""
    return OurPhone(
        user,
        server=peer.server,
        password=phone_password(user),
        plays=PITCH[user],
        answer_ms=0,
        namespace=host.name,
    )


def is_linked(here: LivePeer, there: LivePeer) -> bool:
    """True if each has the other in its Connection Table."""
    ends = ((here, there), (there, here))
    return all(other.node_id in [link["node_id"] for link in one.status()["links"]] for one, other in ends)


def talk(caller: OurPhone, callee: OurPhone) -> None:
    """A call with audio both ways, of which nothing is missing."""
    caller.command(f"call {callee.user}")
    caller.wait("answered")
    callee.wait("answered")
    time.sleep(TALK_S)
    caller.command("hangup")
    ours, theirs = caller.wait("heard"), callee.wait("heard")
    assert ours["frequency_hz"] == pytest.approx(PITCH[callee.user], abs=10), ours
    assert theirs["frequency_hz"] == pytest.approx(PITCH[caller.user], abs=10), theirs
    missed = max(theirs["sent"] - ours["received"], ours["sent"] - theirs["received"])
    assert missed * FRAME_S < 1.0


def test_three_sites_without_udp_call_each_other_with_audio(tmp_path: Path) -> None:
    """The router of the first forwards two ports of TCP to its peer, the others forward nothing: these dial the first,
    and open a stream together with each other, as whom the first has seen their ports.
    """
    hosts = tuple(inside(number) for number in range(3))
    outside = OUTSIDE.format(place=10)
    options = {"peer0": ("--advertise", outside)}
    with LiveOverlay(tmp_path, peers=0, hosts=hosts, users=USERS, peer_options=options) as overlay:
        bootstrap = (f"bootstrap-node-={hosts[0]}:{overlay.port}", f"bootstrap-node+={outside}:{overlay.port}")
        overlay.command("overlay", "set", tmp_path / "overlay", "no-ice=false", *bootstrap, "--sign")
        peers = [overlay.add_peer() for _ in hosts]
        ports = (peers[0].overlay_port, peers[0].sip_port)
        with nat_sites(*[PORT_RESTRICTED] * 3, without_udp=range(3), forwarded=ports) as world:
            try:
                for peer, host in zip(peers, world.sites, strict=True):
                    peer.run(*(("--first",) if peer is peers[0] else ()), namespace=host.name)
                for peer in peers:
                    peer.wait_joined()
                eventually("nobody relays", lambda: not any(each.status()["relays"]["offered"] for each in peers))
                overlay.add_lines(list(zip(peers, USERS, strict=True)))
                phones = [phone(*each) for each in zip(peers, USERS, world.sites, strict=True)]
                with phones[0] as anna, phones[1] as bob, phones[2] as carol:
                    for each in (anna, bob, carol):
                        each.wait("registered")
                    for peer, user in zip(peers, USERS, strict=True):
                        peer.wait_placed(user)
                    # Each finds first that its UDP is dropped, and then as whom its port is seen.
                    eventually("who is not dialled is linked as well", lambda: is_linked(peers[1], peers[2]))
                    for caller, callee in ((bob, anna), (anna, carol), (bob, carol), (carol, bob)):
                        talk(caller, callee)
                assert all(peer.daemon.wait_log("media carried")["until"] == "hung up" for peer in peers)
            finally:
                for peer in reversed(peers):
                    if peer.is_running:
                        peer.stop()
