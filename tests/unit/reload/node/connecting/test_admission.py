"""Who is at the other end of each link, and for how long (p2psip.reload.node.connecting.linked_members)."""

from __future__ import annotations

from dataclasses import replace

import pytest

from p2psip.base.address import Address
from p2psip.base.wallclock import WallClock
from p2psip.reload.node.connecting.linked_members import GRACE_S, LinkedMembers
from p2psip.reload.node.effects import AppLinkDown, AppLinkUp, LinkUp
from p2psip.reload.paths.values import HangUp
from p2psip.reload.security.errors import UntrustedCertificate
from p2psip.reload.security.roles import Signer
from p2psip.reload.wire.common import SignatureAlgorithm
from p2psip.reload.wire.header import Destination
from p2psip.sim.certified import CertifiedOverlay, enrolled, ring_id
from p2psip.sim.invariants import chord_of
from p2psip.sim.membership import DATE, OVERLAY, Club
from p2psip.sim.simulated_overlay import PORT, SIP_PORT

WALL = WallClock(DATE)
ECDSA = SignatureAlgorithm.ECDSA
DAY_S = 86400.0


def test_a_link_is_looked_at_when_its_certificate_has_ended() -> None:
    """Then, and not before; the reason is the verifier's own."""
    club = Club.of()
    admission = LinkedMembers(club.verifier, WALL)
    member = admission.check([club.certificate(ends=DATE + 100.0)], 0.0)
    admission.enter(1, member.node_ids[0], member, 0.0)
    deadline = admission.next_deadline()
    assert deadline is not None
    assert deadline.at == 100.0 + GRACE_S
    assert admission.handle_timeout(99.0) == []
    ((number, reason),) = admission.handle_timeout(deadline.at)
    assert number == 1
    assert "expired on 2027-01-15" in reason
    assert "the clock here says" in reason


def test_a_renewed_certificate_takes_the_place_of_the_old_one() -> None:
    """What the other end has shown last counts; what others show does not."""
    club = Club.of()
    admission = LinkedMembers(club.verifier, WALL)
    old, new = (admission.check([club.certificate(ends=DATE + ends)], 0.0) for ends in (100.0, 300.0))
    node = old.node_ids[0]
    admission.enter(1, node, old, 0.0)
    admission.heard(1, Signer(ring_id(7), new), 50.0, attaches=False)
    assert admission.member(1) == old
    admission.heard(1, Signer(node, new), 50.0, attaches=False)
    assert admission.handle_timeout(200.0) == []
    assert [number for number, _ in admission.handle_timeout(301.0)] == [1]
    admission.forget(1)
    assert (len(admission), admission.next_deadline()) == (0, None)


def test_without_a_trusted_date_nothing_runs_out() -> None:
    """ "An untrusted date is held against nobody." """
    club = Club.of()
    admission = LinkedMembers(club.verifier, WallClock(DATE, is_trusted=False))
    member = admission.check([club.certificate(ends=DATE + 100.0)], 0.0)
    admission.enter(1, member.node_ids[0], member, 0.0)
    assert admission.next_deadline() is None
    assert admission.review(1000.0) == []
    admission.wall = WALL
    assert [number for number, _ in admission.review(1000.0)] == [1]


def test_a_new_configuration_is_held_against_links_that_are_up() -> None:
    """And one that cannot be used changes nothing."""
    club = Club.of()
    verifier = club.verifier
    admission = LinkedMembers(verifier, WALL)
    member = admission.check([club.certificate()], 0.0)
    admission.enter(1, member.node_ids[0], member, 0.0)
    with pytest.raises(UntrustedCertificate):
        verifier.use_configuration(replace(club.configuration, root_certs=(b"no certificate",)))
    assert admission.review(1.0) == []
    verifier.use_configuration(replace(club.configuration, bad_nodes=frozenset(member.node_ids)))
    ((_, reason),) = admission.review(1.0)
    assert "bad node" in reason


def test_revocation_is_told_for_each_certificate() -> None:
    """Cheaply, for stored values; one bad Node-ID of several spoils a certificate."""
    club = Club.of()
    good, bad = club.certificate(node_ids=[ring_id(1)]), club.certificate(node_ids=[ring_id(2), ring_id(3)])
    verifier = club.verifier
    assert not verifier.revokes_some
    verifier.use_configuration(replace(club.configuration, bad_nodes=frozenset([ring_id(3)])))
    assert verifier.revokes_some
    assert [verifier.revokes(der) for der in (good, bad, bad, b"none")] == [False, True, True, False]


def test_a_link_whose_certificate_ends_is_closed_and_a_renewal_keeps_it() -> None:
    """Three peers; one renews before its certificate ends, one does not: the one stays, without a new link."""
    club = Club.of()
    short = {1: DATE + 2000.0, 2: DATE + 2000.0}
    overlay = CertifiedOverlay(
        club,
        "renewal",
        identity_of=lambda number: enrolled(club, number, ECDSA, ends=short.get(number, DATE + DAY_S)),
        chord_update_interval_s=400,
    )
    overlay.grow(3)
    p0, p1, p2 = (overlay.world.hosts[name] for name in ("p0", "p1", "p2"))
    overlay.world.run_for(100.0)
    links_before = {link.number for link in overlay.node(p0).links(ring_id(1))}
    overlay.world.call(p1, lambda now: overlay.node(p1).use_identity(enrolled(club, 1, ECDSA, ends=DATE + DAY_S), now))
    overlay.world.run_for(1800.0)
    assert overlay.node(p0).is_linked(ring_id(2))
    overlay.world.run_for(300.0)
    assert not overlay.node(p0).is_linked(ring_id(2))
    assert {link.number for link in overlay.node(p0).links(ring_id(1))} == links_before
    assert chord_of(overlay.node(p0)).table.successors == (ring_id(1),)
    assert p2.is_alive


def test_a_sip_connection_of_a_bad_node_is_hung_up() -> None:
    """The layer above is told."""
    club = Club.of()
    overlay = CertifiedOverlay(club, "sip")
    overlay.grow(2)
    p0 = overlay.world.hosts["p0"]
    node = overlay.node(p0)
    overlay.world.call(p0, lambda now: node.app_attach([Destination.node(ring_id(1))], ring_id(1), now))
    overlay.world.run_for(2.0)
    (up,) = [event for event in p0.events if isinstance(event, AppLinkUp)]
    changed = replace(node.configuration, bad_nodes=frozenset([ring_id(1)]))
    overlay.world.call(p0, lambda now: node.use_trust(changed, now))
    (down,) = [event for event in p0.events if isinstance(event, AppLinkDown)]
    assert down.link == up.link
    assert up.link not in p0.links
    assert len(node._admission) == 0


def test_the_purpose_of_a_link_does_not_matter_for_who_may_have_it() -> None:
    """A bad node gets neither an overlay link nor a SIP connection."""
    club = Club.of(bad_nodes=frozenset([ring_id(5)]))
    overlay = CertifiedOverlay(club, "refused")
    overlay.grow(1)
    node, certificate = overlay.node(overlay.world.hosts["p0"]), club.certificate(f"x@{OVERLAY}", [ring_id(5)])
    for number, port in ((101, PORT), (103, SIP_PORT)):
        ends = Address("10.9.9.9", 1), Address("10.0.0.0", port)
        node.handle_link_up(LinkUp(number, (certificate,), *ends), 1.0)
        assert any(isinstance(effect, HangUp) and "bad node" in effect.reason for effect in node.drain())
