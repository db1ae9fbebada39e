"""Every pair of kinds of NAT that a lab has: who connects with whom by which path, and in how many milliseconds.

Run as a program (`make nat-pairs`, as root) it writes docs/nat-pairs.md anew.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Final, NamedTuple

from ice_oracle import can_be_punched
from ice_world import Scene
from kernel_ice import DATA, IceEnd, RelayHost, SocketLoop
from netlab import INTERNET, Lab, Plan

from p2psip.sim.ip.boxes import FULL_CONE, PORT_RESTRICTED, SYMMETRIC, Dependence, Hairpin, NatBehaviour

PAGE: Final = Path(__file__).parents[2] / "docs/nat-pairs.md"
SERVER4, RELAY4, SERVER6, RELAY6 = "198.51.100.3", "198.51.100.4", "2001:db8::3", "2001:db8::4"
PATIENCE_S: Final = 60.0
AT_ONCE: Final = 12
"""Pairs that look for their path at the same time."""

DIRECT, RELAYED = "direct", "relay"
SAME_LAN: Final = "192.168.1.0/24"
NARROW_BYTES: Final = 1000
IPV4, IPV6, DUAL = (4,), (6,), (4, 6)


def _kind(behaviour: NatBehaviour) -> NatBehaviour:
    return replace(behaviour, hairpin=Hairpin.NO, timeout_s=120.0, inbound_refresh=True)


FULL: Final = _kind(FULL_CONE)
RESTRICTED: Final = _kind(NatBehaviour(filtering=Dependence.ADDRESS))
PORT: Final = _kind(PORT_RESTRICTED)
PER_ADDRESS: Final = _kind(NatBehaviour(Dependence.ADDRESS, Dependence.ADDRESS))
SYMMETRIC_NAT: Final = _kind(SYMMETRIC)


@dataclass(frozen=True)
class SiteKind:
    """Behind what a host is: boxes from the inside to the outside, and what its router does with UDP."""

    name: str
    boxes: tuple[NatBehaviour, ...] = ()
    blocks_udp: bool = False
    versions: tuple[int, ...] = IPV4
    mtu: int = 1500
    hides_mtu: bool = False


KINDS: Final = (
    SiteKind("public"),
    SiteKind("full cone", (FULL,)),
    SiteKind("restricted cone", (RESTRICTED,)),
    SiteKind("port restricted", (PORT,)),
    SiteKind("per address", (PER_ADDRESS,)),
    SiteKind("symmetric", (SYMMETRIC_NAT,)),
    SiteKind("UDP blocked", (PORT,), blocks_udp=True),
    SiteKind("port restricted in full cone", (PORT, FULL)),
    SiteKind("port restricted in symmetric", (PORT, SYMMETRIC_NAT)),
)
SIX: Final = SiteKind("IPv6 only", (PORT,), versions=IPV6)
DUAL_SYMMETRIC: Final = SiteKind("dual stack, symmetric", (SYMMETRIC_NAT,), versions=DUAL)
DUAL_BLOCKED: Final = SiteKind("dual stack, UDP blocked", (PORT,), blocks_udp=True, versions=DUAL)
NARROW: Final = SiteKind("port restricted, MTU 1000", (PORT,), mtu=NARROW_BYTES, hides_mtu=True)
OTHERS: Final = (
    (SIX, SIX),
    (SIX, KINDS[3]),
    (SIX, DUAL_SYMMETRIC),
    (DUAL_SYMMETRIC, DUAL_SYMMETRIC),
    (DUAL_SYMMETRIC, KINDS[3]),
    (DUAL_BLOCKED, DUAL_SYMMETRIC),
    (NARROW, NARROW),
    (NARROW, KINDS[5]),
)
"""Pairs besides all those of KINDS with each other."""


class NatPair(NamedTuple):
    """Two hosts of a lab that are to be connected, and what is to become of it."""

    first: str
    second: str
    nodes: tuple[str, str]
    streams: tuple[bool, bool]
    """Which of them reaches the relay over TCP only."""
    path: str

    @property
    def name(self) -> str:
        """As in the table."""
        return f"{self.first} - {self.second}"


class Outcome(NamedTuple):
    """What has become of a pair."""

    pair: NatPair
    path: str
    is_ipv6: bool
    took_ms: float

    def row(self, *, with_ms: bool = True) -> str:
        """A line of the table."""
        way = self.path + (", IPv6" if self.is_ipv6 else "")
        return f"| {self.pair.first} | {self.pair.second} | {way} |" + (f" {self.took_ms:.0f} |" if with_ms else "")


@dataclass
class PairsPlan:
    """The plan of a lab for all pairs: two sites of each kind, and sites that share their last box."""

    plan: Plan = field(default_factory=Plan)
    pairs: list[NatPair] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def __post_init__(self) -> None:
        self.plan.host("server", addresses=(SERVER4, RELAY4, SERVER6, RELAY6))
        sites = {
            kind.name: (self._site(kind), self._site(kind))
            for kind in (*KINDS, *dict.fromkeys(itertools.chain.from_iterable(OTHERS)))
        }
        for first, second in (*itertools.combinations_with_replacement(KINDS, 2), *OTHERS):
            self._add(first, second, (sites[first.name][0], sites[second.name][1]))
        self._behind_one_box()

    def _behind_one_box(self) -> None:
        """Neighbours in one LAN, and homes with the same LAN behind one carrier's box, with hairpinning and without."""
        for box in (PORT, SYMMETRIC_NAT):
            kind = SiteKind("symmetric" if box is SYMMETRIC_NAT else "port restricted", (box,))
            router = self._router(box, INTERNET)
            neighbours = self.plan.host(self._name("h"), router, IPV4), self.plan.host(self._name("h"), router, IPV4)
            self._pair(f"{kind.name}", "its neighbour in the LAN", neighbours, (kind, kind), DIRECT)
            for hairpin in (Hairpin.NO, Hairpin.EXTERNAL):
                carrier = replace(box, hairpin=hairpin)
                shared = self._router(carrier, INTERNET, lan4="100.64.0.0/24")
                home = SiteKind(f"port restricted in {kind.name}", (PORT, carrier))
                nodes = self._home(shared), self._home(shared)
                scene = Scene(home.boxes, home.boxes, shared=1, same_lan_prefix=True)
                path = DIRECT if can_be_punched(scene) else RELAYED
                word = "without" if hairpin is Hairpin.NO else "with"
                self._pair(home.name, f"home behind the same box, {word} hairpinning", nodes, (home, home), path)

    def _add(self, first: SiteKind, second: SiteKind, nodes: tuple[str, str]) -> None:
        shared = set(first.versions) & set(second.versions)
        if first.blocks_udp or second.blocks_udp or not shared:
            path = RELAYED
        elif 6 in shared:
            # Firewalls of IPv6 are port restricted, and nothing is translated.
            path = DIRECT
        else:
            path = DIRECT if can_be_punched(Scene(first.boxes, second.boxes)) else RELAYED
        self._pair(first.name, second.name, nodes, (first, second), path)

    def _pair(
        self, first: str, second: str, nodes: tuple[str, str], kinds: tuple[SiteKind, SiteKind], path: str
    ) -> None:
        self.pairs.append(NatPair(first, second, nodes, (kinds[0].blocks_udp, kinds[1].blocks_udp), path))

    def _site(self, kind: SiteKind) -> str:
        uplink = INTERNET
        for depth, box in enumerate(reversed(kind.boxes)):
            is_outermost = depth == 0
            uplink = self.plan.router(
                self._name("r"),
                box,
                uplink,
                lan4=SAME_LAN if depth else "",
                blocks_udp=kind.blocks_udp,
                mtu=kind.mtu if is_outermost else 1500,
                hides_mtu=kind.hides_mtu and is_outermost,
            )
        return self.plan.host(self._name("h"), uplink, kind.versions)

    def _home(self, shared: str) -> str:
        return self.plan.host(self._name("h"), self._router(PORT, shared, lan4=SAME_LAN), IPV4)

    def _router(self, box: NatBehaviour, uplink: str, lan4: str = "") -> str:
        return self.plan.router(self._name("r"), box, uplink, lan4=lan4)

    def _name(self, letter: str) -> str:
        return f"{letter}{next(self._numbers)}"


class PairsRun:
    """A lab for all pairs, its server, and the loop in which they are tried."""

    def __init__(self, lab: Lab) -> None:
        self.loop = SocketLoop()
        self.lab = lab
        self.relay = RelayHost(self.loop, lab, "server", (SERVER4, SERVER6), (RELAY4, RELAY6))

    def close(self) -> None:
        """All sockets."""
        self.loop.close()

    def outcomes(self, pairs: Sequence[NatPair]) -> list[Outcome]:
        """What becomes of each pair; some of them at a time."""
        found: list[Outcome] = []
        for start in range(0, len(pairs), AT_ONCE):
            found += self._try(pairs[start : start + AT_ONCE])
        return found

    def _try(self, pairs: Sequence[NatPair]) -> list[Outcome]:
        ends = [
            [self._end(node, is_stream) for node, is_stream in zip(pair.nodes, pair.streams, strict=True)]
            for pair in pairs
        ]
        every = [each for two in ends for each in two]
        for end in every:
            end.gather()
        assert self.loop.run(lambda: all(end.is_ready for end in every), PATIENCE_S), "the server does not answer"
        began_at = []
        for first, second in ends:
            offer, answer = first.open(is_controlling=True), second.open(is_controlling=False)
            began_at.append(self.loop.now)
            second.begin(offer)
            first.begin(answer)
        self.loop.run(lambda: all(end.path or end.lost for end in every), PATIENCE_S)
        found = [self._outcome(pair, two, at) for pair, two, at in zip(pairs, ends, began_at, strict=True)]
        self._talk(pairs, ends)
        for end in every:
            end.close()
        return found

    def _end(self, node: str, is_stream: bool) -> IceEnd:
        is_ipv4 = self.lab.plan.nodes[node].address(4) is not None
        return IceEnd(self.loop, self.lab, node, self.relay, SERVER4 if is_ipv4 else SERVER6, is_stream)

    def _outcome(self, pair: NatPair, ends: Sequence[IceEnd], began_at: float) -> Outcome:
        paths = [end.path for end in ends if end.path is not None]
        if len(paths) < len(ends):
            reasons = "; ".join(str(end.lost) for end in ends if end.lost is not None)
            return Outcome(pair, f"none: {reasons}", False, 0.0)
        assert paths[0][2] == paths[1][2], f"{pair.name}: one end relays, and the other does not: {paths}"
        took_s = max(end.path_at for end in ends) - began_at
        if paths[0][2]:
            return Outcome(pair, RELAYED, False, took_s * 1000)
        return Outcome(pair, DIRECT, ":" in paths[0][0].host, took_s * 1000)

    def _talk(self, pairs: Sequence[NatPair], ends: Sequence[Sequence[IceEnd]]) -> None:
        """Data passes both ways on each path."""
        for _ in range(10):
            silent = [two for two in ends if all(end.path for end in two) and not all(end.got for end in two)]
            for two in silent:
                for end in two:
                    end.say()
            if self.loop.run(partial(_have_all_heard, silent), 2.0):
                break
        for pair, two in zip(pairs, ends, strict=True):
            assert not all(end.path for end in two) or all(set(end.got) == {DATA} for end in two), (
                f"{pair.name}: data does not pass"
            )


def _have_all_heard(ends: Sequence[Sequence[IceEnd]]) -> bool:
    return all(end.got for two in ends for end in two)


def all_outcomes() -> list[Outcome]:
    """Build the lab, and try all pairs."""
    pairs = PairsPlan()
    with Lab(pairs.plan) as lab:
        run = PairsRun(lab)
        try:
            return run.outcomes(pairs.pairs)
        finally:
            run.close()


HEAD: Final = """\
# Who reaches whom: every pair of NATs

Two hosts behind boxes of each kind, on real kernels: network namespaces of one Linux machine, whose routers behave as
[the simulator's](simulator.md) do (`tests/support/netlab`). Their agents have a STUN and TURN server of our own code,
over TCP where UDP is blocked. Each pair connects; {direct} of {all} directly, which are all that RFC 4787's
rules allow (an [oracle on paper](../tests/support/ice_oracle.py) says which), and the others over the relay.

The milliseconds are from the moment that both ends have each other's candidates to the moment that both have a path, on
cables without delay, {at_once} pairs at a time on a machine with two cores that did other things as well. A relay is
taken no earlier than after 1.2 s, which direct pairs have until then, or 0.3 s where one end has no address that is
known outside ([ICE](decisions/ice.md)).

`make nat-pairs` writes this page anew, as root; `make test` prints the table as it finds it, and fails where a path is
not the one below.

| behind | and behind | path | ms |
|---|---|---|---|
"""


def page(outcomes: Sequence[Outcome]) -> str:
    """docs/nat-pairs.md."""
    direct = sum(outcome.path == DIRECT for outcome in outcomes)
    head = HEAD.format(direct=direct, all=len(outcomes), at_once=AT_ONCE)
    return head + "\n".join(outcome.row() for outcome in outcomes) + "\n"


if __name__ == "__main__":
    PAGE.write_text(page(all_outcomes()))
