"""Calls of real peers in network namespaces, two public ones that relay and five behind routers: a symmetric NAT, one
that filters by port, one that lets no UDP through, and two with nothing but IPv6 behind firewalls. What happens to a
network happens in the middle of a call.
"""

from __future__ import annotations

import ipaddress
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from baresip import Baresip, hears, needs_baresip, talk
from linphone import Linphone, needs_linphone
from live_overlay import LiveOverlay, LivePeer, eventually, phone_password
from nat_pairs import IPV4, IPV6, PORT, SYMMETRIC_NAT
from netlab import INTERNET, Lab, Plan, missing
from netlab.wire_tap import UDP, WireTap
from our_phone import OurPhone

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing()) and "CI" not in os.environ, reason=missing() or "nothing is missing"),
]

NATS = {"sym": SYMMETRIC_NAT, "port": PORT, "noudp": PORT}
SPARE = "spare"
"""A router that nobody is behind to begin with."""

FIREWALLS = ("six", "alsosix")
SITES = (*NATS, *FIREWALLS)
EVERYWHERE = ("0.0.0.0", "::")
RELAYS = ("relay0", "relay1")
PITCH = {"sym": 500.0, "port": 600.0, "noudp": 700.0, "six": 800.0, "alsosix": 900.0}
FRAME_S = 0.02
CALL_PACKETS = 100
"""What nothing but a call sends."""

TALK_S = 5.0
BACK_S = 15.0
"""Five times the 3 s after which audio is to be back; virtual time has the bound itself (test_sim_eight_peers)."""

Record = Callable[[str, object], None]


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


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    plan, directory = Plan(), tmp_path_factory.mktemp("behind")
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


@pytest.mark.parametrize(
    ("here", "there"),
    [("noudp", "sym"), ("port", "noudp"), ("sym", "port"), ("six", "alsosix"), ("six", "sym"), ("noudp", "alsosix")],
)
def test_phones_hear_each_other(sites: Sites, here: str, there: str, record_property: Record) -> None:
    """Where UDP does not pass, over TLS to a relay; between IPv4 and IPv6 over one that has both."""
    with sites.phone(here) as caller, sites.phone(there) as callee:
        caller.wait("registered")
        callee.wait("registered")
        call(caller, callee)
        time.sleep(TALK_S)
        record_property("silent_s", silence_s(caller, callee))


@needs_baresip
@pytest.mark.parametrize(("here", "there"), [("sym", "port"), ("noudp", "six")])
def test_baresip_calls_baresip(sites: Sites, here: str, there: str, tmp_path: Path) -> None:
    """Told nothing but a server, a user and a password, they hear each other through two NATs."""
    with sites.baresip(tmp_path, here) as caller, sites.baresip(tmp_path, there) as callee:
        caller.wait_registered()
        callee.wait_registered()
        talk(caller, callee, sites.peers[here].server)
        assert hears(caller, PITCH[there])
        assert hears(callee, PITCH[here])


@needs_baresip
@needs_linphone
def test_linphone_calls_baresip(sites: Sites, tmp_path: Path) -> None:
    """And is called by it; without a sound card it says nothing, so that it is the calls alone that are tried."""
    with sites.linphone(tmp_path, "port") as linphone, sites.baresip(tmp_path, "sym") as baresip:
        linphone.wait_registered()
        baresip.wait_registered()
        linphone.dial(f"sip:sym@{sites.peers['port'].server}")
        baresip.wait("CALL_ESTABLISHED")
        linphone.wait_connected()
        linphone.hang_up()
        baresip.wait("CALL_CLOSED")
        linphone.wait_ended()
        baresip.dial(f"sip:port@{sites.peers['sym'].server}")
        linphone.wait_incoming()
        linphone.command("answer")
        baresip.wait("CALL_ESTABLISHED")
        baresip.hang_up()
        linphone.wait_ended()


def nat_reboots(sites: Sites) -> None:
    """The symmetric one forgets everything."""
    sites.lab.reboot("sym")


def outside_address_changes(sites: Sites) -> None:
    """That of the one that filters by port."""
    before = ipaddress.ip_address(sites.lab.addresses("port")[0])
    sites.lab.reboot("port", str(before + 100))


def uplink_is_switched(sites: Sites) -> None:
    """The machine of the peer behind the one that filters by port is plugged in behind another router."""
    here = sites.lab.plan.nodes["at-port"].uplink
    sites.lab.move("at-port", uplink=SPARE if here == "port" else "port")


def relay_dies(sites: Sites) -> None:
    """The one that carries the call has no power any more."""
    relays = {str(sites.lab.plan.nodes[name].address(4)): name for name in RELAYS}
    before = Counter(sites.tap.seen)

    def carrying() -> str:
        packets: Counter[str] = Counter()
        for each, count in (sites.tap.seen - before).items():
            if each.protocol == UDP and each.source in relays:
                packets[relays[each.source]] += count
        return next((name for name, count in packets.most_common(1) if count >= CALL_PACKETS), "")

    eventually("one of them carries the call", carrying)
    sites.peers[carrying()].kill()


@pytest.mark.parametrize("happens", [nat_reboots, outside_address_changes, uplink_is_switched, relay_dies])
def test_audio_is_back(sites: Sites, happens: Callable[[Sites], None], record_property: Record) -> None:
    """Both ways, whatever happens to the network in the middle of a call."""
    with sites.phone("sym") as caller, sites.phone("port", is_local=True) as callee:
        caller.wait("registered")
        callee.wait("registered")
        call(caller, callee)
        time.sleep(TALK_S)
        happens(sites)
        time.sleep(BACK_S + TALK_S)
        silent_s = silence_s(caller, callee)
    for name in RELAYS:
        if not sites.peers[name].is_running:
            sites.start(name)
    record_property("silent_s", silent_s)
    assert silent_s <= BACK_S


def test_audio_is_back_when_udp_is_dropped_and_when_it_passes_again(sites: Sites, record_property: Record) -> None:
    """A firewall changes its mind in the middle of a call, twice; no address is another for that."""
    peer = sites.peers["port"]
    with sites.phone("sym") as caller, sites.phone("port", is_local=True) as callee:
        caller.wait("registered")
        callee.wait("registered")
        call(caller, callee)
        time.sleep(TALK_S)
        try:
            sites.lab.block_udp(sites.lab.plan.nodes["at-port"].uplink, blocks=True)
            peer.daemon.wait_log("datagrams do not pass any more")
            time.sleep(BACK_S + TALK_S)
        finally:
            sites.lab.block_udp(sites.lab.plan.nodes["at-port"].uplink, blocks=False)
        peer.daemon.wait_log("datagrams pass again")
        time.sleep(BACK_S + TALK_S)
        silent_s = silence_s(caller, callee)
    record_property("silent_s", silent_s)
    assert silent_s <= BACK_S
