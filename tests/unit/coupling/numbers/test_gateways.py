"""Gateways of an overlay in virtual time: announced while they can call, chosen, and left for the next one."""

from __future__ import annotations

from dataclasses import replace

import pytest
from gateway_peers import TRUNK, Provider, overlay

from p2psip.coupling.numbers.gateways import GatewaysKnown
from p2psip.reload.config.calls_by import CallsBy
from p2psip.reload.config.configuration import ServicePermission
from p2psip.reload.node.choosing.service_chooser import FAILED_S, FRESH_S
from p2psip.reload.node.service_discovery import LOAD_AGAIN_S
from p2psip.reload.usages.sip_registration import canonical_aor, resource_id
from p2psip.sim.sites.making import OVERLAY
from p2psip.sim.sites.site import SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sip.entities.callers.passport import Party
from p2psip.sip.entities.handling.call_handling import CallHandling
from p2psip.sip.entities.questions import SignClaims, Signed
from p2psip.sip.message.message import Request
from p2psip.sip.transactions.events import RequestArrived


def call(world: SimulatedPeers, alice: SitePhone, number: str = "0049123", limit_s: float = 30.0) -> tuple[str, float]:
    began = world.world.now
    which = alice.dial(number)
    world.run(limit_s, stop=lambda: alice.ended(which) is not None or alice.talks)
    took_s = world.world.now - began
    said = alice.ended(which) or "talks"
    if alice.talks:
        alice.hang_up(which)
        world.run(2.0)
    return said, took_s


def test_the_longest_prefix_comes_first_then_the_preference() -> None:
    far, near, best = Provider(), Provider(), Provider()
    world, alice = overlay(
        (far, {"preference": 90}), (near, {"preference": 10}), (best, {"prefixes": ("0049",), "preference": 1})
    )
    assert call(world, alice)[0] == "talks"
    assert (far.called, near.called, best.called) == ([], [], ["0049123"])
    assert call(world, alice, "0033123")[0] == "talks"
    assert (far.called, near.called) == (["0033123"], [])


@pytest.mark.parametrize("dialled", ["00(49)1-23", "0049123;npdi"])
def test_a_number_finds_its_gateway_in_any_of_its_forms(dialled: str) -> None:
    provider = Provider()
    world, alice = overlay((provider, {}))
    assert call(world, alice, dialled)[0] == "talks"
    assert provider.called == ["0049123"]


def test_of_two_alike_the_nearer_is_taken() -> None:
    """Or the freer: as the providers of any service are chosen (docs/decisions/choosing-a-service.md)."""
    first, second = Provider(), Provider()
    world, alice = overlay((first, {"calls_max": 100}), (second, {"calls_max": 100}))
    peer = world[0].peer
    call(world, alice)
    assert len(first.called) + len(second.called) == 1
    nodes = [world[number].peer.node.node_id for number in (1, 2)]
    for nearer in nodes:
        peer.chooser._known["gateway"].rtts = {node: 0.001 if node == nearer else 0.5 for node in nodes}
        assert {peer.gateways.choose("0049123", world.world.now)[0].node for _ in range(20)} == {nearer}


def test_a_gateway_says_how_many_of_its_calls_are_taken() -> None:
    world, alice = overlay((Provider(), {"calls_max": 2}), (Provider(), {"calls_max": 2, "preference": 1}))
    chooser, node = world[0].peer.chooser, world[1].peer.node.node_id
    alice.dial("0049123")
    assert world.run(10.0, stop=lambda: alice.talks)
    world.run(FRESH_S + LOAD_AGAIN_S)
    world[0].call(lambda now: world[0].peer.look_for_gateways("0049123", None, now, is_emergency=False))
    world.run(5.0)
    offer = chooser.providers("gateway")[node].offer
    assert offer is not None
    assert (offer.capacity, offer.load) == (2, 50)


@pytest.mark.long
@pytest.mark.parametrize("status", [500, 503, 504, 408, 0])
def test_a_gateway_that_cannot_is_left_for_the_next_during_setup(status: int) -> None:
    broken, good = Provider(status), Provider()
    world, alice = overlay((broken, {"preference": 90, "keep_alive_s": 0}), (good, {}))
    said, took_s = call(world, alice)
    assert said == "talks"
    assert good.called == ["0049123"]
    assert took_s < 8.0
    # The next call does not begin with what has just failed; later one does.
    broken.called.clear()
    assert call(world, alice)[1] < 2.0
    assert not broken.called
    world.run(FAILED_S + FRESH_S)
    broken.status = 200
    call(world, alice)
    assert broken.called


@pytest.mark.parametrize(("status", "said"), [(486, "486 Busy Here"), (404, "404 Not Found"), (603, "603 Decline")])
def test_what_whoever_was_called_says_is_the_last_word(status: int, said: str) -> None:
    first, second = Provider(status), Provider()
    world, alice = overlay((first, {"preference": 90}), (second, {}))
    assert call(world, alice)[0].startswith(said)
    assert (first.called, second.called) == (["0049123"], [])


def test_all_have_failed() -> None:
    world, alice = overlay((Provider(503), {"preference": 90}), (Provider(500), {}))
    assert call(world, alice)[0].startswith("500 ")


def test_a_gateways_peer_dies_and_the_next_one_calls() -> None:
    first, second = Provider(), Provider()
    world, alice = overlay((first, {"preference": 90}), (second, {}))
    call(world, alice)
    assert first.called
    # One that the dead peer is not asked for: a caller waits for the overlay for 6 s, and that would take longer.
    node = world[1].peer.node
    numbers = (f"00497{number}" for number in range(70, 99))
    number = next(each for each in numbers if not node.is_responsible(node.hash_name(f"{each}@{OVERLAY}".encode())))
    world.world.crash(world[1].host, is_silent=True)
    said, took_s = call(world, alice, number)
    assert (said, second.called) == ("talks", [number])
    assert took_s < 12.0


def test_a_trunk_that_is_down_is_announced_no_more() -> None:
    provider = Provider()
    world, alice = overlay((provider, {"keep_alive_s": 10}))
    assert call(world, alice)[0] == "talks"
    provider.status = 0
    world.run(60.0 + FRESH_S)
    assert world[1].peer.services.names == []
    said, took_s = call(world, alice)
    assert said.startswith("404 ")
    assert took_s < 2.0
    provider.status = 200
    world.run(60.0 + FRESH_S)
    assert call(world, alice)[0] == "talks"


def test_a_number_that_is_a_users_is_the_users() -> None:
    provider = Provider()
    world, alice = overlay((provider, {"prefixes": ("42",)}))
    world.line(0, "42")
    world.settle_records([0])
    bob = world.phone(0, "42", 1)
    number = alice.dial("42")
    world.run(10.0, stop=lambda: bob.talks)
    assert bob.talks
    alice.hang_up(number)
    assert provider.called == []


def test_who_has_no_permission_is_not_believed() -> None:
    """docs/decisions/services-by-permission.md: storing peers refuse it, and nobody finds it."""
    provider = Provider()
    world, alice = overlay((provider, {}), services=(ServicePermission("gateway", ("peer-other@sim.example",)),))
    assert call(world, alice)[0] == f"404 Not Found; nobody in the overlay is 0049123@{OVERLAY}"
    assert provider.called == []


def test_an_own_trunk_needs_no_permission_and_no_overlay_beside_it() -> None:
    provider = Provider()
    world = SimulatedPeers("own trunk")
    world.add(0, trunk=TRUNK, provider=provider)
    world.run(20.0, stop=lambda: world[0].peer.node.is_serving)
    (alice,) = world.with_phones((0, "alice"))
    assert call(world, alice)[0] == "talks"
    assert provider.called == ["0049123"]


def test_an_emergency_number_that_nobody_here_answers() -> None:
    provider = Provider()
    world, alice = overlay((provider, {"emergency": ("112",), "lines": frozenset({"nobody"})}))
    for number in ("112", "urn:service:sos"):
        alice_number = alice.dial(number) if number == "112" else None
        if alice_number is not None:
            world.run(10.0, stop=lambda: alice.talks)
            alice.hang_up(alice_number)
            world.run(2.0)
    assert provider.called == ["112"]
    gateways = world[0].peer.gateways
    (sos,) = gateways.choose("urn:service:sos", world.world.now, is_emergency=True)
    assert sos.target.uri.user == "112"


def test_what_an_operator_asks() -> None:
    world, _ = overlay((Provider(), {"preference": 90}), (Provider(), {}))
    context = object()
    site = world[0]
    site.call(lambda now: site.peer.look_for_gateways("0049123", context, now, is_emergency=False))
    world.run(5.0, stop=lambda: any(isinstance(each, GatewaysKnown) for each in site.host.events))
    (known,) = [each for each in site.host.events if isinstance(each, GatewaysKnown)]
    assert known.context is context
    assert [gateway.preference for gateway in known.gateways] == [90, 50]
    assert all(gateway.rtt_s is not None for gateway in known.gateways)


@pytest.mark.parametrize("calls_by", [CallsBy.CALLER, CallsBy.RESPONSIBLE, CallsBy.REDIRECT, CallsBy.HOME])
def test_who_forwards_a_call_pays_for_it_and_proves_that_he_does(calls_by: CallsBy) -> None:
    """bob forwards all his calls to a telephone: who calls him may not call it himself. Whatever way calls go, the
    gateway's peer reads the record itself.
    """
    names = ("bob", "carol", "dave", "erin", "frank")
    provider = Provider()
    world, alice = overlay(
        (provider, {"lines": frozenset(names)}), (Provider(), {"prefixes": ("99",)}), calls_by=calls_by
    )
    node = world[1].peer.node
    name = next(
        one for one in names if not node.is_responsible(resource_id(canonical_aor(f"{one}@{OVERLAY}"), node.hash_name))
    )
    (bob,) = world.with_phones((2, name))
    world.run(10.0)
    assert call(world, alice)[0].startswith("403")
    world[2].call(lambda now: world[2].peer.handle_calls(name, CallHandling(always="0049123"), now))
    world.run(5.0)
    assert call(world, alice, name)[0] == "talks"
    assert provider.called == ["0049123"]
    assert not bob.rang


def test_nobody_has_another_pay_by_saying_that_he_has_forwarded_it() -> None:
    provider = Provider()
    world, alice = overlay((provider, {"lines": frozenset({"bob"})}))
    world.with_phones((1, "bob"))
    world.run(10.0)
    core = world[0].peer.server
    copy_for = core._proxy._edge.copy_for

    def claims(*arguments: object) -> Request:
        copy = copy_for(*arguments)  # type: ignore[arg-type]
        return copy.replace(fields=copy.fields.with_first("Diversion", f"<sip:bob@{OVERLAY}>;reason=unconditional"))

    core._proxy._edge.copy_for = claims  # type: ignore[method-assign]
    assert call(world, alice)[0].startswith("403")
    assert provider.called == []


def test_nor_with_what_he_has_signed_when_he_forwarded_another_call() -> None:
    """bob forwards to carol, whose peer has his word for that now (RFC 8946): it is for no telephone."""
    provider = Provider()
    world, alice = overlay((provider, {"lines": frozenset({"bob"})}), (Provider(), {"prefixes": ("0099",)}))
    world.with_phones((2, "bob"), (0, "carol"))
    in_no_record = CallHandling(always="carol", deny=("mallory",))
    world[2].call(lambda now: world[2].peer.handle_calls("bob", in_no_record, now))
    world.run(10.0)
    peer, signed = world[0].peer, list[str]()
    examine, copy_for, sign = peer.server._verification.examine, peer.server._proxy._edge.copy_for, peer.callers.sign

    def catches(arrived: RequestArrived, now: float) -> object:
        signed.extend(line for line in arrived.request.fields.lines("identity") if "ppt=div" in line)
        return examine(arrived, now)

    peer.server._verification.examine = catches  # type: ignore[method-assign, assignment]
    assert call(world, alice, "bob")[0] == "talks"
    assert signed

    def claims(*arguments: object) -> Request:
        copy = copy_for(*arguments)  # type: ignore[arg-type]
        fields = copy.fields.with_first("Diversion", f"<sip:bob@{OVERLAY}>;reason=unconditional")
        return copy.replace(fields=fields.with_last("Identity", signed[0]))

    def for_bob_as_well(asked: SignClaims, now: float) -> Signed | None:
        dest = asked.claims.dest | {Party("uri", f"sip:bob@{OVERLAY}")}
        return sign(replace(asked, claims=replace(asked.claims, dest=dest)), now)

    peer.server._proxy._edge.copy_for = claims  # type: ignore[method-assign]
    peer.callers.sign = for_bob_as_well  # type: ignore[method-assign]
    assert call(world, alice)[0].startswith("403")
    assert provider.called == []


@pytest.mark.parametrize("is_proved", [True, False])
def test_of_two_who_have_forwarded_it_the_latter_pays_whoever_calls(is_proved: bool) -> None:
    """alice, bob, carol and the gateway are at four peers; what both sign leads to the telephone."""
    provider, nobody = Provider(), {"prefixes": ("0099",)}
    world, alice = overlay((provider, {"lines": frozenset({"carol"})}), (Provider(), nobody), (Provider(), nobody))
    world.with_phones((2, "bob"), (3, "carol"))
    for number, name, to in ((2, "bob", "carol"), (3, "carol", "0049123")):
        # What a list of callers is looked at for is not in the record: its own peer forwards.
        handling, peer = CallHandling(always=to, deny=("mallory",)), world[number].peer
        world[number].call(lambda now, peer=peer, name=name, handling=handling: peer.handle_calls(name, handling, now))
    world.run(10.0)
    if not is_proved:
        sign = world[0].peer.callers.sign
        world[0].peer.callers.sign = lambda asked, now: None if asked.user == "alice" else sign(asked, now)  # type: ignore[method-assign]
    assert call(world, alice, "bob")[0] == "talks"
    assert provider.called == ["0049123"]
    assert [report.caller.partition(":")[0] for report in world[1].carried("INVITE")] == [
        "alice, proved by certificate" if is_proved else "not proved"
    ]
