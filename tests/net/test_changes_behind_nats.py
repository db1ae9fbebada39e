"""What happens to networks, and to relays, in the middle of calls between peers behind NATs (sites_behind_nats.py)."""

from __future__ import annotations

import ipaddress
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from live_overlay import eventually
from netlab import needs_lab
from netlab.wire_tap import UDP
from our_phone import OurPhone
from sites_behind_nats import RELAYS, SPARE, TALK_S, Sites, call, silence_s, sites_behind_nats

pytestmark = [pytest.mark.slow(180), needs_lab]

CALL_PACKETS = 100
"""What nothing but a call sends."""

BACK_S = 15.0
"""Five times the 3 s after which audio is to be back; virtual time has the bound itself (test_sim_eight_peers)."""

Record = Callable[[str, object], None]


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    with sites_behind_nats(tmp_path_factory.mktemp("behind")) as made:
        yield made


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


@contextmanager
def talking(sites: Sites) -> Iterator[tuple[OurPhone, OurPhone]]:
    """A call between two peers that are both behind NATs, for a while."""
    with sites.phone("sym") as caller, sites.phone("port", is_local=True) as callee:
        caller.wait("registered")
        callee.wait("registered")
        call(caller, callee)
        time.sleep(TALK_S)
        yield caller, callee


@pytest.mark.parametrize("happens", [nat_reboots, outside_address_changes, uplink_is_switched, relay_dies])
def test_audio_is_back(sites: Sites, happens: Callable[[Sites], None], record_property: Record) -> None:
    """Both ways, whatever happens to the network in the middle of a call. How long that itself takes is told as well:
    where a cable is pulled and plugged in elsewhere there is none for so long.
    """
    with talking(sites) as phones:
        began_at = time.monotonic()
        happens(sites)
        happened_s = time.monotonic() - began_at
        time.sleep(BACK_S + TALK_S)
        silent_s = silence_s(*phones)
    for name in RELAYS:
        if not sites.peers[name].is_running:
            sites.start(name)
    record_property("silent_s", silent_s)
    record_property("happened_s", round(happened_s, 2))
    assert silent_s <= BACK_S


def test_audio_is_back_when_udp_is_dropped_and_when_it_passes_again(sites: Sites, record_property: Record) -> None:
    """A firewall changes its mind in the middle of a call, and in the middle of the next; no address is another for
    that.
    """
    router = sites.lab.plan.nodes["at-port"].uplink
    log = sites.peers["port"].daemon
    silent_s = []
    try:
        for blocks, says in ((True, "datagrams do not pass any more"), (False, "datagrams pass again")):
            with talking(sites) as phones:
                sites.lab.block_udp(router, blocks=blocks)
                log.wait_log(says)
                time.sleep(BACK_S + TALK_S)
                silent_s.append(silence_s(*phones))
    finally:
        sites.lab.block_udp(router, blocks=False)
    record_property("silent_s", silent_s)
    assert max(silent_s) <= BACK_S
