"""A peer that may open a hundred files, and has more callers than that."""

from __future__ import annotations

import resource
import socket
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from live_overlay import HOST, LiveOverlay, phone_password
from our_phone import OurPhone

pytestmark = pytest.mark.slow

DESCRIPTORS = 100
IDLE = 150
"""At each of its ports: for other peers' links, for their SIP, for phones."""


def test_a_hundred_descriptors_and_idle_callers_at_every_port(tmp_path: Path) -> None:
    with LiveOverlay(tmp_path, peers=2, users=("alice", "bob")) as overlay:
        peer, other = overlay.peers
        overlay.add_lines([(peer, "alice"), (other, "bob")])
        resource.prlimit(peer.daemon.process.pid, resource.RLIMIT_NOFILE, (DESCRIPTORS, DESCRIPTORS))
        logged = len(peer.daemon.log)
        with ExitStack() as idle:
            for port in (peer.overlay_port, peer.sip_port, peer.phone_port):
                for _ in range(IDLE):
                    idle.enter_context(socket.create_connection((HOST, port), timeout=10))
            # Who says nothing at the ports of peers is cut off after ten seconds.
            time.sleep(12.0)
            # Whoever is at the machine is answered, and phones over UDP call, also through a connection made just now.
            assert peer.status()["state"] == "in the ring"
            with (
                OurPhone("alice", server=peer.server, password=phone_password("alice")) as alice,
                OurPhone("bob", server=other.server, password=phone_password("bob"), answer_ms=100) as bob,
            ):
                alice.wait("registered")
                bob.wait("registered")
                alice.command("call bob")
                alice.wait("answered")
                # Who hangs up at once has heard nothing yet.
                time.sleep(1.0)
                alice.command("hangup")
                assert alice.wait("heard")["received"] > 0
            refused = [line for line in peer.daemon.log if line["event"] == "connections are not accepted"]
            assert refused
            assert len(peer.daemon.log) - logged < 40, [line["event"] for line in peer.daemon.log[logged:]]
            began = time.monotonic()
            peer.stop()
            assert time.monotonic() - began < 20.0
