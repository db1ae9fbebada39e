"""p2psip.reload.node.relays.relay_search: whom a node asks for a relay, and which it takes."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from p2psip.base.address import Address
from p2psip.base.errors import Cause
from p2psip.base.ids import NodeId
from p2psip.base.timers import TimerQueue
from p2psip.reload.node.limits import RELAYS_ASKED_MAX, RELAYS_KNOWN_MAX
from p2psip.reload.node.relays.relay_search import (
    ASK_AGAIN_S,
    BACK_AGAIN_S,
    COMPARE_OVER_STREAM_S,
    COMPARE_S,
    PART_S,
    PING_OVER_STREAM_S,
    PING_S,
    SEEK_NONE_MAX_S,
    SILENT_S,
    RelayAccessContext,
    RelaySearch,
)
from p2psip.reload.paths.relays.relay_pings import RelayPinged
from p2psip.reload.paths.relays.relay_values import RelayGone
from p2psip.reload.security.sealed_answer import seal
from p2psip.reload.transport.outcome import Answer, Refused, Unanswered
from p2psip.reload.transport.request import OverlayRequest
from p2psip.reload.wire.common import IpAddressPort
from p2psip.reload.wire.contents import MessageCode
from p2psip.reload.wire.private_messages import PrivateAns, PrivateReq
from p2psip.reload.wire.usages.relay_access import RELAY_ACCESS, RelayAccessAns, RelayAccessReq
from p2psip.stun.credentials import StunCredential
from p2psip.turn.client_values import Loss

ME = NodeId(bytes(16))
BASE = Address("10.0.0.2", 6084)


def nid(number: int) -> NodeId:
    """A node."""
    return NodeId(number.to_bytes(16, "big"))


def at(number: int) -> Address:
    """Where its relay is."""
    return Address(f"203.0.113.{number}", 6084)


class Bench:
    """A search, and the rest of its node played by hand."""

    def __init__(self, *linked: int) -> None:
        self.now = 0.0
        self.asked: list[tuple[OverlayRequest, Any]] = []
        self.notes: list[str] = []
        self.linked = [nid(number) for number in linked]
        self.allocated: list[tuple[Address, Address, StunCredential]] = []
        self.over_streams: list[bool] = []
        self.released: list[tuple[Address, Address]] = []
        self.released_streams: list[bool] = []
        self.pinged: list[Address] = []
        self.pinged_from: list[Address | None] = []
        self.is_used = True
        self.unheard: set[Address] = set()
        """Relays that were asked to lend something, and have not answered."""
        self.queue = TimerQueue()
        exchange = SimpleNamespace(
            queue=self.queue,
            identity=SimpleNamespace(node_id=ME),
            request=self._request,
            note=lambda event, **_: self.notes.append(event),
            warn=lambda event, **_: self.notes.append(event),
        )
        punching = SimpleNamespace(
            allocate=self._allocate,
            release=self._release,
            uses_relay=lambda base, relay: self.is_used,
            lends=lambda base, relay: relay not in self.unheard,
            relay_pings=SimpleNamespace(ping=self._ping),
            relayed=SimpleNamespace(tell_nobody=lambda base, relay, *, over_stream: None),
        )
        data = SimpleNamespace(storage=SimpleNamespace(rules=SimpleNamespace(kinds={})))
        topology = SimpleNamespace(is_connected=True)
        made: Any = RelaySearch
        self.search: RelaySearch = made(exchange, data, topology, self.linked, punching, random.Random(1))

    def _allocate(
        self, base: Address, relay: Address, credential: StunCredential, now: float, *, over_stream: bool
    ) -> None:
        self.allocated.append((base, relay, credential))
        self.over_streams.append(over_stream)

    def _release(self, base: Address, relay: Address, now: float, *, over_stream: bool) -> None:
        self.released.append((base, relay))
        self.released_streams.append(over_stream)

    def _ping(self, relay: Address, now: float, base: Address | None) -> None:
        self.pinged.append(relay)
        self.pinged_from.append(base)

    def _request(self, asked: OverlayRequest, context: object, now: float) -> int:
        self.asked.append((asked, context))
        return len(self.asked)

    def need(self, relays: int = 1) -> Bench:
        """Relays are needed now: so many are to lend an address."""
        self.search.need({BASE: relays}, self.now)
        self.pass_time(0.0)
        return self

    def lent(self, relays: int = 1) -> Bench:
        """The same, and the first has lent something; what was done until then is forgotten."""
        self.need(relays)
        self.grant(1)
        self.pass_time(COMPARE_S)
        self.asked.clear()
        self.allocated.clear()
        self.pinged.clear()
        return self

    def whom(self) -> list[NodeId]:
        """Who was asked since the last call."""
        return [context.node for _, context in self.asked if isinstance(context, RelayAccessContext)]

    def grant(self, number: int, lifetime_s: int = 3600, password: bytes = b"secret") -> None:
        """A node says yes to the question that it was asked last."""
        asked, context = next(each for each in reversed(self.asked) if each[1].node == nid(number))
        assert isinstance(asked.body, PrivateReq)
        assert (asked.code, asked.body.name) == (MessageCode.PRIVATE_REQ, RELAY_ACCESS)
        key, sealed = seal(RelayAccessReq.decode(asked.body.body).key, password, RELAY_ACCESS, random.Random(2))
        answer = RelayAccessAns((IpAddressPort.of(*at(number)),), b"1:me", lifetime_s, key, sealed)
        self._end(context, answered(answer.encode()))

    def refuse(self, number: int) -> None:
        """It says that it does not relay."""
        self._end(self._question(number), refused())

    def silence(self, number: int) -> None:
        """It does not answer."""
        self._end(self._question(number), Unanswered((Cause("peer", "nobody answered", self.now),)))

    def junk(self, number: int, body: bytes) -> None:
        """It answers something."""
        self._end(self._question(number), answered(body))

    def _question(self, number: int) -> RelayAccessContext:
        return next(context for _, context in reversed(self.asked) if context.node == nid(number))

    def _end(self, context: RelayAccessContext, outcome: Any) -> None:
        self.search.handle_outcome(context, outcome, self.now)

    def pass_time(self, seconds: float) -> None:
        """All that is due until then."""
        end = self.now + seconds
        while (deadline := self.queue.next_deadline()) is not None and deadline.at <= end:
            self.now = max(self.now, deadline.at)
            self.search.handle_timeout(self.now)
        self.now = end

    def lose(self, number: int, loss: Loss, retry_after_s: float = 0.0) -> None:
        """What a relay has lent is gone."""
        self.search.handle_news(RelayGone(BASE, at(number), (), loss, loss.value, retry_after_s), self.now)


def answered(body: bytes) -> Answer:
    """An answer with this body."""
    made: Any = Answer
    fields = dict.fromkeys(made.__dataclass_fields__)
    return cast(Answer, made(**(fields | {"body": PrivateAns(body)})))


def refused() -> Refused:
    """An error that says that no relay runs there."""
    made: Any = Refused
    return cast(Refused, made(**dict.fromkeys(made.__dataclass_fields__)))


def test_nobody_is_asked_as_long_as_others_reach_us() -> None:
    bench = Bench(1, 2)
    bench.search.linked(0.0)
    bench.pass_time(1000.0)
    assert bench.asked == []


def test_whom_we_are_linked_with_is_asked_and_who_says_no_is_left_alone() -> None:
    bench = Bench(1, 2).need()
    assert bench.whom() == [nid(1), nid(2)]
    bench.refuse(1)
    bench.silence(2)
    bench.asked.clear()
    bench.pass_time(SILENT_S - 5)
    assert bench.whom() == []
    bench.pass_time(SEEK_NONE_MAX_S + 5)
    assert bench.whom() == [nid(2)]
    bench.pass_time(ASK_AGAIN_S)
    assert bench.whom() == [nid(2), nid(1)]


def test_who_has_lost_its_link_and_is_linked_again_may_have_begun_anew() -> None:
    bench = Bench(1).need()
    bench.search.linked(bench.now)
    bench.refuse(1)
    bench.asked.clear()
    bench.search.linked(bench.now)
    assert bench.whom() == []
    bench.linked.clear()
    bench.search.linked(bench.now)
    bench.linked.append(nid(1))
    bench.search.linked(bench.now)
    assert bench.whom() == [nid(1)]


def test_who_is_linked_later_is_asked_at_once() -> None:
    bench = Bench().need()
    bench.linked.append(nid(3))
    bench.search.linked(bench.now)
    assert bench.whom() == [nid(3)]


def test_the_nearest_of_those_that_say_yes_at_once_lends_an_address() -> None:
    bench = Bench(1, 2).need()
    bench.grant(1)
    bench.grant(2)
    assert bench.pinged == [at(1), at(2)]
    bench.search.handle_ping(RelayPinged(at(1), 0.2), bench.now)
    bench.search.handle_ping(RelayPinged(at(2), 0.05), bench.now)
    assert bench.allocated == []
    bench.pass_time(COMPARE_S)
    assert bench.allocated == [(BASE, at(2), StunCredential("1:me", "secret"))]
    assert bench.search.known == ((nid(2), 0.05), (nid(1), 0.2))
    assert bench.search.lending == (at(2),)


def test_three_are_enough_and_one_that_does_not_answer_is_replaced() -> None:
    bench = Bench(1, 2, 3, 4)
    bench.linked.pop()
    bench.need()
    for number in (1, 2, 3):
        bench.grant(number)
        bench.search.handle_ping(RelayPinged(at(number), number / 100), bench.now)
    bench.pass_time(COMPARE_S)
    bench.linked.append(nid(4))
    bench.asked.clear()
    bench.search.linked(bench.now)
    bench.pass_time(PING_S)
    assert bench.whom() == []
    bench.search.handle_ping(RelayPinged(at(1), None), bench.now)
    assert len(bench.search.known) == 3, "of the one that lends us something its client finds out"
    bench.search.handle_ping(RelayPinged(at(3), None), bench.now)
    assert [node for node, _ in bench.search.known] == [nid(1), nid(2)]
    bench.pass_time(5.0)
    assert bench.whom() == [nid(4)]


def test_one_that_is_much_nearer_takes_over_and_the_other_is_given_back_when_no_path_needs_it() -> None:
    bench = Bench(1, 2).need()
    bench.grant(1)
    bench.search.handle_ping(RelayPinged(at(1), 0.2), bench.now)
    bench.pass_time(COMPARE_S)
    bench.grant(2)
    bench.search.handle_ping(RelayPinged(at(2), 0.099), bench.now)
    assert bench.search.lending == (at(1),), "it is hardly nearer than half as far away"
    bench.search.handle_ping(RelayPinged(at(2), 0.02), bench.now)
    assert bench.search.lending == (at(1), at(2))
    bench.search.handle_ping(RelayPinged(at(2), 0.02), bench.now)
    assert bench.released == []
    bench.is_used = False
    bench.search.handle_ping(RelayPinged(at(2), 0.02), bench.now)
    assert bench.released == [(BASE, at(1))]
    bench.lose(1, Loss.ENDED)
    assert bench.search.lending == (at(2),)


def test_two_relays_lend_to_one_port_and_another_does_when_one_is_gone() -> None:
    """The port of calls: a call goes on over the other one."""
    bench = Bench(1, 2, 3).need(relays=2)
    bench.grant(1)
    bench.pass_time(COMPARE_S)
    assert bench.search.lending == (at(1),)
    bench.grant(2)
    bench.pass_time(COMPARE_S)
    assert bench.search.lending == (at(1), at(2))
    bench.grant(3)
    bench.pass_time(COMPARE_S)
    assert bench.search.lending == (at(1), at(2))
    bench.lose(1, Loss.SILENT)
    assert bench.search.lending == (at(2), at(3))


def test_of_two_that_lend_the_farther_gives_way_to_one_that_is_much_nearer() -> None:
    bench = Bench(1, 2, 3).need(relays=2)
    for number in (1, 2):
        bench.grant(number)
    bench.pass_time(COMPARE_S)
    bench.grant(3)
    for number, rtt_s in ((1, 0.2), (2, 0.05), (3, 0.04)):
        bench.search.handle_ping(RelayPinged(at(number), rtt_s), bench.now)
    assert bench.search.lending == (at(1), at(2), at(3))
    bench.is_used = False
    bench.search.handle_ping(RelayPinged(at(3), 0.04), bench.now)
    assert bench.released == [(BASE, at(1))]


def test_a_relay_that_began_anew_is_asked_again_at_once_while_another_lends() -> None:
    bench = Bench(1, 2).need()
    bench.grant(1)
    bench.grant(2)
    bench.search.handle_ping(RelayPinged(at(1), 0.01), bench.now)
    bench.pass_time(COMPARE_S)
    bench.asked.clear()
    bench.allocated.clear()
    bench.lose(1, Loss.RESTARTED)
    assert bench.whom() == [nid(1)]
    assert [relay for _, relay, _ in bench.allocated] == [at(2)]
    bench.grant(1, password=b"another")
    assert len(bench.search.known) == 2


def test_where_there_is_no_other_it_lends_again_as_soon_as_it_has_said_yes() -> None:
    bench = Bench(1).lent()
    bench.lose(1, Loss.CREDENTIAL)
    bench.grant(1, password=b"another")
    bench.pass_time(0.0)
    assert bench.allocated == [(BASE, at(1), StunCredential("1:me", "another"))]


@pytest.mark.parametrize(("loss", "retry_s", "alone_s"), [(Loss.FULL, 60.0, 60.0), (Loss.REFUSED, 0.0, 300.0)])
def test_a_relay_that_is_full_is_left_alone_for_a_while(loss: Loss, retry_s: float, alone_s: float) -> None:
    bench = Bench(1).lent()
    bench.lose(1, loss, retry_s)
    bench.pass_time(alone_s - 1)
    assert bench.allocated == []
    bench.pass_time(2)
    assert [relay for _, relay, _ in bench.allocated] == [at(1)]


def test_a_credential_is_renewed_at_half_of_its_life() -> None:
    bench = Bench(1).lent()
    bench.pass_time(1801.0)
    assert bench.whom() == [nid(1)]
    bench.silence(1)
    bench.pass_time(PING_S + 1)
    assert bench.whom() == [nid(1), nid(1)], "what it has may be good for a while"
    bench.grant(1, password=b"another")
    assert bench.allocated == [(BASE, at(1), StunCredential("1:me", "another"))]
    bench.pass_time(1801.0)
    bench.refuse(1)
    assert bench.search.known == ()


def test_a_lifetime_of_nothing_does_not_have_it_asked_without_end() -> None:
    bench = Bench(1).need()
    bench.grant(1, lifetime_s=0)
    for _ in range(100):
        bench.pass_time(1.0)
    assert len(bench.asked) <= 2


@pytest.mark.parametrize("body", [b"", b"junk", RelayAccessAns((), b"u", 1, b"k", b"s").encode()])
def test_what_cannot_be_read_is_no_relay(body: bytes) -> None:
    bench = Bench(1).need()
    bench.junk(1, body)
    assert (bench.search.known, bench.notes) == ((), ["relay not understood"])


def test_what_is_kept_of_others_is_bounded() -> None:
    bench = Bench().need()
    for number in range(1, RELAYS_KNOWN_MAX + 4):
        bench.linked[:] = [nid(number)]
        bench.search._ask(nid(number), bench.now)
        bench.grant(number)
    assert len(bench.search.known) == RELAYS_KNOWN_MAX
    for number in range(20, 20 + RELAYS_ASKED_MAX + 50):
        bench.search._ask(nid(number), bench.now)
        bench.refuse(number)
    assert len(bench.search._left_alone) == RELAYS_ASKED_MAX


def test_when_none_is_needed_any_more_what_was_lent_is_given_back() -> None:
    bench = Bench(1).lent()
    bench.search.need({}, bench.now)
    assert bench.released == [(BASE, at(1))]
    assert (bench.search.known, bench.search.lending) == ((), ())
    bench.asked.clear()
    bench.pass_time(10_000.0)
    assert bench.asked == []


def test_where_datagrams_do_not_pass_relays_are_asked_and_pinged_over_streams() -> None:
    """As soon as they pass, what was lent over streams is given back, and the other way round."""
    bench = Bench(1, 2)
    bench.search.need({BASE: 1}, 0.0, over_streams=True)
    bench.pass_time(0.0)
    bench.grant(1)
    bench.grant(2)
    bench.pass_time(PING_S)
    assert (bench.over_streams, bench.pinged, bench.pinged_from) == ([True], [at(1), at(2)], [BASE, BASE])
    bench.pass_time(1.2 * PING_OVER_STREAM_S - PING_S)
    assert len(bench.pinged) == 4
    bench.pinged.clear()
    [(_, lending, _)] = bench.allocated
    bench.search.need({BASE: 1}, bench.now, over_streams=False)
    assert bench.released == [], "a call may go over it"
    bench.pass_time(PART_S)
    assert (bench.released, bench.released_streams) == ([(BASE, lending)], [True])
    assert bench.over_streams == [True, False]
    bench.pass_time(1.2 * PING_OVER_STREAM_S)
    assert set(bench.pinged) == {at(1), at(2)}
    assert set(bench.pinged_from[4:]) == {None}
    # That it has ended is no loss: it was given back.
    bench.search.handle_news(RelayGone(BASE, lending, (), Loss.ENDED, "", 0.0, over_stream=True), bench.now)
    assert bench.search.lending == (lending,)


@pytest.mark.parametrize("loss", [Loss.SILENT, Loss.UNREACHABLE])
def test_a_relay_that_fell_silent_lends_again_as_soon_as_it_answers_a_ping(loss: Loss) -> None:
    """A router was away for a second, or has another address: nothing is wrong with the relay."""
    bench = Bench(1).lent()
    bench.lose(1, loss)
    assert bench.pinged == [at(1)]
    bench.pass_time(1.0)
    assert bench.allocated == []
    bench.search.handle_ping(RelayPinged(at(1), 0.02), bench.now)
    assert [relay for _, relay, _ in bench.allocated] == [at(1)]
    assert bench.whom() == [], "its credential is as good as before"


def test_a_relay_that_fell_silent_and_answers_no_ping_is_gone() -> None:
    bench = Bench(1, 2).need()
    bench.grant(1)
    bench.grant(2)
    bench.search.handle_ping(RelayPinged(at(1), 0.02), bench.now)
    bench.pass_time(COMPARE_S)
    bench.lose(1, Loss.SILENT)
    assert bench.search.lending == (at(2),)
    bench.search.handle_ping(RelayPinged(at(1), None), bench.now)
    assert [node for node, _ in bench.search.known] == [nid(2)]


def test_over_streams_a_relay_that_cannot_be_dialled_is_not_asked_without_end() -> None:
    """It says yes over the overlay, and its port is closed to us: each try is a while after the one before."""
    bench = Bench(1)
    bench.search.need({BASE: 1}, 0.0, over_streams=True)
    bench.pass_time(0.0)
    for _ in range(20):
        if (before := len(bench.asked)) > len(bench.allocated):
            bench.grant(1)
            bench.pass_time(COMPARE_OVER_STREAM_S)
            gone = RelayGone(BASE, at(1), (), Loss.UNREACHABLE, "", 0.0, over_stream=True)
            bench.search.handle_news(gone, bench.now)
            assert len(bench.asked) == before, "not at once"
        bench.pass_time(BACK_AGAIN_S / 4)
    assert 3 <= len(bench.allocated) <= 5
    assert bench.search.lending == ()


def test_that_pings_were_lost_says_nothing_of_relays_that_are_asked_over_streams() -> None:
    bench = Bench(1).lent()
    bench.lose(1, Loss.SILENT)
    bench.search.need({BASE: 1}, bench.now, over_streams=True)
    assert bench.over_streams == [False, True]
    bench.search.handle_ping(RelayPinged(at(1), None), bench.now)
    assert [node for node, _ in bench.search.known] == [nid(1)]
    # How far away it is nobody has said yet.
    assert bench.pinged_from[-1] == BASE


@pytest.mark.parametrize("is_needed", [True, False])
def test_what_is_lent_over_a_stream_stays_if_it_is_wanted_again_soon(is_needed: bool) -> None:
    """Datagrams pass for a moment only; and where no relay is needed any more it goes at once."""
    bench = Bench(1)
    bench.search.need({BASE: 1}, 0.0, over_streams=True)
    bench.pass_time(0.0)
    bench.grant(1)
    bench.pass_time(COMPARE_OVER_STREAM_S)
    bench.search.need({BASE: 1}, bench.now)
    bench.pass_time(1.0)
    bench.search.need({BASE: 1} if is_needed else {}, bench.now, over_streams=is_needed)
    bench.pass_time(2 * PART_S)
    assert (True in bench.released_streams) is not is_needed


def test_over_streams_the_nearest_lends_as_well() -> None:
    """How far away each is its answer over a stream has said; one that does not answer is left alone."""
    bench = Bench(1, 2, 3)
    bench.search.need({BASE: 1}, 0.0, over_streams=True)
    bench.pass_time(0.0)
    for number, rtt_s in ((1, 0.2), (2, 0.02), (3, None)):
        bench.grant(number)
        bench.search.handle_ping(RelayPinged(at(number), rtt_s, over_stream=True), bench.now)
    assert bench.search.known == ((nid(2), 0.02), (nid(1), 0.2))
    bench.pass_time(COMPARE_OVER_STREAM_S - 0.1)
    assert bench.allocated == []
    bench.pass_time(0.1)
    assert [relay for _, relay, _ in bench.allocated] == [at(2)]


def test_a_relay_is_in_use_from_when_it_has_lent_something() -> None:
    """Until it has answered nobody is told that it lends."""
    bench = Bench(1).lent()
    assert bench.search.lending == (at(1),)
    bench.unheard.add(at(1))
    assert bench.search.lending == ()
    bench.search.handle_ping(RelayPinged(at(1), None), bench.now)
    assert [node for node, _ in bench.search.known] == [nid(1)], "its client finds out by itself"


def test_what_was_given_back_and_is_wanted_again_before_that_is_heard_is_asked_for_anew() -> None:
    """Datagrams ceased to pass for a moment only."""
    bench = Bench(1).lent()
    bench.search.need({BASE: 1}, bench.now, over_streams=True)
    bench.search.need({BASE: 1}, bench.now)
    bench.allocated.clear()
    bench.lose(1, Loss.ENDED)
    assert [(base, relay) for base, relay, _ in bench.allocated] == [(BASE, at(1))]


@pytest.mark.parametrize("loss", [Loss.ENDED, Loss.UNREACHABLE, Loss.SILENT])
def test_what_becomes_of_a_port_that_is_gone_is_no_matter(loss: Loss) -> None:
    """Our address is another one: what was lent to the one before ends, and says nothing of the relay."""
    bench = Bench(1).lent()
    bench.search.need({BASE._replace(host="10.0.0.3"): 1}, bench.now)
    assert bench.search.lending == (at(1),)
    bench.pinged.clear()
    bench.lose(1, loss)
    assert (bench.search.lending, bench.pinged) == ((at(1),), [])
    bench.search.handle_ping(RelayPinged(at(1), 0.02), bench.now)
    assert bench.search.lending == (at(1),)


def test_a_relay_that_is_found_while_another_is_full_lends_at_once() -> None:
    """And the full one is asked again when it said, where that is not enough."""
    bench = Bench(1).lent(relays=2)
    bench.lose(1, Loss.FULL, 60.0)
    bench.linked.append(nid(2))
    bench.search.linked(bench.now)
    bench.grant(2)
    bench.pass_time(COMPARE_S)
    assert [relay for _, relay, _ in bench.allocated] == [at(2)]
    bench.pass_time(60.0)
    assert [relay for _, relay, _ in bench.allocated] == [at(2), at(1)]
