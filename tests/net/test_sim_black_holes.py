"""A path on which large packets vanish without a word: the handshake passes, Pings pass, large messages do not."""

from __future__ import annotations

from dataclasses import replace

import pytest

from p2psip.base.address import Address
from p2psip.reload.paths.limits import NARROW_HOSTS_MAX
from p2psip.reload.paths.narrow import NARROW_S, NarrowWays
from p2psip.reload.paths.values import Candidate
from p2psip.reload.transport.outcome import Answer
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.link_messages import OverlayLinkType, PingReq
from p2psip.sim.ip.network import WAN
from p2psip.sim.registrations import ask, grow, wait_until
from p2psip.sim.simulated_overlay import Command, SimulatedOverlay
from p2psip.sim.sites.internet import InternetSites
from p2psip.sim.world import Host

TLS, DTLS = OverlayLinkType.TLS_TCP_FH_NO_ICE, OverlayLinkType.DTLS_UDP_SR_NO_ICE
HOLE_BYTES = 1000
RECOGNISED_S = 10.0
HOST, PORT = "192.0.2.7", 6084


def both(host: str = HOST) -> tuple[Candidate, ...]:
    return tuple(Candidate(Address(host, PORT), kind) for kind in (TLS, DTLS))


def choices(paths: NarrowWays, host: str = HOST) -> list[tuple[OverlayLinkType, bool]]:
    return [(candidate.link_type, candidate.is_narrow) for candidate in paths.known(both(host))]


def test_small_packets_first_and_then_the_other_kind_of_link() -> None:
    paths = NarrowWays()
    assert choices(paths) == [(TLS, False), (DTLS, False)]
    paths.failed(HOST, TLS, 0.0)
    assert choices(paths) == [(TLS, True), (DTLS, True)]
    paths.failed(HOST, TLS, 0.0)
    assert choices(paths) == [(DTLS, True), (TLS, True)]
    paths.failed(HOST, DTLS, 0.0)
    assert choices(paths) == [(TLS, True), (DTLS, True)]
    assert choices(paths, "192.0.2.8") == [(TLS, False), (DTLS, False)]


def test_a_link_that_was_only_slow_changes_nothing() -> None:
    paths = NarrowWays()
    paths.failed(HOST, TLS, 0.0)
    paths.widen(HOST)
    assert choices(paths) == [(TLS, False), (DTLS, False)]


def test_what_is_remembered_is_bounded() -> None:
    paths = NarrowWays()
    for number in range(2 * NARROW_HOSTS_MAX):
        paths.failed(f"10.0.{number >> 8}.{number & 255}", TLS, 0.0)
    assert len(paths._narrow) == NARROW_HOSTS_MAX
    assert paths.is_narrow(f"10.0.{(2 * NARROW_HOSTS_MAX - 1) >> 8}.255")


def test_after_a_while_large_packets_are_tried_again() -> None:
    """Ways change; one that was found narrow once more meanwhile is tried later."""
    paths = NarrowWays()
    paths.failed(HOST, TLS, 0.0)
    paths.failed("192.0.2.8", TLS, 10.0)
    paths.failed(HOST, TLS, 20.0)
    for now, narrow in ((600.0, [True, True]), (610.0, [True, False]), (620.0, [False, False])):
        paths.handle_timeout(now)
        assert [paths.is_narrow(host) for host in (HOST, "192.0.2.8")] == narrow
    assert paths.next_deadline() is None


def ping(overlay: SimulatedOverlay, here: Host, there: Host, size: int = 2 * HOLE_BYTES) -> Command:
    """A request, which by itself is too large for the hole."""
    route = [Destination.node(overlay.node(there).node_id)]
    large = PingReq(bytes(size))
    return ask(overlay, here, OverlayRequest(route, MessageCode.PING_REQ, large))


def is_answered(overlay: SimulatedOverlay, host: Host, handle: int) -> bool:
    done = overlay.done(host, handle)
    return done is not None and isinstance(done.result, Answer)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("asker", [0, 1], ids=["who was dialled", "who dialled"])
def test_a_large_message_arrives_after_all(asker: int, seed: int) -> None:
    """Two peers with nobody between them, linked over TLS; then their path is another. The request itself arrives."""
    overlay = grow(f"hole/{seed}", 2)
    overlay.world.run_for(20.0)
    here, there = (overlay.world.hosts[f"p{number}"] for number in (asker, 1 - asker))
    overlay.world.hole_bytes = HOLE_BYTES
    handle = ping(overlay, here, there)
    wait_until(overlay, RECOGNISED_S, lambda: is_answered(overlay, here, handle))
    # From now on nothing has to be found out again.
    handle = ping(overlay, here, there)
    wait_until(overlay, 1.0, lambda: is_answered(overlay, here, handle))


def narrow(overlay: SimulatedOverlay) -> list[str]:
    """Who takes some way for narrow, or accepts narrow links only."""
    hosts = [host for host in overlay.world.hosts.values() if host.is_alive]
    return [host.name for host in hosts if host.is_narrow or overlay.node(host)._paths._narrow.is_any_narrow]


def test_a_neighbours_power_cut_makes_nobody_narrow() -> None:
    """Small packets do not arrive there either, so it is not their size."""
    overlay = grow("power cut", 5)
    overlay.world.run_for(20.0)
    overlay.world.crash(overlay.world.hosts["p2"], is_silent=True)
    wait_until(overlay, 30.0, lambda: bool(narrow(overlay)))
    wait_until(overlay, 30.0, lambda: not narrow(overlay))
    overlay.world.run_for(60.0)
    assert narrow(overlay) == []


def test_a_way_that_was_narrow_is_wide_again_after_a_while() -> None:
    """Who found it narrow also accepts large packets again."""
    overlay = grow("mended", 2)
    overlay.world.run_for(20.0)
    overlay.world.hole_bytes = HOLE_BYTES
    here, there = (overlay.world.hosts[f"p{number}"] for number in range(2))
    handle = ping(overlay, here, there)
    wait_until(overlay, RECOGNISED_S, lambda: is_answered(overlay, here, handle))
    assert narrow(overlay) != []
    overlay.world.hole_bytes = None
    overlay.world.run_for(NARROW_S + 20.0)
    assert narrow(overlay) == []


@pytest.mark.parametrize("seed", range(3))
def test_where_only_large_datagrams_vanish_they_arrive_in_pieces(seed: int) -> None:
    """Two peers linked over DTLS, with so many small messages acknowledged that the link does not fail.

    It goes on with short datagrams. (Where large ones fill the window nothing is acknowledged, and the link fails.)
    """
    overlay = grow(f"datagrams/{seed}", 2, overlay_link_protocols=("DTLS",))
    overlay.world.run_for(20.0)
    here, there = (overlay.world.hosts[f"p{number}"] for number in range(2))
    overlay.world.hole_bytes = HOLE_BYTES
    before = [link.number for link in overlay.node(here).links()]
    large = ping(overlay, here, there, size=HOLE_BYTES - 50)
    small: list[int] = []

    def talk() -> bool:
        small.append(ping(overlay, here, there, size=10))
        return is_answered(overlay, here, large)

    wait_until(overlay, RECOGNISED_S, talk, step_s=0.05)
    assert [link.number for link in overlay.node(here).links()] == before
    wait_until(overlay, 1.0, lambda: all(is_answered(overlay, here, handle) for handle in small))
    handle = ping(overlay, here, there)
    wait_until(overlay, 1.0, lambda: is_answered(overlay, here, handle))


# Sites between which large packets vanish from the beginning

HOLE = replace(WAN, mtu_bytes=HOLE_BYTES, fragments=False, tells_too_big=False)
AUTHORITY = bytes(HOLE_BYTES)
"""With it a flight of the handshake is too large for the hole; without it the handshake passes."""


def two_sites(seed: object, links: tuple[OverlayLinkType, ...], authority: bytes = b"") -> InternetSites:
    world = InternetSites(f"sites/{seed}", link_types=links, authority=authority)
    world.internet.default_way = HOLE
    for number, user in enumerate(("alice", "bob")):
        world.line(world.add_public(number), user)
    return world


@pytest.mark.parametrize("authority", [b"", AUTHORITY], ids=["handshakes pass", "handshakes stall"])
@pytest.mark.parametrize("links", [(TLS,), (DTLS,), (TLS, DTLS)], ids=["TLS", "DTLS", "both"])
@pytest.mark.parametrize("seed", range(3))
def test_peers_join_store_and_carry_calls(seed: int, links: tuple[OverlayLinkType, ...], authority: bytes) -> None:
    """A handshake that stands still is begun anew with small packets; an INVITE that vanished goes the next way."""
    world = two_sites(seed, links, authority)
    world.settle(RECOGNISED_S)
    alice, bob = (world.phone(site, user) for site, user in zip(world.sites, ("alice", "bob"), strict=True))
    for caller, callee in ((alice, bob), (bob, alice)):
        number = caller.dial(callee.user)
        assert world.run(RECOGNISED_S, stop=lambda: alice.talks and bob.talks), caller.ended(number)
        caller.hang_up(number)
        assert world.run(RECOGNISED_S, stop=lambda: not alice.talks and not bob.talks)
    assert world.internet.counts["too big"] > 0


@pytest.mark.parametrize("forth", [True, False], ids=["to who asks", "to who is asked"])
@pytest.mark.parametrize("seed", range(3))
def test_large_packets_vanish_in_one_direction(seed: int, forth: bool) -> None:
    """Who dials may take its handshake for done where the other end has not heard the last of it."""
    world = two_sites(seed, (TLS,), AUTHORITY)
    world.internet.default_way = WAN
    world.settle()
    alice, bob = (world.phone(site, user) for site, user in zip(world.sites, ("alice", "bob"), strict=True))
    hill, valley = (site.isp for site in world.sites)
    world.internet.join(*((valley, hill) if forth else (hill, valley)), HOLE, WAN)
    alice.dial("bob")
    assert world.run(RECOGNISED_S, stop=lambda: alice.talks and bob.talks)
    assert world.internet.counts["too big"] > 0


@pytest.mark.parametrize("seed", range(3))
def test_a_call_into_a_connection_whose_way_has_become_narrow(seed: int) -> None:
    """The request itself is delivered; later ones lose no time."""
    world = two_sites(seed, (TLS, DTLS))
    world.internet.default_way = WAN
    world.settle()
    alice, bob = (world.phone(site, user) for site, user in zip(world.sites, ("alice", "bob"), strict=True))
    for within_s in (2.0, RECOGNISED_S, 2.0):
        number = bob.dial("alice")
        assert world.run(within_s, stop=lambda: alice.talks and bob.talks), bob.ended(number)
        bob.hang_up(number)
        assert world.run(2.0, stop=lambda: not alice.talks and not bob.talks)
        world.internet.default_way = HOLE
