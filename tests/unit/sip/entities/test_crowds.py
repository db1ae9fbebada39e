"""How many connections one user may have, and which of them go (docs/operating.md, `too many SIP connections`)."""

from __future__ import annotations

from typing import Any

import pytest

from p2psip.base.address import Address
from p2psip.sip.entities.calls import Calls
from p2psip.sip.transports.flow_table import TransportLimits
from p2psip.sip.transports.hops import FlowHop, UdpHop

LIMITS = TransportLimits(flows_per_user=4)


@pytest.fixture
def site(world: Any) -> Any:
    """A peer with bob's phone."""
    one = world.server("one", "10.1.0.1", transport_limits=LIMITS)
    world.phone("bob", one, Address("10.1.0.12", 5060)).register()
    return one


def connections(world: Any, site: Any, count: int) -> list[Any]:
    """So many of mallory's, from four addresses, over which he has proved himself; the eldest first."""
    phones = []
    for number in range(count):
        phone = world.phone("mallory", site, Address(f"10.1.1.{number % 4}", 6000 + 2 * number), "TCP")
        phone.ask(phone.message("bob"))
        # An answered request is remembered for a while, and its connection with it.
        world.run(60.0)
        phones.append(phone)
    return phones


def open_ones(phones: list[Any]) -> list[int]:
    return [number for number, phone in enumerate(phones) if phone.flows]


def test_who_has_a_password_has_so_many_connections_and_no_more(world: Any, site: Any) -> None:
    """From however many addresses: the newest stay."""
    phones = connections(world, site, 9)
    assert open_ones(phones) == [5, 6, 7, 8]
    outcomes = [note.facts["outcome"] for note in site.notes if note.event == "too many SIP connections"]
    assert outcomes == ["ended"] * 5


def test_one_user_takes_nothing_from_another(world: Any, site: Any) -> None:
    world.phone("carol", site, Address("10.1.0.13", 5060), "TCP").register()
    phones = connections(world, site, 9)
    assert len(site.core.bindings("carol", world.now)) == 1
    assert len(open_ones(phones)) == 4


def test_what_has_registered_or_is_in_a_call_or_waits_keeps_its_place(world: Any, site: Any) -> None:
    registered, calling, waiting, idle = connections(world, site, 4)
    registered.register()
    call = calling.invite("bob")
    world.run(5.0)
    assert call.is_up
    world.phone("dave", site, Address("10.1.0.14", 5060), answers_after_s=None).register()
    waiting.invite("dave")
    world.run(1.0)
    more = [world.phone("mallory", site, Address("10.1.2.1", 7000 + 2 * number), "TCP") for number in range(5)]
    for phone in more:
        phone.ask(phone.message("bob"))
    assert open_ones([registered, calling, waiting, idle, *more]) == [0, 1, 2, 8]
    calling.hang_up(call)
    world.run(60.0)
    more.append(world.phone("mallory", site, Address("10.1.2.1", 7900), "TCP"))
    more[-1].ask(more[-1].message("bob"))
    assert open_ones([registered, calling, waiting, idle, *more]) == [0, 2, 8, 9]


def test_a_call_that_goes_on_over_another_connection_needs_that(world: Any, site: Any) -> None:
    """The phone has connected anew, and says so in the call (RFC 3311)."""
    (calling,) = connections(world, site, 1)
    call = calling.invite("bob")
    world.run(5.0)
    world.cut(next(iter(calling.flows.values())))
    calling.send(calling.in_dialog(call, "UPDATE"))
    world.run(1.0)
    (flow,) = calling.flows.values()
    assert site.core._calls.is_on(flow.other.number)


def test_where_all_are_needed_the_newest_goes(world: Any, site: Any) -> None:
    phones = connections(world, site, 4)
    for phone in phones:
        phone.register()
    newest = world.phone("mallory", site, Address("10.1.2.1", 7000), "TCP")
    assert newest.register().status == 200
    world.run(1.0)
    assert open_ones([*phones, newest]) == [0, 1, 2, 3]
    lost = next(one for one in site.core.bindings("mallory", world.now) if one.contact.port == 7000)
    assert not [hop for hop in lost.hops if isinstance(hop, FlowHop)]


def test_calls_are_known_by_their_call_id_and_bounded() -> None:
    calls = Calls(2)
    calls.begin("a", (FlowHop(1), FlowHop(2)))
    calls.begin("a", (FlowHop(1), None))
    calls.begin("b", (FlowHop(1), UdpHop(Address("10.1.0.12", 5060))))
    calls.end("a")
    assert [calls.is_on(flow) for flow in (1, 2)] == [True, False]
    calls.end("b")
    calls.end("b")
    assert not calls.is_on(1)
    for number, call_id in enumerate("cde"):
        calls.begin(call_id, (FlowHop(number),))
    assert [calls.is_on(number) for number in range(3)] == [False, True, True]
