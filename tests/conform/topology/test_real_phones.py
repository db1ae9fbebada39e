"""Real peers over real sockets, and phones that nobody here wrote, in an overlay of each topology."""

from __future__ import annotations

from pathlib import Path

import pytest
from baresip import Baresip, needs_baresip, talk
from live_overlay import LiveOverlay, LivePeer, phone_password
from our_phone import OurPhone

from p2psip.sim.topologies import Case

pytestmark = pytest.mark.slow


def baresip(directory: Path, peer: LivePeer, user: str, plays: int) -> Baresip:
    return Baresip(directory, user, server=peer.server, password=phone_password(user), plays=plays)


@needs_baresip
def test_phones_call_each_other_also_when_peers_die_and_come_back_and_leave(tmp_path: Path, topology: Case) -> None:
    """The peer that is responsible for bob is killed, starts again, and another one leaves."""
    with LiveOverlay(tmp_path, peers=5, users=("alice", "bob"), terms=topology.terms) as overlay:
        found = overlay.peers[0].lookup("bob", status=1)
        keeper = overlay.by_node_id(found["responsible"]["node_id"])
        alice_s, bob_s, other = [peer for peer in overlay.peers if peer is not keeper][:3]
        overlay.add_lines([(alice_s, "alice"), (bob_s, "bob")])
        with (
            baresip(tmp_path, bob_s, "bob", 700) as bob,
            baresip(tmp_path, alice_s, "alice", 500) as alice,
            OurPhone("alice", server=alice_s.server, password=phone_password("alice")) as ours,
        ):
            bob.wait_registered()
            alice.wait_registered()
            talk(alice, bob, alice_s.server)
            keeper.kill()
            overlay.wait_whole()
            talk(alice, bob, alice_s.server)
            keeper.run()
            overlay.wait_whole()
            talk(bob, alice, bob_s.server)
            other.stop()
            overlay.wait_whole()
            ours.wait("registered")
            ours.command(f"call sip:bob@{alice_s.server}")
            ours.wait("answered")
            bob.wait("CALL_ESTABLISHED")
        alice_s.lookup("bob")
