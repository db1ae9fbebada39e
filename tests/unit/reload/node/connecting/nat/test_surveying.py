"""What members can have us send for their surveys, and what not (docs/decisions/nat-survey.md)."""

from __future__ import annotations

import pytest
from node_bench import ME, Heard, NodeBench, address, nid

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.base.ids import NodeId
from p2psip.reload.node.connecting.nat.surveying import SPARE_OPEN_S, TOKENS_S
from p2psip.reload.paths.limits import SURVEY_PROBES_PER_HOST, SURVEY_PROBES_PER_MEMBER, SURVEY_SPARES_MAX
from p2psip.reload.paths.nat.survey import probe
from p2psip.reload.paths.values import CloseSpare, SendSpare, SendStun, SpareArrived, SpareOpened, StunArrived
from p2psip.reload.wire.common import IpAddressPort
from p2psip.reload.wire.contents import ErrorCode, ErrorResponse, MessageCode
from p2psip.reload.wire.private_messages import REACH, PrivateAns, PrivateReq, ProbeWay, ReachAns, ReachReq
from p2psip.stun.message import BINDING, MessageClass, StunMessage

TOKEN = b"token of 12 b"[:12]
SOURCE = Address(address(150).host, 50000)
"""Another port of the machine of member 150."""


def start() -> NodeBench:
    """A member that is linked with 50 and 150."""
    bench = NodeBench()
    bench.become_ring(150, 50)
    bench.effects.clear()
    return bench


def seen(bench: NodeBench, source: Address = SOURCE, token: bytes = TOKEN) -> None:
    """A Binding request has come from there."""
    request = StunMessage(MessageClass.REQUEST, BINDING, token, has_fingerprint=True).encode()
    bench.node.handle_path(StunArrived(address(ME), source, request), bench.now)
    bench.settle()
    bench.effects.clear()


def asked(
    bench: NodeBench,
    way: ProbeWay,
    place: int = 150,
    *,
    avoid: tuple[NodeId, ...] = (),
    target: Address | None = None,
    token: bytes = TOKEN,
) -> None:
    """A member asks for a probe."""
    where = None if target is None else IpAddressPort.of(*target)
    body = ReachReq(way, token, avoid, where)
    bench.send(place, MessageCode.PRIVATE_REQ, PrivateReq(REACH, body.encode()))


def answered(bench: NodeBench, place: int = 150) -> ReachAns:
    """The answer that it got."""
    body = bench.hear_one(place, MessageCode.PRIVATE_ANS).body
    assert isinstance(body, PrivateAns)
    return ReachAns.decode(body.body)


def refused(bench: NodeBench, place: int = 150) -> object:
    """The error that it got."""
    return bench.hear_one(place, MessageCode.ERROR).error.error_code


def sent(bench: NodeBench) -> list[Effect]:
    """All that leaves the machine beside what goes over links."""
    return [*bench.take(SendStun), *bench.take(SendSpare)]


def test_a_probe_goes_to_where_a_request_came_from() -> None:
    bench = start()
    seen(bench)
    asked(bench, ProbeWay.SAME_PORT)
    assert answered(bench) == ReachAns(0, ())
    assert sent(bench) == [SendStun(address(ME), SOURCE, probe(TOKEN))]


def test_nobody_has_a_probe_sent_to_another_machine_than_his_own() -> None:
    """Whoever forges the source of a Binding request, or has seen the transaction of another's."""
    bench = start()
    seen(bench, Address("203.0.113.66", 53))
    asked(bench, ProbeWay.SAME_PORT)
    assert refused(bench) is ErrorCode.FORBIDDEN
    seen(bench)
    asked(bench, ProbeWay.OTHER_PORT, 50)
    assert refused(bench, 50) is ErrorCode.FORBIDDEN
    assert sent(bench) == []


def test_what_came_long_ago_or_never_is_not_answered() -> None:
    bench = start()
    asked(bench, ProbeWay.SAME_PORT)
    assert refused(bench) is ErrorCode.NOT_FOUND
    seen(bench)
    bench.now += TOKENS_S + 1
    asked(bench, ProbeWay.SAME_PORT)
    assert refused(bench) is ErrorCode.NOT_FOUND


def test_one_member_has_so_many_and_the_next_later() -> None:
    bench = start()
    seen(bench)
    for _ in range(SURVEY_PROBES_PER_MEMBER):
        asked(bench, ProbeWay.SAME_PORT)
        answered(bench)
    asked(bench, ProbeWay.SAME_PORT)
    assert refused(bench) is ErrorCode.REQUEST_TIMEOUT
    bench.now += 5.0
    asked(bench, ProbeWay.SAME_PORT)
    answered(bench)


def test_from_another_port_which_answers_its_member_for_a_while() -> None:
    bench = start()
    seen(bench)
    asked(bench, ProbeWay.OTHER_PORT)
    (effect,) = bench.take(SendSpare)
    assert isinstance(effect, SendSpare)
    assert (effect.remote, effect.data) == (SOURCE, probe(TOKEN))
    spare = effect.spare
    bench.node.handle_path(SpareOpened(spare, Address(address(ME).host, 41000)), bench.now)
    bench.settle()
    assert answered(bench) == ReachAns(41000, ())
    question = StunMessage(MessageClass.REQUEST, BINDING, TOKEN, has_fingerprint=True).encode()
    for source, answers in ((SOURCE, 1), (Address("203.0.113.66", 1), 0)):
        bench.node.handle_path(SpareArrived(spare, source, question), bench.now)
        bench.settle()
        assert len(bench.take(SendSpare)) == answers
    bench.run_for(SPARE_OPEN_S + 0.1)
    assert CloseSpare(spare) in bench.effects


def test_ports_are_bounded() -> None:
    bench = start()
    seen(bench)
    for _ in range(SURVEY_SPARES_MAX):
        asked(bench, ProbeWay.OTHER_PORT)
    bench.remotes[150].heard.clear()
    asked(bench, ProbeWay.OTHER_PORT)
    assert refused(bench) is ErrorCode.REQUEST_TIMEOUT


def test_a_third_member_is_asked_and_named() -> None:
    bench = start()
    seen(bench)
    asked(bench, ProbeWay.OTHER_MEMBER)
    request = bench.hear_one(50, MessageCode.PRIVATE_REQ)
    assert isinstance(request.body, PrivateReq)
    body = ReachReq.decode(request.body.body)
    assert (body.way, body.token) == (ProbeWay.ON_BEHALF, TOKEN)
    assert body.address is not None
    assert body.address.host_port == tuple(SOURCE)
    bench.answer(50, request, MessageCode.PRIVATE_ANS, PrivateAns(ReachAns(0, ()).encode()))
    assert answered(bench) == ReachAns(0, (nid(50),))


def test_a_third_member_may_be_asked_for_another_port_of_the_host_that_asks_and_of_no_other() -> None:
    """Its router has mapped that one."""
    bench = start()
    seen(bench)
    mapped = SOURCE._replace(port=7000)
    asked(bench, ProbeWay.OTHER_MEMBER_TO_MAPPED, target=mapped)
    request = bench.hear_one(50, MessageCode.PRIVATE_REQ)
    assert isinstance(request.body, PrivateReq)
    body = ReachReq.decode(request.body.body)
    assert body.way is ProbeWay.ON_BEHALF
    assert body.address is not None
    assert body.address.host_port == tuple(mapped)
    for target in (Address("203.0.113.66", 7000), SOURCE._replace(port=0)):
        asked(bench, ProbeWay.OTHER_MEMBER_TO_MAPPED, target=target)
        assert refused(bench) is ErrorCode.FORBIDDEN
    assert sent(bench) == []


def test_another_port_sends_to_another_port_of_the_host_that_asks_and_of_no_other() -> None:
    """As above, where there is no third member."""
    bench = start()
    seen(bench)
    mapped = SOURCE._replace(port=7000)
    asked(bench, ProbeWay.OTHER_PORT_TO_MAPPED, target=mapped)
    (spare,) = [effect for effect in bench.effects if isinstance(effect, SendSpare)]
    assert (spare.remote, spare.data) == (mapped, probe(TOKEN))
    asked(bench, ProbeWay.OTHER_PORT_TO_MAPPED, target=Address("203.0.113.66", 7000))
    assert refused(bench) is ErrorCode.FORBIDDEN


def test_who_knows_nobody_else_says_so() -> None:
    """Also where the one that was asked does not know what is meant."""
    bench = start()
    seen(bench)
    asked(bench, ProbeWay.OTHER_MEMBER, avoid=(nid(50),))
    assert refused(bench) is ErrorCode.NOT_FOUND
    asked(bench, ProbeWay.OTHER_MEMBER)
    request: Heard = bench.hear_one(50, MessageCode.PRIVATE_REQ)
    bench.answer(50, request, MessageCode.ERROR, ErrorResponse.of(ErrorCode.INVALID_MESSAGE, "what?"))
    assert refused(bench) is ErrorCode.NOT_FOUND


def test_where_the_other_one_is_asked_too_often_it_is_said_that_it_may_be_asked_again() -> None:
    bench = start()
    seen(bench)
    asked(bench, ProbeWay.OTHER_MEMBER)
    request: Heard = bench.hear_one(50, MessageCode.PRIVATE_REQ)
    bench.answer(50, request, MessageCode.ERROR, ErrorResponse.of(ErrorCode.REQUEST_TIMEOUT, "too many probes"))
    assert refused(bench) is ErrorCode.REQUEST_TIMEOUT


def test_on_behalf_of_a_member_of_another_one_so_many_to_one_host() -> None:
    bench = start()
    target = Address("192.0.2.77", 4444)
    for _ in range(SURVEY_PROBES_PER_HOST):
        asked(bench, ProbeWay.ON_BEHALF, target=target)
        answered(bench)
    assert sent(bench) == [SendStun(None, target, probe(TOKEN))] * SURVEY_PROBES_PER_HOST
    asked(bench, ProbeWay.ON_BEHALF, target=target)
    assert refused(bench) is ErrorCode.REQUEST_TIMEOUT


@pytest.mark.parametrize(
    ("host", "code"),
    [
        ("10.0.0.1", ErrorCode.FORBIDDEN),
        ("127.0.0.1", ErrorCode.FORBIDDEN),
        ("224.0.0.1", ErrorCode.INVALID_MESSAGE),
        ("0.0.0.0", ErrorCode.INVALID_MESSAGE),
    ],
)
def test_nobody_has_us_send_behind_our_own_walls_or_to_many(host: str, code: ErrorCode) -> None:
    bench = start()
    asked(bench, ProbeWay.ON_BEHALF, target=Address(host, 80))
    assert refused(bench) is code
    assert sent(bench) == []


def test_what_is_no_request_for_a_probe_is_refused() -> None:
    bench = start()
    asked(bench, ProbeWay.SAME_PORT, token=b"short")
    assert refused(bench) is ErrorCode.INVALID_MESSAGE
    bench.send(150, MessageCode.PRIVATE_REQ, PrivateReq(REACH, b"\xff"))
    assert refused(bench) is ErrorCode.INVALID_MESSAGE
