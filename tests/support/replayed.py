"""A run of each virtual world with a seed, and a digest of all that happened in it: python replayed.py SEED"""

from __future__ import annotations

import hashlib
import sys

from p2psip.sim.capture import Tap
from p2psip.sim.ip.boxes import PORT_RESTRICTED
from p2psip.sim.ip.network import Transcript, Way
from p2psip.sim.simulated_overlay import SimulatedOverlay
from p2psip.sim.sites.internet import InternetSites


def over_ip(seed: str) -> str:
    """Peers and phones on an Internet, with loss, a NAT that reboots, a machine that sleeps, a power cut and a call."""
    world = InternetSites(seed)
    transcript = world.internet.transcript = Transcript()
    world.internet.default_way = Way(delay_s=0.02, jitter_s=0.03, loss=0.05, duplication=0.02, reordering=0.05)
    for number in range(5):
        site = world.add_behind_nat(number, PORT_RESTRICTED) if number == 2 else world.add_public(number)
        world.line(site, f"user{number}")
        world.run(2.0)
    world.settle()
    first, second, behind, *_ = world.sites
    alice, bob = world.phone(first, "user0", tone_hz=440.0), world.phone(behind, "user2")
    call = alice.dial("user2")
    world.run(5.0)
    assert bob.talks, "the run is to have a call in it"
    alice.hang_up(call)
    assert behind.nat is not None, "it is behind one"
    behind.nat.reboot(off_s=10.0)
    second.machine.sleep()
    world.run(30.0)
    second.machine.wake()
    world.cut_power(first)
    world.run(20.0)
    world.power_up(first)
    world.run(60.0)
    return f"{transcript.entries} {transcript.digest}"


def between_cores(seed: str, *, is_direct: bool) -> str:
    """An overlay of cores with streams between them, or direct links; one of them dies."""
    overlay = SimulatedOverlay(seed, is_direct=is_direct)
    tap = Tap(overlay)
    for number in range(8):
        overlay.add_peer(number)
        overlay.world.run_for(1.0)
    overlay.world.run_for(30.0)
    overlay.world.crash(overlay.world.hosts["p3"], is_silent=True)
    overlay.world.run_for(60.0)
    return f"{len(tap.seen)} {hashlib.sha256(repr(tap.seen).encode()).hexdigest()}"


if __name__ == "__main__":
    print(over_ip(sys.argv[1]))
    print(between_cores(sys.argv[1], is_direct=False))
    print(between_cores(sys.argv[1], is_direct=True))
