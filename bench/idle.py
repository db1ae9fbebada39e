"""What an idle peer behind a NAT sends: peers as processes in network namespaces, two public ones that relay and
fifteen behind routers of their own, all linked with all. Counted is what leaves each machine, IP and UDP headers
included.

IDLE_S: for how long, if not five minutes. Root and nftables are needed.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from live_overlay import LiveOverlay, LivePeer, eventually
from nat_pairs import IPV4, PORT
from netlab import Lab, Plan, missing

from bench.results import Result, result

RELAYS = ("relay0", "relay1")
SITES = tuple(f"site{number}" for number in range(15))
LINKS = 16
"""Of each; so many are its neighbours, half of them on either side."""

ETHERNET_BYTES = 14

SETTLE_S = 240.0
"""Surveys are over by then, and what came of many peers that joined at once."""


def measure() -> Iterator[Result]:
    """One overlay, left alone."""
    if what := missing():
        print(f"bench: no idle peers behind NATs: {what}", file=sys.stderr)
        return
    idle_s = float(os.environ.get("IDLE_S", "300"))
    plan = Plan()
    hosts = {name: plan.host(name) for name in RELAYS}
    for name in SITES:
        hosts[name] = plan.host(f"at-{name}", plan.router(name, PORT), IPV4)
    at = [plan.nodes[host].addresses[0] for host in hosts.values()]
    with (
        tempfile.TemporaryDirectory(prefix="p2psip-bench-") as directory,
        LiveOverlay(Path(directory), peers=0, hosts=at, users=SITES, successors=LINKS // 2) as overlay,
    ):
        terms = ("no-ice=false", f"successors={LINKS // 2}")
        overlay.command("overlay", "set", Path(directory) / "overlay", "--sign", *terms)
        overlay.add_peers(len(hosts))
        peers = dict(zip(hosts, overlay.peers, strict=True))
        with Lab(plan) as lab:
            for name, host in hosts.items():
                options = ("--listen", "0.0.0.0", "--phone-listen", "0.0.0.0")
                relays = ("--relay", "yes") if name in RELAYS else ()
                first = ("--first",) if name == RELAYS[0] else ()
                peers[name].run(*options, *relays, *first, within=lab.host(host).within)
            overlay.wait_whole()
            overlay.add_lines([(peers[name], name) for name in SITES])
            for name in SITES:
                eventually(f"relays lend to {name}", lambda name=name: _relays(peers[name]))  # type: ignore[misc]
            time.sleep(SETTLE_S)
            yield from _read(lab, {hosts[name]: peers[name] for name in SITES}, idle_s)


def _relays(peer: LivePeer) -> object:
    return peer.status()["relays"]["in_use"]


def _read(lab: Lab, peers: dict[str, LivePeer], idle_s: float) -> Iterator[Result]:
    before = {host: _sent(lab, host) for host in peers}
    links: dict[str, float] = {host: _links(peer) for host, peer in peers.items()}
    time.sleep(idle_s)
    after = {host: _sent(lab, host) for host in peers}
    # A link that came or went meanwhile counts half.
    links = {host: (links[host] + _links(peer)) / 2 for host, peer in peers.items()}
    rates = {host: (after[host][0] - before[host][0]) / idle_s for host in peers}
    packets = [(after[host][1] - before[host][1]) / idle_s for host in peers]
    yield result("idle.behind_nat.links", "", links.values())
    yield result("idle.behind_nat.sent", "B/s", rates.values())
    yield result("idle.behind_nat.packets", "1/s", packets)


def _links(peer: LivePeer) -> int:
    return len(peer.status()["links"])


def _sent(lab: Lab, host: str) -> tuple[int, int]:
    """Bytes of IP and packets that have left a machine."""
    command = ["ip", "-n", lab.netns(host), "-s", "-j", "link", "show", "eth0"]
    (shown,) = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    sent = shown["stats64"]["tx"]
    return sent["bytes"] - ETHERNET_BYTES * sent["packets"], sent["packets"]
