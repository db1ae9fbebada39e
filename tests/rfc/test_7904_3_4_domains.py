"""RFC 7904 section 3.4: an overlay with several domains, whose users of one name are different users.

"The use of a SIP-enabled overlay MAY be restricted to users with AORs from specific domains": those are its domains.
"""

from __future__ import annotations

import pytest

from p2psip.coupling.enquiries.lookup import LookedUp
from p2psip.reload.config.configuration import DomainRestriction
from p2psip.sim.sites.making import OVERLAY
from p2psip.sim.sites.site import SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sip.entities.agents.types import CallEstablished, IncomingCall
from p2psip.sip.entities.handling.call_handling import CallHandling
from p2psip.sip.entities.numbers.dial_plan import DialPlan, Rule
from p2psip.sip.entities.numbers.numbering import Numbering

FURTHER = "club-b.example"
DOMAINS = DomainRestriction(True, (r"sim\.example", r"club-b\.example"))
ALICE, NAMESAKE = "alice", f"alice@{FURTHER}"


@pytest.fixture
def world() -> SimulatedPeers:
    """42 is the alice of the further domain, by everybody's dial plan."""
    numbering = Numbering(plan=DialPlan((Rule("42", "", to=NAMESAKE),)))
    return SimulatedPeers("domains", 3, domain_restriction=DOMAINS, numbering=numbering)


def namesake_at(world: SimulatedPeers, number: int) -> SitePhone:
    """The phone of alice of the further domain: set to that domain, its peer the outbound proxy."""
    world.line(number, NAMESAKE)
    world.settle_records([number])
    return world.phone(number, ALICE, 7, domain=FURTHER, password=f"phone of {NAMESAKE}")


def calls(world: SimulatedPeers, caller: SitePhone, target: str, callee: SitePhone) -> str:
    """Has one call another; how the callee is shown who calls."""
    before, rang = len(caller.of(CallEstablished)), callee.rang
    call = caller.dial(target)
    assert world.run(10.0, stop=lambda: len(caller.of(CallEstablished)) > before), caller.ended(call)
    assert callee.rang == rang + 1
    world.run(1.0)
    caller.hang_up(call)
    world.run(2.0)
    return str(callee.of(IncomingCall)[-1].caller.uri)  # type: ignore[attr-defined]


@pytest.mark.parametrize("place", [0, 1, 2], ids=["beside her namesake", "elsewhere", "beside who calls"])
def test_3_4_two_users_of_one_name_are_called_each_by_her_own(world: SimulatedPeers, place: int) -> None:
    alice, bob = world.with_phones((0, ALICE), (2, "bob"))
    namesake = namesake_at(world, place)
    calls(world, bob, f"sip:{NAMESAKE}", namesake)
    calls(world, bob, ALICE, alice)
    calls(world, bob, "42", namesake)
    # bob is shown whom he can call back with nothing but what his phone is set to.
    shown = calls(world, namesake, f"sip:bob@{OVERLAY}", bob)
    assert shown == f"sip:alice%40{FURTHER}@{bob.server.host}"
    calls(world, bob, shown, namesake)
    # And alice calls her namesake.
    shown = calls(world, alice, f"sip:{NAMESAKE}", namesake)
    assert shown == f"sip:alice@{namesake.server.host}" or "alice" in shown
    calls(world, namesake, f"sip:alice@{OVERLAY}", alice)


def test_each_is_proved_by_her_own_certificate(world: SimulatedPeers) -> None:
    (bob,) = world.with_phones((2, "bob"))
    namesake = namesake_at(world, 1)
    calls(world, namesake, f"sip:bob@{OVERLAY}", bob)
    caller = bob.of(IncomingCall)[-1].caller  # type: ignore[attr-defined]
    assert "Not verified" not in str(caller)
    (carried,) = world[2].carried()
    assert carried.caller == "verified" or "not" not in str(carried.caller).lower()


def test_the_password_of_one_is_not_that_of_the_other(world: SimulatedPeers) -> None:
    world.line(0, ALICE)
    world.line(0, NAMESAKE)
    world.settle_records([0])
    phone = SitePhone(world[0], ALICE, 7, domain=FURTHER, password=f"phone of {ALICE}").register()
    world.run(2.0)
    assert not phone.is_registered
    assert "403" in phone.refusal
    assert world[0].peer.server.users() == []


def test_forwarding_leads_from_one_domain_to_the_other_and_back(world: SimulatedPeers) -> None:
    alice, bob = world.with_phones((0, ALICE), (2, "bob"))
    namesake = namesake_at(world, 1)
    peer = world[1].peer
    world[1].call(lambda now: peer.handle_calls(NAMESAKE, CallHandling(always="alice"), now))
    world.run(5.0)
    calls(world, bob, f"sip:{NAMESAKE}", alice)
    world[1].call(lambda now: peer.handle_calls(NAMESAKE, CallHandling(), now))
    other = world[0].peer
    world[0].call(lambda now: other.handle_calls(ALICE, CallHandling(busy=NAMESAKE, do_not_disturb=True), now))
    world.run(5.0)
    calls(world, bob, ALICE, namesake)


def test_registrations_of_both_outlive_a_restart(world: SimulatedPeers) -> None:
    (bob,) = world.with_phones((2, "bob"))
    world.with_phones((1, ALICE))
    namesake = namesake_at(world, 1)
    world.restart(1)
    assert set(world[1].peer.server.users()) == {ALICE, NAMESAKE}
    calls(world, bob, f"sip:{NAMESAKE}", namesake)


def test_what_is_looked_up_is_the_aor(world: SimulatedPeers) -> None:
    world.with_phones((0, ALICE))
    namesake_at(world, 1)
    context = object()
    site = world[2]
    site.call(lambda now: site.peer.look_up(NAMESAKE, context, now))
    world.run(5.0)
    (found,) = [event for event in site.host.events if isinstance(event, LookedUp)]
    assert found.registrations is not None
    assert [entry.target.peer for entry in found.registrations.entries] == [world[1].peer.node.node_id]  # type: ignore[union-attr]
