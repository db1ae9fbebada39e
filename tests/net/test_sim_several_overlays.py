"""One site in two overlays, in virtual time: its phones are reached by, and reach, the lines of both."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from p2psip.coupling.gruu import make_gruu
from p2psip.reload.wire.header import Destination
from p2psip.sim.sites.site import Site, SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sip.entities.agents.types import CallEnded, IncomingCall
from p2psip.sip.entities.handling.call_handling import CallHandling
from p2psip.sip.entities.numbers.dial_plan import DialPlan, Rule
from p2psip.sip.entities.numbers.numbering import Emergency, Numbering
from p2psip.sip.entities.overlays.other_overlays import OtherOverlays, OverlayRule

CLUB, MESH = "sim.example", "mesh.example"
FIRST_OF_MESH = 100
HILL, BESIDE, FAR = 1, FIRST_OF_MESH + 1, FIRST_OF_MESH + 2
"""The peers of the site, one in each overlay, and one of the other overlay somewhere else."""


@dataclass
class TwoOverlays:
    """Each with a bootstrap node and one peer more; and the site, which is in both."""

    club: SimulatedPeers
    mesh: SimulatedPeers

    @property
    def hill(self) -> Site:
        return self.club[HILL]

    @property
    def beside(self) -> Site:
        return self.mesh[BESIDE]

    def run(self, seconds: float) -> None:
        self.club.run(seconds)

    def phone(self, number: int, user: str, which: int = 0, answer_s: float | None = 0.5) -> SitePhone:
        """With a line in the overlay of its peer."""
        peers = self.mesh if number >= FIRST_OF_MESH else self.club
        peers.line(number, user)
        peers.settle_records([number])
        return peers.phone(number, user, which, answer_s=answer_s)

    def cut_off(self, peers: SimulatedPeers) -> None:
        """All peers of an overlay die but that of the site."""
        for site in peers.sites.values():
            if site not in (self.hill, self.beside):
                self.club.world.crash(site.host)


def two_overlays(
    seed: int = 1,
    rules: tuple[OverlayRule, ...] = (),
    order: tuple[str, ...] = (CLUB, MESH),
    numbering: Numbering | None = None,
    theirs: Numbering | None = None,
    missing: str = "",
) -> TwoOverlays:
    """Of the overlay that is `missing` no peer is there but that of the site, which waits for one."""
    club = SimulatedPeers(seed, 1)
    mesh = SimulatedPeers(f"{seed} mesh", 1, world=club.world, first=FIRST_OF_MESH, instance_name=MESH)
    for peers in (club, mesh):
        if peers.overlay == missing:
            club.world.crash(peers[peers.first].host)
    hill = club.add(HILL, numbering=numbering, overlays=OtherOverlays(CLUB, {MESH: MESH}, rules, order))
    beside = mesh.add(BESIDE, numbering=theirs, overlays=OtherOverlays(MESH, {CLUB: CLUB}, phones_at=CLUB))
    hill.beside[MESH], beside.beside[CLUB] = beside, hill
    if missing != MESH:
        mesh.add(FAR)
    made = TwoOverlays(club, mesh)
    awaited = [site for peers in (club, mesh) if peers.overlay != missing for site in peers.sites.values()]
    assert club.run(60.0, stop=lambda: all(site.peer.node.is_serving for site in awaited))
    return made


def caller(phone: SitePhone) -> str:
    """Who called last, as the phone shows it."""
    shown = phone.of(IncomingCall)[-1]
    assert isinstance(shown, IncomingCall)
    return str(shown.caller.uri)


def status(phone: SitePhone, call: int) -> int | None:
    """With what a call of it ended."""
    return next((e.reason.status for e in phone.of(CallEnded) if isinstance(e, CallEnded) and e.call == call), None)


def test_a_phone_calls_by_the_domain_and_is_called_back() -> None:
    site = two_overlays()
    alice, carol = site.phone(HILL, "alice"), site.phone(FAR, "carol")
    site.mesh.line(BESIDE, "alice")
    site.mesh.settle_records([BESIDE])
    call = alice.dial(f"sip:carol@{MESH}")
    site.run(3.0)
    assert (alice.talks, carol.talks) == (True, True), alice.ended(call)
    alice.hang_up(call)
    site.run(2.0)
    assert not carol.talks
    back = carol.dial("alice")
    site.run(3.0)
    assert (carol.talks, alice.talks) == (True, True), carol.ended(back)
    assert caller(alice) == f"sip:carol@{MESH}"
    # Also who is called may say goodbye, in a dialog that leads through both overlays.
    alice.hang_up(next(iter(alice.agent.calls)))
    site.run(2.0)
    assert not carol.talks


def test_who_has_a_line_in_both_calls_by_that_of_the_overlay_that_is_asked() -> None:
    site = two_overlays()
    alice, carol = site.phone(HILL, "alice"), site.phone(FAR, "carol")
    alice.dial(f"sip:carol@{MESH}")
    site.run(3.0)
    shown = carol.of(IncomingCall)[-1].caller  # type: ignore[attr-defined]
    assert shown.display_name == f"Not verified: alice@{CLUB}", "nobody in the other overlay can know her"
    site.mesh.line(BESIDE, "alice")
    site.mesh.settle_records([BESIDE])
    alice.dial(f"sip:carol@{MESH}")
    site.run(3.0)
    shown = carol.of(IncomingCall)[-1].caller  # type: ignore[attr-defined]
    assert "Not verified" not in shown.display_name
    assert (shown.sip_uri.user_name, shown.sip_uri.host) == ("alice", carol.server.host)


def test_a_name_that_nobody_has_here_is_asked_of_the_other_overlay() -> None:
    site = two_overlays()
    alice, carol = site.phone(HILL, "alice"), site.phone(FAR, "carol")
    call = alice.dial("carol")
    site.run(3.0)
    assert (alice.talks, carol.talks) == (True, True), alice.ended(call)
    nobody = alice.dial("nobody")
    site.run(10.0)
    assert status(alice, nobody) == 404, alice.ended(nobody)


def test_only_the_overlays_of_the_default_are_asked() -> None:
    site = two_overlays(order=(CLUB,))
    alice, carol = site.phone(HILL, "alice"), site.phone(FAR, "carol")
    call = alice.dial("carol")
    site.run(5.0)
    assert (status(alice, call), carol.rang) == (404, 0)
    alice.dial(f"sip:carol@{MESH}")
    site.run(3.0)
    assert carol.talks


@pytest.mark.parametrize("order", [(CLUB, MESH), (MESH, CLUB)], ids=["ours first", "the other first"])
def test_of_two_of_one_name_the_first_in_order_is_called_and_no_other(order: tuple[str, ...]) -> None:
    site = two_overlays(order=order)
    alice, ours, theirs = site.phone(HILL, "alice"), site.phone(0, "dave"), site.phone(FAR, "dave")
    alice.dial("dave")
    site.run(3.0)
    assert (ours.talks, theirs.talks) == (order[0] == CLUB, order[0] == MESH)
    assert ours.rang + theirs.rang == 1


def test_who_says_which_overlay_he_means_is_not_led_elsewhere() -> None:
    site = two_overlays(order=(MESH, CLUB))
    alice, ours, theirs = site.phone(HILL, "alice"), site.phone(0, "dave"), site.phone(FAR, "dave")
    alice.dial(f"sip:dave@{CLUB}")
    site.run(3.0)
    assert (ours.talks, theirs.rang) == (True, 0)


@pytest.mark.parametrize("order", [(CLUB, MESH), (MESH, CLUB)], ids=["ours first", "the other first"])
def test_who_is_away_is_not_sought_under_the_same_name_elsewhere(order: tuple[str, ...]) -> None:
    site = two_overlays(order=order)
    alice = site.phone(HILL, "alice")
    first, second = ((site.club, 0), (site.mesh, FAR)) if order[0] == CLUB else ((site.mesh, FAR), (site.club, 0))
    first[0].line(first[1], "dave")
    first[0].settle_records([first[1]])
    other = site.phone(second[1], "dave")
    call = alice.dial("dave")
    site.run(10.0)
    assert (status(alice, call), other.rang) == (480, 0), alice.ended(call)


def test_a_rule_says_who_is_asked_first_and_goes_before_the_default() -> None:
    rules = (
        OverlayRule(Rule("7XX", "rule 1"), (MESH,)),
        OverlayRule(Rule("7.", "rule 2"), (CLUB,)),
        OverlayRule(Rule("da.", "rule 3"), (MESH, CLUB)),
    )
    site = two_overlays(rules=rules, order=(CLUB,))
    alice = site.phone(HILL, "alice")
    ours = [site.phone(0, user, which) for which, user in enumerate(("712", "7123", "dave"))]
    theirs = [site.phone(FAR, user, which) for which, user in enumerate(("712", "dave"))]
    for user, rings in (("712", theirs[0]), ("7123", ours[1]), ("dave", theirs[1])):
        call = alice.dial(user)
        site.run(3.0)
        assert rings.talks, (user, alice.ended(call))
        alice.hang_up(call)
        site.run(1.0)
    assert sum(phone.rang for phone in (*ours, *theirs)) == 3


def test_the_next_is_asked_where_the_site_is_not_in_the_first_overlay() -> None:
    site = two_overlays(order=(MESH, CLUB), missing=MESH)
    alice, dave = site.phone(HILL, "alice"), site.phone(0, "dave")
    assert not site.beside.peer.node.is_connected
    began = site.club.world.now
    call = alice.dial("dave")
    site.run(3.0)
    assert dave.talks, alice.ended(call)
    assert alice.established_after(call, began) == pytest.approx(0.7, abs=0.3)
    carol = alice.dial(f"sip:carol@{MESH}")
    site.run(3.0)
    assert f"this site is not in the overlay {MESH} now" in str(alice.ended(carol))


def test_the_other_overlay_is_called_and_calls_where_the_site_is_not_in_its_own() -> None:
    site = two_overlays(missing=CLUB)
    site.club.line(HILL, "alice")
    alice, carol = site.club.phone(HILL, "alice"), site.phone(FAR, "carol")
    site.mesh.line(BESIDE, "alice")
    site.mesh.settle_records([BESIDE])
    assert not site.hill.peer.node.is_connected
    call = alice.dial("carol")
    site.run(3.0)
    assert carol.talks, alice.ended(call)
    alice.hang_up(call)
    site.run(1.0)
    back = carol.dial("alice")
    site.run(3.0)
    assert alice.talks, carol.ended(back)


@pytest.mark.parametrize("order", [(CLUB, MESH), (MESH, CLUB)], ids=["ours first", "the other first"])
def test_an_overlay_of_which_the_site_alone_is_left_is_passed_over(order: tuple[str, ...]) -> None:
    site = two_overlays(order=order)
    dying, living = (site.club, site.mesh) if order[0] == CLUB else (site.mesh, site.club)
    alice, dave = site.phone(HILL, "alice"), site.phone(0 if living is site.club else FAR, "dave")
    site.cut_off(dying)
    site.run(60.0)
    call = alice.dial("dave")
    site.run(8.0)
    assert dave.talks, alice.ended(call)


def test_a_peer_that_has_ended_is_answered_for_at_once() -> None:
    site = two_overlays(order=(MESH, CLUB))
    alice, bob = site.phone(HILL, "alice"), site.phone(0, "bob")
    site.hill.call(lambda now: site.hill.peer.overlay_ended(MESH, f"the certificate for {MESH} is revoked", now))
    call = alice.dial(f"sip:carol@{MESH}")
    site.run(1.0)
    assert "is revoked" in str(alice.ended(call))
    alice.dial("bob")
    site.run(3.0)
    assert bob.talks


def test_what_the_owner_of_the_phones_wants_holds_for_calls_from_the_other_overlay() -> None:
    site = two_overlays()
    alice, bob, carol = site.phone(HILL, "alice"), site.phone(0, "bob"), site.phone(FAR, "carol")
    site.mesh.line(BESIDE, "alice")
    site.mesh.settle_records([BESIDE])
    site.hill.call(lambda now: site.hill.peer.handle_calls("alice", CallHandling(always="bob"), now))
    carol.dial("alice")
    site.run(5.0)
    assert (bob.talks, alice.rang) == (True, 0)


def test_a_line_that_is_in_the_other_overlay_alone_rings_nowhere_here() -> None:
    site = two_overlays()
    carol = site.phone(FAR, "carol")
    site.mesh.line(BESIDE, "erin")
    site.mesh.settle_records([BESIDE])
    call = carol.dial("erin")
    site.run(10.0)
    assert status(carol, call) == 480


def test_a_call_is_cancelled_across() -> None:
    site = two_overlays()
    alice, carol = site.phone(HILL, "alice"), site.phone(FAR, "carol", answer_s=None)
    call = alice.dial("carol")
    site.run(3.0)
    assert carol.rang == 1
    alice.hang_up(call)
    site.run(3.0)
    assert carol.of(CallEnded)
    assert not carol.agent.calls


def test_nothing_is_carried_from_one_overlay_to_the_other_for_others() -> None:
    """A peer of the one calls somebody of the other by this site, which has a line of neither."""
    site = two_overlays()
    bob, carol = site.phone(0, "bob"), site.phone(FAR, "carol")
    bob.dial(str(make_gruu("carol", CLUB, (Destination.node(site.hill.peer.node.node_id),))))
    site.run(10.0)
    assert (carol.rang, bob.talks) == (0, False)


def test_whom_another_peer_calls_here_is_called_here_whatever_the_rules() -> None:
    site = two_overlays(order=(MESH, CLUB))
    alice, bob, namesake = site.phone(HILL, "alice"), site.phone(0, "bob"), site.phone(FAR, "alice")
    bob.dial("alice")
    site.run(3.0)
    assert (alice.talks, namesake.rang) == (True, 0)


def test_what_is_called_in_the_other_overlay_has_been_dialled_there() -> None:
    """Our dial plan is for what our phones dial."""
    numbering = Numbering(plan=DialPlan((Rule("42", "rule 1", to="bob"),)))
    site = two_overlays(numbering=numbering)
    number, bob, carol = site.phone(HILL, "42"), site.phone(0, "bob"), site.phone(FAR, "carol")
    site.mesh.line(BESIDE, "42")
    site.mesh.settle_records([BESIDE])
    carol.dial("42")
    site.run(3.0)
    assert (number.talks, bob.rang) == (True, 0)


def test_numbers_of_the_other_overlay_are_for_who_has_a_line_there() -> None:
    """A stranger reaches users, and nothing that costs, or does something."""
    site = two_overlays(theirs=Numbering(plan=DialPlan((Rule("42", "rule 1", to="carol"),))))
    alice, carol = site.phone(HILL, "alice"), site.phone(FAR, "carol")
    call = alice.dial(f"sip:42@{MESH}")
    site.run(3.0)
    assert (status(alice, call), carol.rang) == (404, 0)
    site.mesh.line(BESIDE, "alice")
    site.mesh.settle_records([BESIDE])
    alice.dial(f"sip:42@{MESH}")
    site.run(3.0)
    assert carol.talks


def test_who_has_a_line_in_the_other_overlay_alone_registers_there_and_calls_both() -> None:
    site = two_overlays()
    erin, alice, bob = site.phone(BESIDE, "erin"), site.phone(HILL, "alice"), site.phone(0, "bob")
    for dialled, callee in ((f"sip:alice@{CLUB}", alice), (f"sip:bob@{CLUB}", bob)):
        call = erin.dial(dialled)
        site.run(3.0)
        assert callee.talks, erin.ended(call)
        erin.hang_up(call)
        site.run(1.0)
    call = erin.dial("bob")
    site.run(3.0)
    assert status(erin, call) == 404
    alice.dial("erin")
    site.run(3.0)
    assert (erin.talks, erin.rang) == (True, 1)


@pytest.mark.parametrize("responders", [("desk",), ()], ids=["somebody answers here", "nobody does"])
def test_no_rule_takes_an_emergency_elsewhere(responders: tuple[str, ...]) -> None:
    rules = (OverlayRule(Rule("1.", "rule 1"), (MESH,)),)
    site = two_overlays(rules=rules, numbering=Numbering(emergency=Emergency(frozenset({"112"}), responders)))
    alice, desk, theirs = site.phone(HILL, "alice"), site.phone(0, "desk"), site.phone(FAR, "112")
    alice.dial("112")
    site.run(3.0)
    assert (desk.talks, theirs.rang) == (bool(responders), 0)
