"""The table of a peer's agents: who is meant, whose messages, questions and media are whose, and calls of their own."""

from __future__ import annotations

import random

import pytest

from p2psip.base.address import Address
from p2psip.base.effects import Ask, CancelAsk
from p2psip.sip.entities.agents.agent_table import AgentTable
from p2psip.sip.entities.agents.types import (
    AgentConfig,
    CallEnded,
    MediaReleased,
    MediaWanted,
    ToServer,
)
from p2psip.sip.entities.agents.user_agent import UserAgent
from p2psip.sip.message.uri import SipUri, parse_sip_uri
from p2psip.sip.transports.arrivals import Datagram, FromAgent
from p2psip.sip.transports.effects import SendUdp
from p2psip.sip.transports.hops import UdpHop
from p2psip.sip.transports.layer import LOCAL_ADDRESS, Listener

OVERLAY = "overlay.example"
ALICE_AT = Address("10.1.0.11", 5060)


def site(world, *agents):
    one = world.server("one", "10.1.0.1", agents=agents)
    alice = world.phone("alice", one, ALICE_AT)
    assert alice.register().status == 200
    return one, alice


def test_the_agents_of_every_peer_answer(world):
    one = world.server("one", "10.1.0.1", has_own_agents=True)
    alice = world.phone("alice", one, ALICE_AT)
    assert alice.register().status == 200
    call = alice.invite("*43")
    world.run(3.0)
    # This phone's offer is no session description: the echo says that it cannot read it, and nobody else is called.
    assert call.statuses == [100, 415]
    assert alice.ask(alice._new("OPTIONS", parse_sip_uri("sip:*43@10.1.0.1"), call.request.to, [])).status == 200


def test_the_first_that_is_meant_is_called(world, recorder):
    one, other = recorder("one", "*44"), recorder("other", "*44")
    _, alice = site(world, recorder("none", "*45"), one, other)
    alice.invite("*44")
    world.run(0.5)
    assert (len(one.delivered), len(other.delivered)) == (1, 0)


def test_who_is_dialled_elsewhere_is_no_agent(world, recorder):
    agent = recorder("echo", "*44")
    _, alice = site(world, agent)
    call = alice.invite("sip:*44@elsewhere.example")
    world.run(0.5)
    assert call.statuses[0] == 100
    assert call.statuses[-1] >= 400
    assert not agent.delivered


def test_each_gets_the_answers_to_its_own_questions(recorder):
    first, second = recorder("first", "1"), recorder("second", "2")
    table = AgentTable((first, second))
    wanted = MediaWanted(1)
    first.says, second.says = [Ask(1, wanted, 5.0), CancelAsk(7)], [Ask(1, wanted, 5.0), ToServer(b"hello")]
    wishes = table.drain()
    assert wishes.said == (FromAgent("second", b"hello"),)
    asked, cancelled, theirs = wishes.effects
    assert len({asked.token, cancelled.token, theirs.token}) == 3
    table.handle_answer(theirs.token, "for the second", 0.0)
    table.handle_answer(asked.token, "for the first", 0.0)
    assert (first.answers, second.answers) == ([(1, "for the first")], [(1, "for the second")])


def test_each_hears_its_own_media(recorder):
    first, second = recorder("first", "1"), recorder("second", "2")
    table = AgentTable((first, second))
    second.says = [Ask(1, MediaWanted(1), 5.0)]
    (asked,) = table.drain().effects
    here, there = Address("10.1.0.1", 20_000), Address("10.1.0.11", 7000)
    table.handle_answer(asked.token, here, 0.0)
    table.handle_media(here, there, b"voice", 0.0)
    assert (first.media, second.media) == ([], [(here, there, b"voice")])
    second.says = [MediaReleased(here)]
    assert table.drain().effects == (MediaReleased(here),)
    table.handle_media(here, there, b"more", 0.0)
    assert len(second.media) == 1


def test_a_name_is_of_one_agent_alone(recorder):
    with pytest.raises(AssertionError):
        AgentTable((recorder("one", "1"), recorder("one", "2")))


def test_a_message_for_an_agent_of_an_earlier_run_is_dropped(recorder):
    agent = recorder("one", "1")
    AgentTable((agent,)).handle_message("another", b"BYE", 0.0)
    assert not agent.delivered


class Caller:
    """An agent that is called by nobody, and places calls."""

    name = "caller"

    def __init__(self):
        config = AgentConfig(
            address_of_record=SipUri(OVERLAY, "*99"),
            contact=SipUri(OVERLAY, "*99"),
            server=UdpHop(LOCAL_ADDRESS),
            listeners=(Listener("UDP", LOCAL_ADDRESS),),
            display_name="The machine",
            is_tethered=True,
        )
        self.agent = UserAgent(config, random.Random(3))
        self.told = []

    def is_meant(self, user):
        return False

    def handle_message(self, data, now):
        self.agent.handle(Datagram(LOCAL_ADDRESS, LOCAL_ADDRESS, data), now)

    def handle_media(self, local, remote, data, now):
        pass

    def handle_answer(self, token, answer, now):
        self.agent.handle_answer(token, answer, now)

    def handle_timeout(self, now):
        self.agent.handle_timeout(now)

    def next_deadline(self):
        return self.agent.next_deadline()

    def drain(self):
        wanted = []
        for effect in self.agent.drain():
            match effect:
                case SendUdp(_, _, data):
                    wanted.append(ToServer(data))
                case Ask():
                    wanted.append(effect)
                case _:
                    self.told.append(effect)
        return wanted


def test_an_agent_places_a_call(world):
    """It asks for media, its request goes as that of anybody, and the phone sees somebody whom it could dial."""
    caller = Caller()
    one, alice = site(world, caller)
    call = caller.agent.call(SipUri(OVERLAY, "alice"), world.now)
    one.core.handle_timeout(world.now)
    world.run(2.5)
    (invite,) = [request for request in alice.received if request.method == "INVITE"]
    assert str(invite.from_.with_tag("")).startswith('"The machine" <sip:*99@10.1.0.1>')
    (asked,) = [question for question in one.asked if isinstance(question, MediaWanted)]
    assert asked.call == call
    # The phone of this world answers without a session description: the call is up, and ends for that reason.
    assert alice.calls[0].is_up
    (ended,) = [told for told in caller.told if isinstance(told, CallEnded)]
    assert ended.call == call
    world.run(1.0)
    assert alice.calls[0].is_over
    assert world.forgets_all()
