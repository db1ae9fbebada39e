"""A client and the relay, both cores, in virtual time."""

from __future__ import annotations

import random

import pytest
from turn_bench import HOST, HOST6, PEER, SERVER, Bench

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.stun.attributes import ERROR_CODE, NONCE, REALM, Family, Icmp, StunErrorCode
from p2psip.stun.credentials import StunCredential
from p2psip.stun.message import MessageClass, StunMessage, decode
from p2psip.turn.client import CHALLENGES_MAX, IDLE_S, TurnClient
from p2psip.turn.client_values import Allocated, Loss, NotArrived, NotPermitted, Permitted, RelayedData, RelayLost
from p2psip.turn.limits import TurnLimits
from p2psip.turn.methods import ALLOCATE, REFRESH
from p2psip.turn.values import Flow, Transmit, TurnRelay

CLIENT = Address("192.0.2.7", 4000)


class _Wire:
    """Both ends, with no time between them; what the server relays, and what the client tells."""

    def __init__(
        self,
        bench: Bench | None = None,
        families: tuple[Family, ...] = (Family.IPV4,),
        *,
        is_stream: bool = False,
        user: str = "alice",
        seed: int = 2,
    ) -> None:
        self.bench = bench or Bench()
        self.flow = Flow(SERVER, CLIENT, is_stream)
        credential = self.bench.members.issue(user, 100_000, 0.0)
        self.client = TurnClient(Flow(CLIENT, SERVER, is_stream), credential, random.Random(seed), families)
        self.is_cut = False
        self.relayed: list[TurnRelay] = []
        self.told: list[Effect] = []
        self.sent_bytes = 0

    def run(self) -> list[Effect]:
        """Until nobody has anything more to say; what the client has told."""
        while effects := self.client.drain():
            for effect in effects:
                if not isinstance(effect, Transmit):
                    self.told.append(effect)
                    continue
                self.sent_bytes += len(effect.data)
                if not self.is_cut:
                    self.back(self.bench.hand(self.flow, effect.data))
        told, self.told = self.told, []
        return told

    def back(self, effects: list[Effect]) -> None:
        for effect in effects:
            if isinstance(effect, TurnRelay):
                self.relayed.append(effect)
            elif isinstance(effect, Transmit):
                self.client.handle_data(effect.data, self.bench.now)

    def comes(self, relayed: Address, data: bytes) -> list[Effect]:
        """A datagram of the peer."""
        self.bench.server.handle_relayed(relayed, PEER, data, self.bench.now)
        self.back(self.bench.settle())
        return self.run()

    def pass_time(self, until: float) -> list[tuple[float, Effect]]:
        """All timers of the client up to then."""
        seen = []
        while (deadline := self.client.next_deadline()) is not None and deadline.at <= until:
            self.bench.pass_time(deadline.at)
            self.client.handle_timeout(deadline.at)
            seen += [(deadline.at, effect) for effect in self.run()]
        self.bench.pass_time(until)
        return seen

    def allocated(self) -> Address:
        self.client.allocate(self.bench.now)
        [effect] = self.run()
        assert isinstance(effect, Allocated)
        assert effect.mapped == CLIENT
        return effect.relayed[0]

    def permitted(self) -> Address:
        relayed = self.allocated()
        self.client.permit([PEER.host], self.bench.now)
        assert self.run() == [Permitted(PEER.host)]
        return relayed


@pytest.mark.parametrize("is_stream", [False, True])
@pytest.mark.parametrize("is_bound", [False, True])
def test_both_ways(is_stream: bool, is_bound: bool) -> None:
    wire = _Wire(is_stream=is_stream)
    relayed = wire.permitted()
    if is_bound:
        wire.client.bind(PEER, 0.0)
        assert wire.run() == []
    before = wire.sent_bytes
    assert wire.client.send(PEER, b"there", 0.0)
    assert wire.run() == []
    assert wire.relayed == [TurnRelay(relayed, PEER, b"there")]
    assert wire.sent_bytes - before == {(False, True): 9, (True, True): 12}.get((is_stream, is_bound), 44)
    assert wire.comes(relayed, b"back") == [RelayedData(PEER, b"back")]


def test_one_host_that_is_refused_does_not_take_the_others_with_it() -> None:
    """A relay refuses the whole request (10.2), and among the candidates of a peer are those of its LAN."""
    wire = _Wire()
    wire.allocated()
    wire.client.permit(["10.0.0.7", PEER.host, "192.168.1.9"], 0.0)
    told = wire.run()
    assert Permitted(PEER.host) in told
    assert {each.host for each in told if isinstance(each, NotPermitted)} == {"10.0.0.7", "192.168.1.9"}
    assert wire.client.send(PEER, b"there", 0.0)


def test_no_question_is_shorter_than_its_answer() -> None:
    """So the relay answers also where it grants strangers nothing."""
    wire = _Wire(Bench(TurnLimits(surplus_bytes_per_s=0)))
    assert wire.allocated().host == HOST


def test_families() -> None:
    assert _Wire(families=(Family.IPV6,)).allocated().host == HOST6
    wire = _Wire(families=(Family.IPV4, Family.IPV6))
    wire.client.allocate(0.0)
    [effect] = wire.run()
    assert isinstance(effect, Allocated)
    assert [each.host for each in effect.relayed] == [HOST, HOST6]


@pytest.mark.must("8445 7.2.1/3")
@pytest.mark.parametrize("is_bound", [False, True])
def test_all_is_refreshed_in_time_and_nonces_grow_stale(is_bound: bool) -> None:
    """Three hours, in which the allocation, the permission and the channel never end."""
    wire = _Wire()
    relayed = wire.allocated()
    if is_bound:
        wire.client.bind(PEER, 0.0)
    else:
        wire.client.permit([PEER.host], 0.0)
    wire.run()
    for number in range(1, 1080):
        assert wire.pass_time(10.0 * number) == []
        assert wire.comes(relayed, b"x") == [RelayedData(PEER, b"x")]
    assert len(wire.bench.open) == 1


def test_who_is_idle_costs_little_and_notices_a_restart() -> None:
    wire = _Wire()
    wire.permitted()
    before = wire.sent_bytes
    assert wire.pass_time(1000.0) == []
    assert (wire.sent_bytes - before) / 1000 < 15
    wire.bench.__post_init__()
    [(at, effect)] = wire.pass_time(1100.0)
    assert at <= 1000.0 + IDLE_S
    assert isinstance(effect, RelayLost)
    assert effect.loss is Loss.RESTARTED


def test_who_talks_notices_a_restart_within_a_second() -> None:
    wire = _Wire()
    wire.permitted()
    wire.pass_time(100.0)
    wire.bench.__post_init__()
    wire.client.send(PEER, b"anybody there?", 100.0)
    wire.run()
    [(at, effect)] = wire.pass_time(110.0)
    assert at == 101.0
    assert isinstance(effect, RelayLost)
    assert effect.loss is Loss.RESTARTED


def test_who_talks_notices_that_nobody_answers_within_three_seconds() -> None:
    wire = _Wire()
    wire.permitted()
    wire.pass_time(100.0)
    wire.is_cut = True
    wire.client.send(PEER, b"anybody there?", 100.0)
    wire.run()
    [(at, effect)] = wire.pass_time(140.0)
    assert at <= 103.0
    assert effect == RelayLost(Loss.SILENT, Loss.SILENT.value, 0.0)


def test_a_peer_that_only_listens_makes_no_traffic() -> None:
    """While the relay answers it is asked less and less often."""
    wire = _Wire()
    wire.permitted()
    before = wire.sent_bytes
    for number in range(600):
        assert wire.pass_time(number / 10) == []
        wire.client.send(PEER, b"", number / 10)
        wire.run()
    asked = wire.sent_bytes - before - 600 * 36
    assert 0 < asked < 8 * 300


def test_a_link_that_was_lost_is_reason_to_ask() -> None:
    wire = _Wire()
    wire.permitted()
    wire.bench.__post_init__()
    wire.client.doubt(0.0)
    [effect] = wire.run()
    assert isinstance(effect, RelayLost)
    assert effect.loss is Loss.RESTARTED


def test_icmp_and_a_stream_that_ends() -> None:
    wire = _Wire()
    wire.permitted()
    wire.client.handle_unreachable("Connection refused")
    assert wire.run() == [RelayLost(Loss.UNREACHABLE, "Connection refused", 0.0)]
    assert wire.client.next_deadline() is None
    assert wire.pass_time(1000.0) == []


def test_ended() -> None:
    wire = _Wire()
    wire.permitted()
    wire.client.close(0.0)
    assert wire.run() == [RelayLost(Loss.ENDED, Loss.ENDED.value, 0.0)]
    assert wire.bench.open == set()


def test_what_is_refused() -> None:
    full = _Wire(Bench(TurnLimits(allocations=0)))
    full.client.allocate(0.0)
    [effect] = full.run()
    assert isinstance(effect, RelayLost)
    assert (effect.loss, effect.retry_after_s) == (Loss.FULL, 60.0)
    wrong = _Wire()
    wrong.client = TurnClient(Flow(CLIENT, SERVER), StunCredential("9999:alice", "guessed"), random.Random(1))
    wrong.client.allocate(0.0)
    [effect] = wrong.run()
    assert isinstance(effect, RelayLost)
    assert effect.loss is Loss.CREDENTIAL
    no6 = _Wire(Bench(relays=(HOST,)), families=(Family.IPV6,))
    no6.client.allocate(0.0)
    [effect] = no6.run()
    assert isinstance(effect, RelayLost)
    assert effect.loss is Loss.REFUSED


def test_a_host_that_the_relay_does_not_relay_to() -> None:
    wire = _Wire()
    wire.allocated()
    wire.client.permit(["10.0.0.1"], 0.0)
    assert wire.run() == [NotPermitted("10.0.0.1", 403, "Forbidden")]
    assert not wire.client.send(Address("10.0.0.1", 80), b"x", 0.0)
    wire.client.bind(Address(HOST, 22), 0.0)
    assert wire.run() == [NotPermitted(HOST, 403, "Forbidden")]


def test_what_did_not_arrive() -> None:
    wire = _Wire()
    relayed = wire.permitted()
    wire.bench.server.handle_icmp(relayed, PEER, Icmp(3, 3), 0.0)
    wire.back(wire.bench.settle())
    assert wire.run() == [NotArrived(PEER, Icmp(3, 3))]


def test_forged_answers_change_nothing_and_are_told() -> None:
    wire = _Wire()
    wire.permitted()
    wire.is_cut = True
    wire.client.doubt(0.0)
    [effect] = wire.client.drain()
    assert isinstance(effect, Transmit)
    request = decode(effect.data)
    for message_class, attributes in (
        (MessageClass.SUCCESS, ()),
        (MessageClass.ERROR, (ERROR_CODE.of(StunErrorCode(437)),)),
        (MessageClass.ERROR, (ERROR_CODE.of(StunErrorCode(400)),)),
    ):
        wire.client.handle_data(
            StunMessage(message_class, request.method, request.transaction, attributes).encode(), 0.0
        )
        assert wire.run() == []
    [(_, effect)] = wire.pass_time(100.0)
    assert effect == RelayLost(Loss.FORGED, Loss.FORGED.value, 0.0)


def restarted(wire: _Wire, user: str) -> _Wire:
    """Another life of the program, at the same address, with an allocation of the one before at the relay."""
    wire.permitted()
    again = _Wire(wire.bench, user=user, seed=3)
    again.client.allocate(wire.bench.now)
    return again


def test_what_an_earlier_life_left_at_the_same_address_is_deleted_and_asked_for_again() -> None:
    before = _Wire()
    again = restarted(before, "alice")
    [effect] = again.run()
    assert isinstance(effect, Allocated)
    assert set(effect.relayed) == before.bench.open, "of the earlier allocation nothing is left"
    again.client.permit([PEER.host], 0.0)
    assert again.run() == [Permitted(PEER.host)]


def test_what_another_member_has_at_the_same_address_stays() -> None:
    before = _Wire()
    again = restarted(before, "bob")
    [effect] = again.run()
    assert isinstance(effect, RelayLost)
    assert effect.loss is Loss.REFUSED
    assert "441" in effect.reason
    [relayed] = before.bench.open
    assert before.comes(relayed, b"voice") == [RelayedData(PEER, b"voice")]


def test_a_relay_that_has_an_allocation_of_ours_in_its_way_without_end_is_left() -> None:
    wire = _Wire()
    wire.client.allocate(0.0)
    asked = []
    while isinstance(effect := wire.client.drain()[0], Transmit):
        request = decode(effect.data)
        asked.append(request.method)
        mismatch = (ERROR_CODE.of(StunErrorCode(437)),)
        answer = StunMessage(MessageClass.ERROR, request.method, request.transaction, mismatch)
        wire.client.handle_data(answer.encode(), 0.0)
    assert isinstance(effect, RelayLost)
    assert effect.loss is Loss.REFUSED
    assert asked == [ALLOCATE, REFRESH, ALLOCATE]


def test_a_relay_that_does_not_delete_what_is_left_there_is_silent() -> None:
    wire = _Wire()
    wire.client.allocate(0.0)
    [effect] = wire.client.drain()
    assert isinstance(effect, Transmit)
    request = decode(effect.data)
    mismatch = (ERROR_CODE.of(StunErrorCode(437)),)
    answer = StunMessage(MessageClass.ERROR, request.method, request.transaction, mismatch)
    wire.client.handle_data(answer.encode(), 0.0)
    wire.is_cut = True
    [(_, lost)] = wire.pass_time(100.0)
    assert isinstance(lost, RelayLost)
    assert lost.loss is Loss.SILENT


def test_challenges_without_end_come_to_an_end() -> None:
    wire = _Wire()
    wire.client.allocate(0.0)
    questions = 0
    while effects := wire.client.drain():
        [effect] = effects
        assert isinstance(effect, Transmit)
        questions += 1
        request = decode(effect.data)
        stale = (ERROR_CODE.of(StunErrorCode(438)), REALM.of("overlay"), NONCE.of("another"))
        answer = StunMessage(MessageClass.ERROR, request.method, request.transaction, stale)
        wire.client.handle_data(answer.encode(), 0.0)
    assert questions == 1 + CHALLENGES_MAX
    wire.is_cut = True
    [(_, effect)] = wire.pass_time(100.0)
    assert isinstance(effect, RelayLost)
    assert effect.loss is Loss.FORGED


def test_a_later_permission_does_not_put_off_the_refresh_of_an_earlier_one() -> None:
    wire = _Wire()
    relayed = wire.permitted()
    wire.pass_time(200.0)
    wire.client.permit(["198.51.100.77"], 200.0)
    assert wire.run() == [Permitted("198.51.100.77")]
    assert wire.pass_time(400.0) == []
    assert wire.comes(relayed, b"x") == [RelayedData(PEER, b"x")]


@pytest.mark.parametrize("lifetime_s", [0, 1, 20])
def test_a_relay_that_grants_next_to_nothing_is_not_asked_without_end(lifetime_s: int) -> None:
    """It was refreshed at half of what the relay granted, however little: at once after 0. (sile/rusturn#10 was
    refreshed too late, and lost.)
    """
    wire = _Wire()
    wire.allocated()
    wire.bench.server._limits = TurnLimits(lifetime_max_s=lifetime_s)
    before = wire.sent_bytes
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("p2psip.turn.limits.DEFAULT_LIFETIME_S", lifetime_s)
        wire.pass_time(660.0)
    assert wire.sent_bytes - before < 40_000
