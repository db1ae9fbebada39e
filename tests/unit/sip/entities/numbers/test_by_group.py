"""Groups, asked without a network: who rings, in which order, and that it ends."""

from __future__ import annotations

from dataclasses import replace

from p2psip.base.address import Address
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.handling.call_handling import CallHandling
from p2psip.sip.entities.handling.handlings import Handlings
from p2psip.sip.entities.numbers.by_group import ByGroup, GroupTime
from p2psip.sip.entities.numbers.groups import Group
from p2psip.sip.entities.numbers.numbering import Numbering
from p2psip.sip.entities.proxy.resolvers import After, Again, Asked, Instead, RingsNoMore, diversion
from p2psip.sip.entities.proxy.routing import Routed
from p2psip.sip.entities.questions import LocateUser, NotLocated, Rung
from p2psip.sip.message.fields import Fields
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Request
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.hops import LocalHop, Source

REALM = "overlay.example"
NO_ANSWER = After(408, "nobody has answered in time")


class Groups:
    """The two resolvers of one peer."""

    def __init__(self, **groups: Group) -> None:
        peer = SipUri(REALM, "peer-one", None, (("gr", "aa"),))
        config = ServerConfig(REALM, frozenset({REALM}), (), peer, numbering=Numbering(groups=groups))
        self.handlings = Handlings()
        self._time, self._groups = GroupTime(config), ByGroup(config, self.handlings)

    def time(self, asked: Asked) -> float | None:
        said = self._time.resolve(asked, 0.0)
        return said.after_s if isinstance(said, Again) else None

    def ask(self, asked: Asked) -> object:
        return self._groups.resolve(asked, 0.0)

    def in_order(self, asked: Asked, after: After = NO_ANSWER) -> list[str]:
        """Who is called one after the other, as none of them answers."""
        called: list[str] = []
        while isinstance(said := self.ask(asked), Instead):
            called.append(said.uri.user_name)
            asked = replace(asked.anew(said), after=after)
            assert len(called) < 20
        self.end = said
        return called


def call(user: str, caller: str = "zoe", method: str = "INVITE") -> Asked:
    uri = SipUri(REALM, user)
    who = NameAddr(SipUri(REALM, caller))
    fields = Fields.of(("From", who), ("To", NameAddr(uri)), ("Call-ID", "x"), ("P-Asserted-Identity", who))
    request = Request(method, uri, fields)
    source = Source(LocalHop("test"), "UDP", Address("192.0.2.1", 5060))
    return Asked(Routed(request, None, None), uri, source, caller)


def test_all_at_once_is_one_question() -> None:
    groups = Groups(sales=Group(("alice", "bob"), ring_s=15))
    said = groups.ask(call("Sales"))
    assert isinstance(said, LocateUser)
    assert (said.group, said.from_peer) == ((Rung("alice"), Rung("bob")), None)
    assert groups.time(call("sales")) == 15.0


def test_whom_it_does_not_ring_at() -> None:
    groups = Groups(sales=Group(("alice", "bob", "carol", "dora", "zoe")))
    groups.handlings.set("alice", CallHandling(do_not_disturb=True))
    groups.handlings.set("bob", CallHandling(deny=("zoe",)))
    groups.handlings.set("carol", CallHandling(always="dora"))
    said = groups.ask(call("sales"))
    assert isinstance(said, LocateUser)
    assert said.group == (Rung("dora"),), "once, and as a member"


def test_who_is_not_there_may_have_said_who_is() -> None:
    """Each is called once, and none whom it does not ring at."""
    groups = Groups(sales=Group(("alice", "bob", "carol", "dora")))
    for user, to in (("alice", "0049170"), ("bob", "carol"), ("carol", "zoe"), ("dora", "sales")):
        groups.handlings.set(user, CallHandling(no_answer=to))
    said = groups.ask(call("sales"))
    assert isinstance(said, LocateUser)
    alice, *others = said.group
    assert alice.absent is not None
    assert (alice.user, alice.absent.user) == ("alice", "0049170")
    assert [str(value) for value in alice.absent.diversions] == [f"<sip:alice@{REALM}>;reason=unavailable"]
    assert others == [Rung("bob"), Rung("carol"), Rung("dora")]


def test_who_has_forwarded_a_call_to_a_group_does_not_ring_again() -> None:
    groups = Groups(sales=Group(("alice", "bob")))
    asked = call("alice").anew(Instead(SipUri(REALM, "sales"), "", (diversion(SipUri(REALM, "alice"), "user-busy"),)))
    said = groups.ask(asked)
    assert isinstance(said, LocateUser)
    assert said.group == (Rung("bob"),)


def test_who_forwards_to_a_group_does_not_make_it_a_circle() -> None:
    groups = Groups(sales=Group(("alice", "bob")), night=Group(("carol",)))
    groups.handlings.set("alice", CallHandling(always="night"))
    groups.handlings.set("bob", CallHandling(always="sales"))
    said = groups.ask(call("sales"))
    assert isinstance(said, NotLocated)
    assert said.status == 480


def test_in_order_each_once_and_then_it_is_over() -> None:
    groups = Groups(door=Group(("alice", "bob", "carol"), "in-order", 10))
    assert groups.in_order(call("door")) == ["alice", "bob", "carol"]
    assert isinstance(groups.end, RingsNoMore)
    assert groups.in_order(call("door"), After(486, "Busy Here")) == ["alice", "bob", "carol"]
    assert isinstance(groups.end, NotLocated)
    assert groups.end.status == 486


def test_in_order_each_has_his_time_and_rings_as_usual() -> None:
    groups = Groups(door=Group(("alice", "bob"), "in-order", 10, otherwise="desk"))
    first = groups.ask(call("door"))
    assert isinstance(first, Instead)
    asked = call("door").anew(first)
    assert groups.ask(asked) is None, "what becomes of a call to alice, others say"
    assert groups.time(asked) == 10.0
    desk = call("door").anew(Instead(SipUri(REALM, "desk")))
    assert groups.time(desk) is None


def test_somebody_else_comes_last_and_once() -> None:
    for ring in ("all", "in-order"):
        groups = Groups(door=Group(("alice",), ring, otherwise="desk"))  # type: ignore[arg-type]
        assert groups.in_order(replace(call("door"), after=NO_ANSWER))[-1] == "desk"
        assert not isinstance(groups.end, Instead)


def test_who_is_called_in_order_may_forward_elsewhere() -> None:
    """To one who is tried once all the same."""
    groups = Groups(door=Group(("alice", "bob", "carol"), "in-order", 10))
    groups.handlings.set("alice", CallHandling(always="carol"))
    groups.handlings.set("bob", CallHandling(always="desk"))
    assert groups.in_order(call("door")) == ["carol", "desk"]


def test_messages_are_not_for_groups() -> None:
    groups = Groups(sales=Group(("alice", "bob")))
    assert groups.ask(call("sales", method="MESSAGE")) is None
    assert groups.ask(call("alice")) is None
