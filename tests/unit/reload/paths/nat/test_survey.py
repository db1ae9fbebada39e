"""p2psip.reload.paths.nat.survey, in virtual time: behind each kind of box of RFC 4787, with members as servers."""

from __future__ import annotations

import itertools
import math
import random
from dataclasses import dataclass, field, replace
from ipaddress import ip_network

import pytest

from p2psip.base.address import Address
from p2psip.base.ids import NodeId
from p2psip.reload.paths.limits import SURVEY_PROBES_PER_MEMBER
from p2psip.reload.paths.nat.reach import EndpointDependence, Reach
from p2psip.reload.paths.nat.survey import BUSY_MAX_S, BUSY_S, AskHelper, Survey, SurveyHelper, probe
from p2psip.reload.paths.values import CloseSpare, SendSpare, SendStun
from p2psip.reload.wire.private_messages import ProbeWay, ReachAns
from p2psip.sim.ip.boxes import SYMMETRIC, Dependence, Hairpin, Nat, NatBehaviour, Router
from p2psip.sim.ip.datagrams import UdpSocket
from p2psip.sim.ip.machine import Machine, NetworkRoute
from p2psip.sim.ip.network import Internet, Network
from p2psip.sim.ip.packet import Protocol
from p2psip.sim.ip.port_server import UDP, MappingNat, PortGiven
from p2psip.stun.binding import answer_binding

PORT = 6084
INSIDE, OUTSIDE = "192.168.1.2", "203.0.113.1"
FIREWALL = "198.51.100.200"
ANSWER_S = 0.05


def member(number: int) -> NodeId:
    """One of the others."""
    return NodeId(bytes([number]) * 16)


def host(number: int) -> str:
    """Where it is."""
    return f"198.51.100.{number}"


TO_MAPPED = frozenset({ProbeWay.OTHER_MEMBER_TO_MAPPED, ProbeWay.OTHER_PORT_TO_MAPPED})


@dataclass
class Bench:
    """One node that wants to know, and members 1, 2, ... who help it; each of them is a STUN server, and does what it
    is asked for, but for what is in `refusing`.
    """

    behaviour: NatBehaviour | None = None
    members: int = 4
    linked: int = 3
    is_firewall: bool = False
    forwards: bool = False
    maps: int = 0
    """The outside port to which the router says that it has mapped the port of links, if any."""
    dialling: tuple[int, ...] = ()
    """Members that have dialled that port before."""
    is_lied_to: bool = False
    is_certain: bool = True
    blocks: frozenset[Protocol] = frozenset()
    refusing: frozenset[ProbeWay] = frozenset()
    wants_lifetime: bool = False
    loss: float = 0.0
    dead: frozenset[int] = frozenset()
    """Members that have just lost their power, which the node does not know yet."""
    busy_until: float = 0.0
    """So long they have been asked too often."""
    asked: list[AskHelper] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.internet = Internet("survey")
        public, isp = self.internet.network("public", "198.51.100.0/24"), self.internet.network("isp", "203.0.113.0/24")
        self.machine = Machine(self.internet, "one")
        if self.is_firewall:
            self.local = Address("192.0.2.2", PORT)
            self._behind_a_firewall(public)
        elif self.behaviour is not None:
            self.local = Address(INSIDE, PORT)
            self._behind_a_nat(isp, self.behaviour)
        else:
            self.local = Address(OUTSIDE, PORT)
            self.machine.plug(isp, OUTSIDE)
        self.internet.default_way = replace(self.internet.default_way, loss=self.loss)
        self.ports: dict[int, UdpSocket] = {}
        self.machines: dict[int, Machine] = {}
        self.heard: dict[bytes, dict[int, Address]] = {}
        for number in range(1, self.members + 1):
            machine = self.machines[number] = Machine(self.internet, f"member {number}")
            interface = machine.plug(public, host(number))
            if self.is_firewall:
                machine.routes.append(NetworkRoute(ip_network("192.0.2.0/24"), interface, FIREWALL))
            self.ports[number] = self._member_socket(machine, number, PORT)
            if number in self.dead:
                self.ports[number].close()
        dialled = self.machine.udp(self.local, lambda *_: None)
        for number in self.dialling:
            self.ports[number].send(Address(OUTSIDE, self.maps), b"a link")
        self.internet.run_for(1.0)
        dialled.close()
        self.links = self.machine.udp(self.local, lambda sock, remote, data: self._came(None, sock.local, remote, data))
        self.spares: dict[int, UdpSocket] = {}
        self.closed: set[int] = set()
        helpers = [
            SurveyHelper(member(each), Address(host(each), PORT), self.is_certain) for each in range(1, self.linked + 1)
        ]
        known = frozenset(each.address.host for each in helpers)
        rng = random.Random(7)
        mapped = Address(OUTSIDE, self.maps) if self.maps else None
        now, wants_lifetime = self.internet.now, self.wants_lifetime
        self.survey = Survey(helpers, known, itertools.count(1), rng, now, wants_lifetime=wants_lifetime, mapped=mapped)
        self._settle()

    def _behind_a_nat(self, isp: Network, behaviour: NatBehaviour) -> None:
        lan = self.internet.lan("home", "192.168.1.0/24")
        nat = Nat(self.internet, "nat", behaviour, blocks=self.blocks)
        if self.maps and not self.is_lied_to:
            nat = MappingNat(self.internet, "nat", behaviour, blocks=self.blocks)
            nat.server.given[UDP, self.maps] = PortGiven(self.local, math.inf)
        if self.forwards:
            nat.forward(Protocol.UDP, PORT, self.local)
        nat.plug(isp, OUTSIDE)
        nat.plug(lan, "192.168.1.1", is_inside=True)
        self.machine.plug(lan, INSIDE, gateways=("192.168.1.1",))

    def _behind_a_firewall(self, public: Network) -> None:
        """The members are on its other side, and know that it is the way."""
        lan = self.internet.lan("home", "192.0.2.0/24")
        box = Router(self.internet, "firewall", is_open=False)
        box.plug(public, FIREWALL)
        box.plug(lan, "192.0.2.1", is_inside=True)
        self.machine.plug(lan, self.local.host, gateways=("192.0.2.1",))

    def _member_socket(self, machine: Machine, number: int, port: int) -> UdpSocket:
        def came(sock: UdpSocket, remote: Address, data: bytes) -> None:
            if (answer := answer_binding(data, remote)) is not None:
                self.heard.setdefault(data[8:20], {})[number] = remote
                sock.send(remote, answer)

        return machine.udp(Address(host(number), port), came)

    def _came(self, spare: int | None, local: Address | None, remote: Address, data: bytes) -> None:
        self.survey.handle_stun(spare, local, remote, data, self.internet.now)
        self._settle()

    def _settle(self) -> None:
        for effect in self.survey.drain():
            match effect:
                case SendStun(_, remote, data):
                    self.links.send(remote, data)
                case SendSpare(spare, remote, data):
                    self._spare(spare).send(remote, data)
                case CloseSpare(spare):
                    self.closed.add(spare)
                    if spare in self.spares:
                        self.spares[spare].close()
                case AskHelper():
                    self.asked.append(effect)
                    at = self.internet.now + ANSWER_S
                    self.internet.clock.at(at, lambda effect=effect: self._help(effect))  # type: ignore[misc]
        deadline = self.survey.next_deadline()
        if deadline is not None:
            self.internet.clock.at(max(deadline.at, self.internet.now), self._due)

    def _due(self) -> None:
        deadline = self.survey.next_deadline()
        if deadline is not None and deadline.at <= self.internet.now:
            self.survey.handle_timeout(self.internet.now)
            self._settle()

    def _spare(self, spare: int) -> UdpSocket:
        if spare not in self.spares:
            local = Address(self.local.host, 0)
            made = self.machine.udp(local, lambda _, remote, data: self._came(spare, None, remote, data))
            self.spares[spare] = made
            self.survey.handle_opened(spare, made.local)
        return self.spares[spare]

    def _help(self, asked: AskHelper) -> None:
        if self.internet.now < self.busy_until:
            self.survey.handle_busy(asked.number, self.internet.now)
            self._settle()
            return
        is_there = asked.node[0] not in self.dead
        answer = None if asked.way in self.refusing or not is_there else self._probe(asked)
        self.survey.handle_answer(asked.number, answer, self.internet.now, is_there=is_there)
        self._settle()

    def _probe(self, asked: AskHelper) -> ReachAns | None:
        number = asked.node[0]
        if number not in self.heard.get(asked.token, {}):
            # It says that no such Binding request has come.
            return None
        target = asked.mapped or self.heard[asked.token][number]
        if asked.way is ProbeWay.SAME_PORT:
            self.ports[number].send(target, probe(asked.token))
            return ReachAns(0, ())
        if asked.way in (ProbeWay.OTHER_PORT, ProbeWay.OTHER_PORT_TO_MAPPED):
            sock = self._member_socket(self.machines[number], number, 0)
            sock.send(target, probe(asked.token))
            return ReachAns(sock.local.port, ())
        others = [each for each in self.ports if each != number and member(each) not in asked.avoid]
        if asked.is_stranger_wanted:
            others = [each for each in others if each > self.linked]
        if not others:
            return None
        other = others[len(self.asked) % len(others)]
        self.ports[other].send(target, probe(asked.token))
        return ReachAns(0, (member(other),))

    def run(self, seconds: float = 60.0) -> Reach:
        """Let time go on until the survey is over; what it knows then."""
        self.internet.run_for(seconds, stop=lambda: self.survey.is_over)
        assert self.survey.is_over
        return self.survey.reach


ALL = [
    NatBehaviour(mapping, filtering, hairpin, preserves_port=preserves)
    for mapping, filtering, hairpin, preserves in itertools.product(Dependence, Dependence, Hairpin, (True, False))
]


@pytest.mark.parametrize("behaviour", ALL, ids=lambda each: f"{each.mapping.name}-{each.filtering.name}")
def test_each_kind_of_box_is_told(behaviour: NatBehaviour) -> None:
    """All mappings, all filters, all that hairpinning may be. The box is its own oracle."""
    bench = Bench(behaviour)
    reach = bench.run()
    assert reach.mapping is EndpointDependence[behaviour.mapping.name]
    assert reach.filtering is EndpointDependence[behaviour.filtering.name]
    is_one_address = behaviour.mapping is Dependence.NONE
    assert reach.hairpins is (behaviour.hairpin is not Hairpin.NO if is_one_address else None)
    assert (reach.has_nat, reach.is_open, reach.is_udp_blocked) == (True, False, False)
    assert (reach.local, reach.address and reach.address.host) == (bench.local, OUTSIDE)
    assert reach.is_dialable is (is_one_address and behaviour.filtering is Dependence.NONE)
    assert reach.can_punch is is_one_address
    assert bench.closed == set(bench.spares), "no port is left open"


def test_a_public_machine_is_open_when_two_members_have_reached_it() -> None:
    reach = Bench().run()
    assert (reach.has_nat, reach.mapping, reach.filtering) == (False, *[EndpointDependence.NONE] * 2)
    assert reach.is_open
    assert reach.is_dialable
    assert len(set(reach.opened_by)) == 2
    assert reach.hairpins is None, "nothing to ask where there is no NAT"


def test_one_member_is_not_believed() -> None:
    """Two members in all: only the one can have been asked by the other."""
    reach = Bench(members=2, linked=1).run()
    assert len(set(reach.opened_by)) == 1
    assert not reach.is_open
    assert not reach.is_dialable
    three = Bench(members=3, linked=2).run()
    assert sorted(three.opened_by) == [member(1), member(2)] or len(set(three.opened_by)) == 2


@pytest.mark.parametrize("mapping", Dependence, ids=lambda each: each.name)
def test_one_member_can_tell_a_port_that_is_another_for_each_other_end(mapping: Dependence) -> None:
    """By its own further port; whether it would be another for another machine, nobody is there to tell."""
    reach = Bench(NatBehaviour(mapping, preserves_port=False), members=2, linked=1).run()
    is_told = mapping is Dependence.ADDRESS_AND_PORT
    assert reach.mapping is (EndpointDependence.ADDRESS_AND_PORT if is_told else None)
    assert reach.is_sure is is_told


@pytest.mark.parametrize("filtering", Dependence, ids=lambda each: each.name)
def test_one_member_can_tell_a_filter_that_goes_by_ports(filtering: Dependence) -> None:
    reach = Bench(NatBehaviour(filtering=filtering), members=1, linked=1).run()
    is_told = filtering is Dependence.ADDRESS_AND_PORT
    assert reach.filtering is (EndpointDependence.ADDRESS_AND_PORT if is_told else None)


def test_a_firewall_without_nat_is_no_open_machine() -> None:
    """As IPv6 has them (RFC 6092)."""
    reach = Bench(is_firewall=True).run()
    assert reach.has_nat is False
    assert reach.filtering is EndpointDependence.ADDRESS_AND_PORT
    assert (reach.is_open, reach.is_dialable) == (False, False)


@pytest.mark.parametrize("dialling", [(), (2,), (1, 2)], ids=str)
@pytest.mark.parametrize("members", [2, 4], ids=["all are known", "somebody is a stranger"])
def test_a_port_that_the_router_has_mapped_is_dialable_where_members_do_not_see_it(
    members: int, dialling: tuple[int, ...]
) -> None:
    """A symmetric NAT shows each member that was dialled another port; the mapped one is where everybody gets in, and
    what those see that have dialled it.
    """
    assert not Bench(SYMMETRIC, members=members, linked=2).run().is_dialable
    bench = Bench(SYMMETRIC, members=members, linked=2, maps=7000, dialling=dialling)
    reach = bench.run()
    assert reach.is_dialable
    assert not reach.is_open
    assert len(set(reach.reached_by)) == 2
    named = {each.mapped for each in bench.asked if each.mapped is not None}
    assert named == (set() if len(dialling) == 2 else {Address(OUTSIDE, 7000)})


@pytest.mark.parametrize("members", [2, 4], ids=["all are known", "somebody is a stranger"])
@pytest.mark.parametrize("refusing", [frozenset(), TO_MAPPED])
def test_what_a_router_says_is_no_proof(members: int, refusing: frozenset[ProbeWay]) -> None:
    """It says that a port is mapped, and what comes there is dropped; or no member knows how to try it."""
    bench = Bench(SYMMETRIC, members=members, linked=2, maps=7000, is_lied_to=True, refusing=refusing)
    assert not bench.run().is_dialable


@pytest.mark.parametrize("linked", [2, 4], ids=["somebody is a stranger", "all are known"])
def test_a_forwarded_port_is_dialable_behind_whatever_box(linked: int) -> None:
    """Also where there is nobody to whom nothing was ever sent: what gets in there, and nowhere else, is forwarded."""
    behaviour = NatBehaviour(filtering=Dependence.ADDRESS_AND_PORT)
    assert not Bench(behaviour, linked=linked).run().is_dialable
    reach = Bench(behaviour, linked=linked, forwards=True).run()
    assert reach.is_dialable
    assert not reach.is_open
    assert reach.address == Address(OUTSIDE, PORT)
    assert len(set(reach.reached_by)) == 2


@pytest.mark.parametrize("linked", [1, 2])
def test_members_that_have_died_say_nothing_of_udp(linked: int) -> None:
    """Nor over their links."""
    reach = Bench(NatBehaviour(), linked=linked, dead=frozenset({1, 2})).run()
    assert not reach.is_udp_blocked
    assert not reach.is_sure, "it is asked again soon"
    one = Bench(NatBehaviour(), blocks=frozenset({Protocol.UDP}), linked=2, dead=frozenset({1})).run()
    assert one.is_udp_blocked, "the other one says so"


def test_who_is_perhaps_not_at_that_port_says_nothing_of_udp() -> None:
    """It has dialled us over TCP, from behind a NAT, and UDP that nobody has asked for does not get in there."""
    blocks = frozenset({Protocol.UDP})
    assert not Bench(NatBehaviour(), blocks=blocks, is_certain=False).run().is_udp_blocked


def test_udp_that_is_blocked() -> None:
    reach = Bench(NatBehaviour(), blocks=frozenset({Protocol.UDP})).run()
    assert reach.is_udp_blocked
    assert (reach.mapping, reach.filtering, reach.address) == (None, None, None)


def test_members_that_know_nothing_of_this_leave_only_the_mapping() -> None:
    """Other software, or an older one: it answers that it does not know the message."""
    reach = Bench(NatBehaviour(), refusing=frozenset(ProbeWay)).run()
    assert reach.mapping is EndpointDependence.NONE
    assert reach.filtering is None
    assert (reach.is_open, reach.is_dialable) == (False, False)


def test_where_no_further_port_helps_the_mapping_is_as_exact_as_can_be() -> None:
    behaviour = NatBehaviour(Dependence.ADDRESS, preserves_port=False)
    assert Bench(behaviour, refusing=frozenset({ProbeWay.OTHER_PORT})).run().mapping is EndpointDependence.SOME


def test_who_has_been_asked_too_often_is_asked_again() -> None:
    reach = Bench(
        NatBehaviour(filtering=Dependence.ADDRESS), forwards=True, linked=2, busy_until=BUSY_MAX_S - BUSY_S
    ).run(120.0)
    assert reach.filtering is EndpointDependence.ADDRESS
    assert reach.is_dialable
    assert (reach.is_cut_short, reach.is_sure) == (False, True)


def test_what_was_cut_short_is_not_sure() -> None:
    reach = Bench(NatBehaviour()).run()
    assert reach.is_sure
    assert not replace(reach, is_cut_short=True).is_sure


def test_but_not_for_ever() -> None:
    bench = Bench(NatBehaviour(filtering=Dependence.ADDRESS), forwards=True, linked=2, busy_until=1000.0)
    reach = bench.run(BUSY_MAX_S + 30.0)
    assert bench.survey.is_over
    assert reach.mapping is EndpointDependence.NONE
    assert (reach.is_cut_short, reach.is_sure, reach.is_dialable) == (True, False, False)


@pytest.mark.parametrize("mapping", Dependence, ids=lambda each: each.name)
def test_one_lost_packet_in_five_changes_nothing(mapping: Dependence) -> None:
    behaviour = NatBehaviour(mapping, Dependence.ADDRESS, preserves_port=False)
    reach = Bench(behaviour, loss=0.2).run(120.0)
    assert reach.mapping is EndpointDependence[mapping.name]
    assert reach.filtering is EndpointDependence.ADDRESS


@pytest.mark.parametrize(("timeout_s", "found"), [(20.0, (None, 30.0)), (45.0, (30.0, 60.0)), (300.0, (120.0, None))])
def test_how_long_a_mapping_lasts(timeout_s: float, found: tuple[float | None, float | None]) -> None:
    bench = Bench(NatBehaviour(timeout_s=timeout_s), wants_lifetime=True)
    bench.run()
    bench.internet.run_for(200.0, stop=lambda: bench.survey.is_done)
    assert (bench.survey.reach.keeps_s, bench.survey.reach.forgets_s) == found
    assert bench.closed == set(bench.spares)


def test_a_survey_that_nobody_wants_any_more_closes_its_ports() -> None:
    bench = Bench(NatBehaviour())
    bench.internet.run_for(0.1)
    bench.survey.close()
    bench._settle()
    assert bench.spares
    assert bench.closed == set(bench.spares)
    assert bench.survey.next_deadline() is None


def test_what_is_asked_for_is_bounded() -> None:
    """Also where nothing comes through: what one member may ask for is enough for a survey."""
    bench = Bench(NatBehaviour(filtering=Dependence.ADDRESS_AND_PORT))
    bench.run()
    by_member = [sum(each.node == member(number) for each in bench.asked) for number in (1, 2, 3)]
    assert max(by_member) <= SURVEY_PROBES_PER_MEMBER
    assert by_member[2] == 0
