"""RFC 3515, RFC 3891, RFC 5359 2.4 and 2.5 at a gateway: calls with a telephone are handed on between sites, through
whole peers; who is at the trunk notices a re-INVITE.
"""

from __future__ import annotations

import itertools
from urllib.parse import quote

import pytest
from gateway_peers import Provider, overlay

from p2psip.sim.sites.site import SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sip.entities.agents.types import CallEstablished, IncomingCall
from p2psip.sip.message.message import Request, Response
from p2psip.sip.message.parser import parse

NUMBER, OTHER_NUMBER = "0049123", "0049456"


class Telephones(Provider):
    """Two telephones behind a provider, and what they were asked."""

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[Request] = []
        self._tags = itertools.count(1)

    def __call__(self, data: bytes) -> list[bytes]:
        request = parse(data)
        if isinstance(request, Request) and request.method != "OPTIONS":
            self.requests.append(request)
        return [
            # Each call is a dialog of its own.
            said.replace(b";tag=p\r\n", b";tag=p%d\r\n" % next(self._tags)) if b"CSeq: 1 " in said else said
            for said in super().__call__(data)
        ]

    def asked(self, method: str) -> list[Request]:
        return [request for request in self.requests if request.method == method]


def at(world: SimulatedPeers, number: int, user: str) -> SitePhone:
    """A phone of another user, who may be beside alice."""
    world.line(number, user)
    world.settle_records([number])
    return world.phone(number, user, 5)


def talk(world: SimulatedPeers, phone: SitePhone, number: str) -> int:
    """A call of this phone, which is up; its number there."""
    call = phone.dial(number)
    assert world.run(20.0, stop=lambda: any(e.call == call for e in phone.of(CallEstablished)))  # type: ignore[attr-defined]
    world.run(1.0)
    return call


def refer(phone: SitePhone, call: int, refer_to: str) -> None:
    fields = [("Refer-To", refer_to), ("Referred-By", f"<sip:{phone.user}@{phone.server.host}>")]
    phone.run(lambda now: phone.agent.ask_within(call, "REFER", fields, b"", None, now))


def answered_of(phone: SitePhone, call: int) -> Response:
    """The 2xx by which a call of this phone has begun."""
    found = [message for data in phone.received if isinstance(message := parse(data), Response) and message.is_success]
    invites = [message for message in found if message.cseq.method == "INVITE"]
    calls = list(dict.fromkeys(message.call_id for message in invites))
    return next(message for message in invites if message.call_id == calls[call - 1])


def told(phone: SitePhone) -> list[str]:
    """What this phone was told of its transfers."""
    messages = [parse(data) for data in phone.received]
    return [m.body.decode().strip() for m in messages if isinstance(m, Request) and m.method == "NOTIFY"]


def bodies(requests: list[Request]) -> list[bytes]:
    return [request.body for request in requests]


@pytest.mark.parametrize("bobs", [0, 1, 2], ids=["beside alice", "beside the trunk", "elsewhere"])
def test_5359_2_4_blind_transfer_of_a_telephone(bobs: int) -> None:
    telephones = Telephones()
    world, alice = overlay((telephones, {}))
    world.add(2)
    world.run(20.0, stop=lambda: world[2].peer.node.is_serving)
    bob = at(world, bobs, "bob")
    call = talk(world, alice, NUMBER)
    refer(alice, call, f"<sip:bob@{alice.server.host}>")
    assert world.run(10.0, stop=lambda: bob.talks)
    world.run(3.0)
    assert told(alice)[:2] == ["SIP/2.0 100 Trying", "SIP/2.0 200 OK"]
    # He is told who is there, and it is he who hangs up.
    shown = bob.of(IncomingCall)[-1].caller  # type: ignore[attr-defined]
    assert (NUMBER in str(shown)) == (bobs == 1), shown
    assert alice.ended(call) is not None
    assert not telephones.asked("BYE")
    first, again = telephones.asked("INVITE")
    assert (first.call_id, first.from_.tag) == (again.call_id, again.from_.tag)
    assert first.body != again.body != b""
    (bobs_call,) = bob.agent.calls
    bob.hang_up(bobs_call)
    assert world.run(5.0, stop=lambda: telephones.asked("BYE") != [])


def test_who_is_busy_leaves_alice_with_her_caller() -> None:
    telephones = Telephones()
    world, alice = overlay((telephones, {}))
    call = talk(world, alice, NUMBER)
    refer(alice, call, f"<sip:nobody@{alice.server.host}>")
    world.run(10.0)
    assert told(alice)[-1].startswith("SIP/2.0 404")
    assert alice.talks
    assert not telephones.asked("BYE")


def test_5359_2_5_attended_transfer_of_a_telephone_to_whom_alice_has_talked_with() -> None:
    """The REFER goes to the gateway, whose INVITE has Replaces for bob's call with alice."""
    telephones = Telephones()
    world, alice = overlay((telephones, {}))
    bob = at(world, 0, "bob")
    call = talk(world, alice, NUMBER)
    talk(world, alice, "bob")
    with_bob = answered_of(alice, 2)
    replaces = quote(f"{with_bob.call_id};to-tag={with_bob.to.tag};from-tag={with_bob.from_.tag}", safe="")
    refer(alice, call, f"<{with_bob.contacts[0].sip_uri.replace(headers=f'Replaces={replaces}')}>")
    world.run(5.0)
    invites = [m for data in bob.received if isinstance(m := parse(data), Request) and m.method == "INVITE"]
    # bob's own tag comes first in his own Replaces; it is his phone's to know the call by it.
    assert invites[-1].fields.first("replaces") == (
        f"{with_bob.call_id};to-tag={with_bob.to.tag};from-tag={with_bob.from_.tag}"
    )
    assert told(alice)[-1] == "SIP/2.0 200 OK"


@pytest.mark.parametrize("bobs", [0, 1], ids=["beside alice", "beside the trunk"])
def test_3891_a_phone_takes_the_place_of_another_in_a_call_with_a_telephone(bobs: int) -> None:
    """The REFER went to bob: what alice's phone has of the trunk, its Contact, leads bob's there, from his site too."""
    telephones = Telephones()
    world, alice = overlay((telephones, {}))
    bob = at(world, bobs, "bob")
    call = talk(world, alice, NUMBER)
    with_trunk = answered_of(alice, call)
    target = with_trunk.contacts[0].sip_uri.replace(host=bob.server.host, port=None)
    replaces = f"{with_trunk.call_id};to-tag={with_trunk.to.tag};from-tag={with_trunk.from_.tag}"
    bobs_call = dial_in_place(world, bob, str(target), replaces)
    assert world.run(10.0, stop=lambda: bob.talks)
    world.run(2.0)
    assert alice.ended(call) is not None
    assert not telephones.asked("BYE")
    assert len(telephones.asked("INVITE")) == 2
    bob.hang_up(bobs_call)
    assert world.run(5.0, stop=lambda: telephones.asked("BYE") != [])


def test_who_does_not_know_the_call_takes_nobodys_place() -> None:
    telephones = Telephones()
    world, alice = overlay((telephones, {}))
    bob = at(world, 0, "bob")
    call = talk(world, alice, NUMBER)
    with_trunk = answered_of(alice, call)
    target = with_trunk.contacts[0].sip_uri
    bobs_call = dial_in_place(world, bob, str(target), f"{with_trunk.call_id};to-tag=1;from-tag=2")
    world.run(10.0)
    assert "481" in (bob.ended(bobs_call) or "")
    assert alice.talks
    assert len(telephones.asked("INVITE")) == 1


def test_two_telephones_are_joined_by_who_has_talked_with_both() -> None:
    """Both are calls of the trunk: its own INVITE comes back to it, and says which of its calls goes on with which."""
    telephones = Telephones()
    world, alice = overlay((telephones, {}))
    one = talk(world, alice, NUMBER)
    other = talk(world, alice, OTHER_NUMBER)
    with_other = answered_of(alice, 2)
    replaces = quote(f"{with_other.call_id};to-tag={with_other.to.tag};from-tag={with_other.from_.tag}", safe="")
    refer(alice, one, f"<{with_other.contacts[0].sip_uri.replace(headers=f'Replaces={replaces}')}>")
    world.run(10.0)
    assert told(alice)[-1] == "SIP/2.0 200 OK"
    assert alice.ended(one) is not None
    assert alice.ended(other) is not None
    assert not telephones.asked("BYE")
    # Each was asked once more, within its call: the one without an offer, the other with that one's answer.
    assert [request.to.tag != "" for request in telephones.asked("INVITE")] == [False, False, True, True]
    assert [body == b"" for body in bodies(telephones.asked("INVITE"))] == [False, False, True, False]


def test_nobody_is_transferred_to_a_telephone_by_a_gateway() -> None:
    """What comes from a trunk is no member's call: nobody would pay for it."""
    telephones = Telephones()
    world, alice = overlay((telephones, {}))
    call = talk(world, alice, NUMBER)
    refer(alice, call, f"<sip:{OTHER_NUMBER}@{alice.server.host}>")
    world.run(10.0)
    assert told(alice)[-1].startswith("SIP/2.0 403")
    assert alice.talks
    assert telephones.called == [NUMBER]


def dial_in_place(world: SimulatedPeers, phone: SitePhone, target: str, replaces: str) -> int:
    """Call a URI with Replaces, which our phone does not do by itself: the field is put into what it says."""
    transmit = phone._transmit

    def with_replaces(data: bytes) -> None:
        is_invite = data.startswith(b"INVITE ") and b"\r\nTo:" in data and b";tag=" not in _line_of(data, b"To:")
        transmit(data.replace(b"\r\nCSeq:", f"\r\nReplaces: {replaces}\r\nCSeq:".encode(), 1) if is_invite else data)

    phone._transmit = with_replaces  # type: ignore[method-assign]
    return phone.dial(target)


def _line_of(data: bytes, name: bytes) -> bytes:
    return next(line for line in data.split(b"\r\n") if line.startswith(name))
