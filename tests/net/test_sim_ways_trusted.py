"""Calls by way of other peers: whom that trusts with what, and what becomes of them where these cannot be trusted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from calls_by_ways import cast

from p2psip.base.effects import AskAnswered
from p2psip.reload.config.calls_by import CallsBy
from p2psip.sim.ip.boxes import PORT_RESTRICTED
from p2psip.sim.ip.network import Way
from p2psip.sim.sites.internet import InternetSites
from p2psip.sim.sites.site import Site
from p2psip.sip.entities.handling.call_handling import CallHandling
from p2psip.sip.entities.questions import LocateUser, NotLocated
from p2psip.sip.entities.reports import RequestCarried
from p2psip.sip.message.uri import parse_sip_uri

pytestmark = pytest.mark.long

SENT_ON = pytest.mark.parametrize("way", [CallsBy.RESPONSIBLE, CallsBy.HOME, CallsBy.BOTH], ids=lambda way: way.value)

BY_RESPONSIBLE = pytest.mark.parametrize(
    "way", [CallsBy.RESPONSIBLE, CallsBy.REDIRECT, CallsBy.BOTH], ids=lambda way: way.value
)


def answering(site: Site, answer: Callable[[LocateUser], object]) -> None:
    """A site whose peer has altered software: asked by others where a user is, it says what it likes."""
    locator, honest = site.peer.locator, site.peer.locator.locate

    def locate(token: int, question: LocateUser, now: float) -> None:
        if question.from_peer is None:
            honest(token, question, now)
        elif (answered := answer(question)) is not None:
            locator._answers.append(AskAnswered(token, answered))

    locator.locate = locate  # type: ignore[method-assign]


@BY_RESPONSIBLE
@pytest.mark.parametrize("lie", [404, 480, 500])
def test_a_responsible_peer_that_denies_a_user_ends_no_call(way: CallsBy, lie: int) -> None:
    each = cast(way)
    answering(each.responsible, lambda _: NotLocated(lie, "No"))
    what, after_s = each.call()
    assert (what, each.bob.rang) == ("talks", 1)
    assert after_s < 2.0


@BY_RESPONSIBLE
def test_a_responsible_peer_that_drops_calls_costs_the_patience_for_silence(way: CallsBy) -> None:
    """Its connection is up, and all that is SIP is dropped there."""
    each = cast(way)
    assert each.call()[0] == "talks"
    each.alice.hang_up(1)
    each.world.run(3.0)
    each.responsible.peer.server.handle = lambda arrival, now: None  # type: ignore[method-assign]
    what, after_s = each.call()
    assert (what, each.bob.rang) == ("talks", 2)
    assert 4.0 < after_s < 8.0


@BY_RESPONSIBLE
def test_what_a_responsible_peer_says_in_the_users_name_is_believed(way: CallsBy) -> None:
    """Busy is what a phone says, and nobody can tell: such a peer can end calls, as the page says."""
    each = cast(way)
    answering(each.responsible, lambda _: NotLocated(486, "Busy Here"))
    what, _ = each.call()
    assert (what, each.bob.rang) == ("486 Busy Here; Busy Here", 0)


def test_a_redirection_leads_to_peers_of_the_overlay_alone() -> None:
    """To whatever else it names no packet goes: the caller's peer looks for itself."""
    each = cast(CallsBy.REDIRECT)
    elsewhere = tuple(
        map(parse_sip_uri, ("sip:bob@192.0.2.1", "sip:bob@sim.example;gr=nothing", "sip:bob@else.example"))
    )
    answering(each.responsible, lambda _: NotLocated(302, "Moved Temporarily", None, elsewhere))
    assert each.call()[0] == "talks"


@pytest.mark.parametrize("user", ["bob", "alice"])
def test_a_redirection_that_names_the_wrong_peer_ends_in_its_answer(user: str) -> None:
    """Of what it names the peer counts, and not the user, nor at which of that peer's phones."""
    each = cast(CallsBy.REDIRECT)
    wrong = each.other.peer.server._config.peer_side
    wrong = wrong.replace(user=user, params=(*wrong.params, ("at", "0")))
    answering(each.responsible, lambda _: NotLocated(302, "Moved Temporarily", None, (wrong,)))
    assert each.call()[0] == "480 Temporarily Unavailable; bob has no line on this peer"


@SENT_ON
def test_who_asks_by_a_way_that_is_not_enabled_is_told_what_is_here(way: CallsBy) -> None:
    """Decision 8: "they are off unless the signed configuration enables them", whatever other members ask."""
    each = cast(CallsBy.CALLER)
    for site in each.world.sites.values():
        if site is not each.caller:
            continue
        exchange = site.peer.node._exchange
        exchange.configuration = replace(exchange.configuration, calls_by=way)
    assert each.call()[0] == "talks"
    assert [report.status for report in each.responsible.carried()] == ([] if way is CallsBy.HOME else [480])


@pytest.mark.parametrize("site", ["other", "second_home"])
def test_a_peer_sends_on_nothing_that_it_is_not_responsible_for(site: str) -> None:
    """A member that is used as a hop by others, for whoever they like, would be an open relay."""
    each = cast(CallsBy.BOTH)
    asked: Site = getattr(each, site)
    for way in ("responsible", "home"):
        uri = parse_sip_uri(f"sip:bob@sim.example;way={way}")
        question = LocateUser(uri, "bob", "INVITE", "1", None, each.other.peer.node.node_id.hex())
        asked.peer.locator.locate(99, question, each.world.world.now)
        (answered,) = asked.peer.locator.drain()
        assert isinstance(answered.answer, NotLocated)
        assert answered.answer.status == 480


@pytest.mark.parametrize("way", ["responsible", "home"])
def test_a_phone_has_nobody_act_as_a_hop(way: str) -> None:
    """The parameter means something between members alone: who is no member sends to the peer beside it."""
    each = cast(CallsBy.BOTH)
    number = each.alice.dial(f"sip:bob@{each.alice.server.host};way={way}")
    each.world.run(5.0, stop=lambda: each.alice.talks)
    assert each.alice.talks, each.alice.ended(number)
    uris = [report.uri for report in each.callee.carried()]
    assert all(f"way={way}" not in uri for uri in uris), "what it wrote went no further"


@SENT_ON
def test_peers_that_know_nothing_of_it_take_part(way: CallsBy) -> None:
    """A configuration is on its way: some have it, some not, and calls go through whoever has it."""
    each = cast(way)
    for old in (each.responsible, each.home, each.second_home):
        exchange = old.peer.node._exchange
        exchange.configuration = replace(exchange.configuration, calls_by=CallsBy.CALLER)
    what, after_s = each.call()
    assert (what, each.bob.rang) == ("talks", 1)
    assert after_s < 3.0
    each.alice.hang_up(1)
    each.world.run(130.0)
    assert each.call()[0] == "talks"


def test_a_caller_of_an_earlier_release_calls_whose_record_leads_by_a_home() -> None:
    """The record is a destination list, of which the peer of the line is the end (RFC 7904 section 3.1)."""
    each = cast(CallsBy.HOME)
    exchange = each.caller.peer.node._exchange
    exchange.configuration = replace(exchange.configuration, calls_by=CallsBy.CALLER)
    assert each.call()[0] == "talks"
    assert each.home.carried() == []


def test_the_configuration_turns_it_on_and_off() -> None:
    each = cast(CallsBy.CALLER)
    each.use_homes(each.callee, each.home)
    assert each.home.peer.node.at_home("bob@sim.example", each.world.world.now) == ()
    for way in (CallsBy.HOME, CallsBy.CALLER):
        for site in each.world.sites.values():
            exchange = site.peer.node._exchange
            exchange.configuration = replace(exchange.configuration, calls_by=way)
        each.callee.call(each.callee.peer.homes.reconsider)
        each.world.run(4.0)
        before = len(each.home.carried())
        assert each.call()[0] == "talks"
        each.alice.hang_up(each.alice.agent.calls[0])
        each.world.run(2.0)
        assert len(each.home.carried()) - before == (way is CallsBy.HOME)


def test_a_peer_that_slept_is_found_by_its_home_again() -> None:
    """It says there that it is back."""
    each = cast(CallsBy.HOME)
    each.world.world.crash(each.callee.host, is_silent=True)
    each.world.run(60.0)
    assert each.call()[0].startswith("480 ")
    number = each.number(each.callee)
    store, lines = each.callee.host.store, each.callee.peer.publisher.lines
    back = each.world.add(number, store)
    wanted = CallHandling(homes=(each.home.peer.node.node_id.hex(),))
    for line in lines:
        back.call(lambda now, line=line: back.peer.add_line(line, now, wanted))  # type: ignore[misc]
    assert each.world.run(60.0, stop=lambda: back.peer.node.is_serving)
    bob = each.phone(back, "bob")
    each.world.run(6.0)
    assert each.call()[0] == "talks"
    assert bob.talks
    assert 200 in [report.status for report in each.home.carried()]


@SENT_ON
def test_audio_goes_from_peer_to_peer_whoever_has_sent_the_call_on(way: CallsBy) -> None:
    """Two sites behind NATs carry the audio of their phones; who is on the way of the call carries none of it."""
    world = InternetSites(f"voice {way.value}", no_ice=False, overlay_link_protocols=("DTLS",), calls_by=way)
    world.internet.default_way = Way(delay_s=0.02)
    public = [world.add_public(number) for number in range(3)]
    world.run(5.0)
    sites = [world.add_behind_nat(number, PORT_RESTRICTED, forwards=False) for number in (3, 4)]
    world.settle(120.0)
    node = public[0].peer.node
    places = {f"bob{n}": node.hash_name(f"bob{n}@sim.example".encode()) for n in range(50)}
    callee = next(name for name, at in places.items() if any(site.peer.node.is_responsible(at) for site in public))
    for site, user in zip(sites, ("alice", callee), strict=True):
        world.line(site, user)
    world.settle(120.0)
    world.run(30.0)
    homes = CallHandling(homes=(public[1].peer.node.node_id.hex(),))
    sites[1].driver.call(lambda now: sites[1].peer.handle_calls(callee, homes, now))
    world.run(10.0)
    alice, bob = (
        world.phone(site, user, tone_hz=hz)
        for site, user, hz in zip(sites, ("alice", callee), (440.0, 520.0), strict=True)
    )
    call = alice.dial(callee)
    assert world.run(15.0, stop=lambda: alice.talks), alice.ended(call)
    world.run(4.0)
    alice.hang_up(call)
    world.run(3.0)
    tones = [phone.reports[-1].tone for phone in (alice, bob)]
    assert [tone and round(tone.frequency_hz / 10) for tone in tones] == [52, 44]
    passed = [site.name for site in public if any(isinstance(e, RequestCarried) for e in site.driver.carried())]
    assert passed, "somebody has sent it on"
