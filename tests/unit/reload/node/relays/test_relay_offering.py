"""p2psip.reload.node.relays.relay_offering: when a node relays, for whom, and where it is recorded."""

from __future__ import annotations

import random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from p2psip.base.address import Address
from p2psip.base.ids import NodeId
from p2psip.base.timers import TimerQueue
from p2psip.reload.config.configuration import TURN_SERVICE_KIND
from p2psip.reload.node.relays.relay_offering import RelayOffering, RelayRecordContext
from p2psip.reload.node.relays.relay_terms import RelayTerms, RelayWish
from p2psip.reload.paths.relays.own_relay import OwnRelay
from p2psip.reload.paths.values import Purpose
from p2psip.reload.security.sealed_answer import SealedQuestion
from p2psip.reload.topology.chord.ring import hash_name
from p2psip.reload.transport.outcome import Answer, Unanswered
from p2psip.reload.usages.turn_service import REFRESH_S, resource_of
from p2psip.reload.wire.kinds import TURN_SERVICE
from p2psip.reload.wire.rejections import InvalidMessage, NotFound
from p2psip.reload.wire.storage_messages import StoreReq
from p2psip.reload.wire.usages.relay_access import RELAY_ACCESS, RelayAccessAns, RelayAccessReq
from p2psip.reload.wire.usages.turn_server import TurnServer
from p2psip.sim.signer import SimulatedIdentity

PUBLIC, PRIVATE = Address("203.0.113.1", 6084), Address("192.168.1.2", 6084)
IPV6, LOCAL = Address("2001:db8::1", 6084), Address("fe80::1", 6084)
ME = SimulatedIdentity("peer-me@sim.example", NodeId(bytes(15) + b"\x07"))
ASKS: Any = SimpleNamespace(signer=SimpleNamespace(node_id=NodeId(bytes(16))))


class Bench:
    """An offering, and the rest of its node played by hand."""

    def __init__(self, wish: RelayWish = RelayWish.YES, *addresses: Address, density: int = 3) -> None:
        self.stored: list[StoreReq] = []
        self.answers: list[bytes] = []
        self.queue = TimerQueue()
        self.relay = OwnRelay(random.Random(1))
        told = addresses or (PUBLIC,)
        whereabouts = SimpleNamespace(
            has_ice=True,
            addresses={Purpose.RELOAD: told, Purpose.SIP: ()},
            is_punched=lambda purpose: purpose is Purpose.RELOAD,
            own=lambda purpose: told,
        )
        exchange = SimpleNamespace(
            queue=self.queue,
            identity=ME,
            configuration=SimpleNamespace(instance_name="sim.example", turn_density=density),
            request=lambda asked, context, now: self.stored.append(asked.body) or 1,
            answer=lambda request, body: self.answers.append(body.body),
            note=lambda *_, **__: None,
        )
        rules = SimpleNamespace(kinds={TURN_SERVICE: TURN_SERVICE_KIND}, hash_name=hash_name)
        issued = SimpleNamespace(storage_time_ms=1, after=None)
        data = SimpleNamespace(
            storage=SimpleNamespace(rules=rules), issue_storage_time=lambda node, now, above_ms=0: issued
        )
        self.topology = SimpleNamespace(is_connected=True, is_leaving=False)
        made: Any = RelayOffering
        self.offering: RelayOffering = made(
            exchange,
            data,
            self.topology,
            SimpleNamespace(own_relay=self.relay, whereabouts=whereabouts),
            RelayTerms(wish),
            random.Random(2),
        )
        self.offering.consider(0.0)

    def servers(self) -> list[tuple[int, tuple[str, int] | None]]:
        """What was recorded since the last call."""
        stored, self.stored = self.stored, []
        records = [TurnServer.decode(each.kind_data[0].values[0].data_value.value) for each in stored]  # type: ignore[union-attr]
        return [(each.iteration, each.server_address.host_port) for each in records]


def stored() -> Answer:
    """The answer to a Store."""
    made: Any = Answer
    return cast(Answer, made(**dict.fromkeys(made.__dataclass_fields__)))


@pytest.mark.parametrize(
    ("wish", "is_open", "is_offered"),
    [
        (RelayWish.YES, False, True),
        (RelayWish.NO, True, False),
        (RelayWish.AUTO, False, False),
        (RelayWish.AUTO, True, True),
    ],
)
def test_who_relays(wish: RelayWish, is_open: bool, is_offered: bool) -> None:
    bench = Bench(wish)
    bench.offering.use_reach(is_open=is_open, now=0.0)
    assert bench.offering.is_offered is is_offered
    bench.offering.use_reach(is_open=False, now=1.0)
    assert bench.offering.is_offered is (wish is RelayWish.YES)


def test_9_for_each_d_between_1_and_turn_density() -> None:
    """Nothing is stored twice because something else happens meanwhile."""
    bench = Bench()
    assert [each.resource for each in bench.stored] == [resource_of(ME.node_id, d, hash_name) for d in (1, 2, 3)]
    assert bench.servers() == [(d, PUBLIC) for d in (1, 2, 3)]
    bench.offering.joined(0.0)
    assert bench.stored == []


@pytest.mark.parametrize("density", [0, 255])
def test_9_turn_density_has_bounds(density: int) -> None:
    """ "If the turn-density is not set to zero"; "with a maximum iteration of counter 20"."""
    assert len(Bench(density=density).stored) == min(density, 20)


def test_what_is_recorded_is_refreshed_and_what_was_not_is_tried_again() -> None:
    bench = Bench()
    bench.offering.handle_outcome(RelayRecordContext(1), stored(), 0.0)
    bench.offering.handle_outcome(RelayRecordContext(2), Unanswered(()), 0.0)
    bench.servers()
    bench.offering.handle_timeout(5.0)
    assert bench.servers() == [(2, PUBLIC)]
    bench.offering.handle_timeout(REFRESH_S)
    assert bench.servers() == [(1, PUBLIC)]


def test_a_relay_that_is_none_any_more_takes_its_records_back() -> None:
    bench = Bench(RelayWish.AUTO)
    bench.offering.use_reach(is_open=True, now=0.0)
    for iteration in (1, 2, 3):
        bench.offering.handle_outcome(RelayRecordContext(iteration), stored(), 0.0)
    bench.stored.clear()
    bench.offering.use_reach(is_open=False, now=1.0)
    assert [each.kind_data[0].values[0].data_value.exists for each in bench.stored] == [False] * 3  # type: ignore[union-attr]


def test_ports_are_opened_where_most_can_reach_them() -> None:
    """Of each family one; link-local addresses never."""
    for told, served in (
        ((PRIVATE, PUBLIC, LOCAL, IPV6), {PUBLIC, IPV6}),
        ((LOCAL, PRIVATE), {PRIVATE}),
        ((LOCAL,), set()),
    ):
        bench = Bench(RelayWish.YES, *told)
        assert bench.offering.is_offered is bool(served)
        assert {Address(*place) for _, place in bench.servers() if place is not None} <= served


def test_a_member_is_told_where_and_has_a_password_that_nobody_else_reads() -> None:
    bench = Bench(RelayWish.YES, PUBLIC, IPV6)
    question = SealedQuestion(random.Random(3))
    bench.offering.handle_access(ASKS, RelayAccessReq(question.key).encode(), 10.0)
    [body] = bench.answers
    answer = RelayAccessAns.decode(body)
    assert {each.host_port for each in answer.servers} == {tuple(PUBLIC), tuple(IPV6)}
    password = question.unseal(answer.key, answer.sealed, RELAY_ACCESS).decode()
    credential = bench.relay.issue(str(ASKS.signer.node_id), answer.lifetime, 10.0)
    assert credential is not None
    assert (answer.username.decode(), password) == (credential.username, credential.password)
    assert password.encode() not in body


@pytest.mark.parametrize("body", [b"", b"\x20short", RelayAccessReq(b"no key").encode()])
def test_what_is_no_question_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidMessage):
        Bench().offering.handle_access(ASKS, body, 0.0)


def test_who_does_not_relay_says_so() -> None:
    with pytest.raises(NotFound):
        Bench(RelayWish.NO).offering.handle_access(ASKS, RelayAccessReq(bytes(32)).encode(), 0.0)
