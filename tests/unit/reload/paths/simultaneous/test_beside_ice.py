"""Streams that both ends open, among the other ways of a session (p2psip.reload.paths.paths)."""

from __future__ import annotations

import random

import pytest

from p2psip.base.address import Address
from p2psip.base.ids import NodeId
from p2psip.reload.paths.ice.candidate_addresses import Mapped
from p2psip.reload.paths.paths import Paths
from p2psip.reload.paths.simultaneous.outside_port import OutsidePorts
from p2psip.reload.paths.values import HangUp, Open, Opened, Purpose, Session
from p2psip.reload.wire.link_messages import NO_ICE, OverlayLinkType

STRANGER = NodeId(bytes([0x66]) * 16)
RELAY = Address("198.51.100.4", 6084)
HERE, THERE = "192.168.7.2", "10.0.0.2"
SEEN = {HERE: Address("203.0.113.9", 61001), THERE: Address("203.0.113.77", 62001)}
LINKS = (OverlayLinkType.DTLS_UDP_SR, OverlayLinkType.TLS_TCP_FH)


@pytest.fixture(autouse=True)
def seen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each end has a port for streams."""

    def mapped(ports: OutsidePorts, purpose: Purpose = Purpose.RELOAD) -> list[Mapped]:
        port = 50001 if purpose is Purpose.RELOAD else 50002
        return [Mapped(SEEN[host], Address(host, port), RELAY) for host in ports._relays]

    monkeypatch.setattr(OutsidePorts, "mapped", mapped)


def node(host: str, links: tuple[OverlayLinkType, ...] = LINKS) -> Paths:
    """One that knows a relay."""
    paths = Paths(random.Random(host), permitted=links)
    paths.whereabouts.able = NO_ICE
    calls = (Address(host, 5062),)
    ports = {Purpose.RELOAD: (Address(host, 6084),), Purpose.CALLS: calls, Purpose.SIP: calls}
    paths.use_addresses(ports, (), 0.0)
    paths.punching.outside.relay_lends(host, RELAY, 0.0)
    return paths


def begun() -> tuple[Paths, Session]:
    """One that has answered an Attach, and the session."""
    here, there = node(HERE), node(THERE)
    offered = there.whereabouts.offering(Purpose.RELOAD)
    answer = here.whereabouts.answering(Purpose.RELOAD, offered)
    session = Session(Purpose.RELOAD, here.whereabouts.dialable(Purpose.RELOAD, offered), answer, offered)
    here.connect(session, "context", 0.0)
    here.drain()
    return here, session


def opened(paths: Paths, until: float) -> list[Open]:
    """What is opened from the port until then."""
    found: list[Open] = []
    while (deadline := paths.next_deadline()) is not None and deadline.at <= until:
        paths.handle_timeout(deadline.at)
        found += [each for each in paths.drain() if isinstance(each, Open) and each.candidate.local is not None]
    return [each for each in found if each.candidate.address != RELAY]


def test_the_stream_is_opened_from_the_port_to_where_the_other_is_seen() -> None:
    paths, _ = begun()
    (wanted,) = opened(paths, 1.0)
    assert (wanted.candidate.address, wanted.candidate.local) == (SEEN[THERE], Address(HERE, 50001))
    assert not wanted.is_server
    assert wanted.protocol == b""


def test_a_direct_path_ends_what_is_being_opened() -> None:
    paths, session = begun()
    (wanted,) = opened(paths, 1.0)
    paths.punching.opens.end(session.local.ufrag)
    assert HangUp(wanted.path, "there is another path") in paths.drain()
    assert paths.down(wanted.path, "connection refused", 1.0) is None
    assert opened(paths, 30.0) == []


def test_what_comes_to_nothing_is_no_end_of_the_session() -> None:
    """It says so beside the pairs that ICE has tried, when these are done."""
    paths, session = begun()
    (wanted,) = opened(paths, 1.0)
    assert paths.down(wanted.path, "connection refused", 1.0) is None
    assert "context" in paths.contexts()
    assert [each.outcome for each in paths.punching.opens.reports(session.local.ufrag)] == ["connection refused"]


def test_calls_have_streams_as_links_have_and_an_overlay_may_have_none_at_all() -> None:
    """11.1: "overlay-link-protocol" says what links may run over. Calls are taken where SIP is."""
    for paths, purpose, count in (
        (node(HERE), Purpose.RELOAD, 2),
        (node(HERE), Purpose.CALLS, 2),
        (node(HERE, LINKS[:1]), Purpose.RELOAD, 0),
        (node(HERE, LINKS[:1]), Purpose.CALLS, 0),
    ):
        said = paths.whereabouts.offering(purpose).candidates
        assert sum(each.overlay_link is OverlayLinkType.TLS_TCP_FH for each in said) == count


def test_whoever_else_is_at_the_other_end_ends_nothing() -> None:
    """A relay has said an address of its own, and shows the certificate of another member: ICE goes on."""
    paths, session = begun()
    (wanted,) = opened(paths, 1.0)
    paths.handle(Opened(wanted.path, Address(HERE, 50001)), 1.0)
    paths.up(wanted.path)
    assert paths.end_search(Purpose.RELOAD, (STRANGER,), wanted.path) is None
    assert paths.refuse(wanted.path, "it is another", 1.0)
    assert paths.punching.is_looking(session)
    assert paths.next_deadline() is not None
