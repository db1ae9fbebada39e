"""Real peers in network namespaces: two public ones that relay, and five behind routers, which are a symmetric NAT, one
that filters by port, one that lets no UDP through, and two firewalls with nothing but IPv6 behind them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from baresip import Baresip
from linphone import Linphone
from live_overlay import LiveOverlay, LivePeer, eventually, phone_password
from nat_pairs import IPV4, IPV6, PORT, SYMMETRIC_NAT
from netlab import INTERNET, Lab, Plan
from netlab.wire_tap import WireTap
from our_phone import OurPhone

NATS = {"sym": SYMMETRIC_NAT, "port": PORT, "noudp": PORT}
SPARE = "spare"
"""A router that nobody is behind to begin with."""

FIREWALLS = ("six", "alsosix")
SITES = (*NATS, *FIREWALLS)
EVERYWHERE = ("0.0.0.0", "::")
RELAYS = ("relay0", "relay1")
PITCH = {"sym": 500.0, "port": 600.0, "noudp": 700.0, "six": 800.0, "alsosix": 900.0}
FRAME_S = 0.02
TALK_S = 5.0


@dataclass(frozen=True)
class Sites:
    """The lab, what is seen where the Internet is, and the peer at each place."""

    lab: Lab
    tap: WireTap
    overlay: LiveOverlay
    peers: dict[str, LivePeer]

    def start(self, place: str) -> None:
        """The peer there, at all addresses that its machine has, and will have."""
        node = place if place in RELAYS else f"at-{place}"
        listen = [part for option in ("--listen", "--phone-listen") for host in EVERYWHERE for part in (option, host)]
        relay = ("--relay", "yes") if place in RELAYS else ()
        first = ("--first",) if place == "relay0" else ()
        self.peers[place].run(*listen, *first, *relay, namespace=self.lab.netns(node))

    def phone(self, place: str, *, is_local: bool = False) -> OurPhone:
        """A phone at the peer there, on its machine, which answers at once and plays what its place does. If it is
        local, it knows its peer by an address that stays.
        """
        peer = self.peers[place]
        return OurPhone(
            place,
            server=f"127.0.0.1:{peer.phone_port}" if is_local else peer.server,
            password=phone_password(place),
            plays=PITCH[place],
            answer_ms=0,
            namespace=self.lab.netns(f"at-{place}"),
        )

    def baresip(self, directory: Path, place: str) -> Baresip:
        """The same of another maker, which answers by itself."""
        return Baresip(directory, place, plays=int(PITCH[place]), **self._account(place))

    def linphone(self, directory: Path, place: str) -> Linphone:
        """Of a third."""
        return Linphone(directory, place, **self._account(place))

    def _account(self, place: str) -> dict[str, Any]:
        node = f"at-{place}"
        at = {"host": self.lab.addresses(node)[0], "namespace": self.lab.netns(node)}
        return {"server": self.peers[place].server, "password": phone_password(place), **at}


@contextmanager
def sites_behind_nats(directory: Path) -> Iterator[Sites]:
    """All of them; each place has a user of its name."""
    plan = Plan()
    hosts = {name: plan.host(name) for name in RELAYS}
    for name, box in NATS.items():
        hosts[name] = plan.host(f"at-{name}", plan.router(name, box, blocks_udp=name == "noudp"), IPV4)
    plan.router(SPARE, SYMMETRIC_NAT)
    for name in FIREWALLS:
        hosts[name] = plan.host(f"at-{name}", plan.router(name, PORT), IPV6)
    at = [plan.nodes[host].addresses[0] for host in hosts.values()]
    with LiveOverlay(directory, peers=0, hosts=at, users=SITES) as overlay:
        change = ("overlay", "set", directory / "overlay", "--sign")
        overlay.command(*change, "no-ice=false", f"bootstrap-node+=[{plan.nodes['relay0'].address(6)}]:{overlay.port}")
        overlay.add_peers(len(hosts))
        peers = dict(zip(hosts, overlay.peers, strict=True))
        with Lab(plan) as lab, WireTap(lab, INTERNET) as tap:
            made = Sites(lab, tap, overlay, peers)
            for name in hosts:
                made.start(name)
            for name in NATS:
                eventually(f"relays lend to {name}", lambda name=name: len(lending(peers[name])) >= 3)  # type: ignore[misc]
            overlay.wait_whole()
            overlay.add_lines([(peers[name], name) for name in SITES])
            yield made


def lending(peer: LivePeer) -> list[str]:
    """The relays that lend something to a peer."""
    return list(peer.status()["relays"]["in_use"])


def call(here: OurPhone, there: OurPhone) -> None:
    """A call that is answered."""
    here.command(f"call {there.user}")
    here.wait("answered")
    there.wait("answered")


def silence_s(here: OurPhone, there: OurPhone) -> float:
    """Ends the call: both have heard the other to the end, and for so long, at the most, one of them heard nothing."""
    here.command("hangup")
    ours, theirs = here.wait("heard"), there.wait("heard")
    assert ours["frequency_hz"] == pytest.approx(PITCH[there.user], abs=10), ours
    assert theirs["frequency_hz"] == pytest.approx(PITCH[here.user], abs=10), theirs
    missed = max(theirs["sent"] - ours["received"], ours["sent"] - theirs["received"])
    return float(missed * FRAME_S)
