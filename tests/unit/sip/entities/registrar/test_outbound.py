"""Phones behind edge proxies and phones with several flows (RFC 3327, RFC 5626), and phones started anew."""

from __future__ import annotations

import zlib

import pytest

from p2psip.base.address import Address
from p2psip.sip.message.build import make_response
from p2psip.sip.message.headers import NameAddr, Via
from p2psip.sip.message.message import Response
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import SipUri
from p2psip.sip.transports.arrivals import Datagram, FlowData
from p2psip.sip.transports.effects import SendUdp
from p2psip.sip.transports.hops import FlowHop, UdpHop
from p2psip.stun.attributes import XOR_MAPPED_ADDRESS
from p2psip.stun.message import MessageClass, StunMessage, decode

HOME = Address("10.1.0.1", 5060)
EDGE = Address("10.1.0.5", 5060)
OUTBOUND = "path, outbound"


class Edge:
    """An edge proxy over UDP: no state but the tokens in its Path and Record-Route, which are plain addresses."""

    def __init__(self, world, address=EDGE, *, says_ob=True, path=True):
        self.world, self.address, self.says_ob, self.path = world, address, says_ob, path
        self.core, self.is_alive, self.flows = self, True, {}
        self.dead: set[Address] = set()
        world.phones.append(self)

    def next_deadline(self):
        return None

    def step(self):
        pass

    def handle(self, arrival, now):
        message, remote = parse(arrival.data), arrival.remote
        if isinstance(message, Response):
            self.back(message)
        elif remote == HOME:
            self.inwards(message, remote)
        else:
            self.outwards(message, remote)

    def outwards(self, request, remote):
        """From a phone to its peer."""
        fields = request.fields.with_values("Route", [])
        if request.method == "REGISTER":
            if self.path:
                ob = (("ob", None),) if self.says_ob else ()
                fields = fields.with_first("Path", NameAddr(self.uri(remote, ob)))
        elif not request.to.tag:
            fields = fields.with_first("Record-Route", NameAddr(self.uri(remote)))
        routes = [route for route in request.routes if route.sip_uri.host != self.address.host]
        self.on(request.replace(fields=fields.with_values("Route", routes)), remote, HOME)

    def inwards(self, request, remote):
        """From the peer to the phone that the token in our Route names."""
        route, *rest = request.routes
        host, port = route.sip_uri.user.split("_")
        phone = Address(host, int(port))
        if phone in self.dead:
            self.send(make_response(request, 430, to_tag="edge"), remote)
            return
        fields = request.fields.with_values("Route", rest)
        if request.method != "ACK" and not request.to.tag:
            fields = fields.with_first("Record-Route", NameAddr(self.uri(phone)))
        self.on(request.replace(fields=fields), remote, phone)

    def uri(self, phone, params=()):
        return SipUri(self.address.host, f"{phone.host}_{phone.port}", self.address.port, (("lr", None), *params))

    def on(self, request, remote, to):
        via = request.via.with_param("received", remote.host).with_param("rport", str(remote.port))
        branch = f"z9hG4bK{zlib.crc32(request.via.branch.encode()):x}"
        stamped = request.with_top_via(via)
        own = Via("UDP", self.address.host, self.address.port, (("branch", branch), ("rport", None)))
        self.send(stamped.with_new_via(own), to)

    def back(self, response):
        rest = response.replace(fields=response.fields.without_first("via"))
        self.send(rest, Address(rest.via.received, rest.via.rport))

    def send(self, message, to):
        self.world.perform(self, SendUdp(self.address, to, message.encode()))


def instance(number, reg_id=1):
    flow = f";reg-id={reg_id}" if reg_id else ""
    return f';+sip.instance="<urn:uuid:00000000-0000-1000-8000-00000000000{number}>"{flow}'


def register(phone, params="", supported=OUTBOUND, expires=3600, **fields):
    """A REGISTER with the phone's own Contact and these parameters."""
    extra = [("Contact", f"{NameAddr(phone.contact.uri)}{params}"), ("Expires", expires), *fields.items()]
    if supported:
        extra.append(("Supported", supported))
    return phone.ask(phone._new("REGISTER", SipUri(phone.server.address.host), NameAddr(phone.aor), extra))


def bindings(server, user="carol"):
    return server.core.bindings(user, server.world.now)


@pytest.fixture
def edge(world, one):
    return Edge(world)


def behind(world, one, edge, address, **options):
    """A phone of carol's whose only way is the edge; all of them have the same address at home."""
    phone = world.phone("carol", one, address, contact_host="192.168.1.5", **options)
    phone.contact = NameAddr(SipUri("192.168.1.5", "carol", 5060))
    phone.hop = UdpHop(edge.address)
    return phone


def carol(world, one, last, **options):
    return world.phone("carol", one, Address(f"10.1.0.{last}", 5060), **options)


# Path


@pytest.mark.must("3261 16.6/18", "3261 16.6/20", "5626 6/1")
def test_3327_path_is_stored_returned_and_used(world, one, alice, edge):
    phone = behind(world, one, edge, Address("198.51.100.7", 1111))
    response = register(phone, "", "path")
    assert response.fields.lines("path") == ["<sip:198.51.100.7_1111@10.1.0.5:5060;lr;ob>"]
    assert response.fields.tokens("supported") == ["path", "outbound"]
    assert "require" not in response.fields
    [binding] = bindings(one)
    assert [str(entry) for entry in binding.path] == response.fields.lines("path")
    assert binding.hops == (UdpHop(EDGE, HOME),)
    call = alice.invite("carol")
    world.run(3.0)
    assert call.is_up
    [invite] = [request for request in phone.received if request.method == "INVITE"]
    assert (invite.uri_text, invite.routes) == ("sip:carol@192.168.1.5:5060", ())
    alice.hang_up(call)
    world.run(1.0)
    assert phone.calls[0].is_over


@pytest.mark.must("5626 6/8")
def test_a_path_survives_a_restart(world, one, alice, edge):
    phone = behind(world, one, edge, Address("198.51.100.7", 1111))
    register(phone, instance(1))
    [before] = bindings(one)
    again = world.server("again", "10.1.0.1")
    again.core.restore(one.core.snapshot(world.now), world.now)
    [after] = bindings(again)
    assert (after.path, after.reg_id, after.instance, after.hops) == (
        before.path, 1, before.instance, before.hops,
    )  # fmt: skip


def test_phones_behind_one_edge_do_not_evict_each_other(world, one, alice, edge):
    """Same socket, same Contact: instance and reg-id tell them apart, Path leads to each; both ring."""
    phones = [
        behind(world, one, edge, Address("198.51.100.7", 1111), answers_after_s=None),
        behind(world, one, edge, Address("203.0.113.8", 2222)),
    ]
    for number, phone in enumerate(phones):
        assert register(phone, instance(number)).fields.first("require") == "outbound"
    assert len(bindings(one)) == 2
    call = alice.invite("carol")
    world.run(5.0)
    assert call.is_up
    assert [len(phone.calls) for phone in phones] == [1, 1]


@pytest.mark.parametrize("who", ["caller", "phone"])
def test_a_call_from_another_peer_through_the_edge(world, one, other, bob, edge, who):
    """Record-Route of the edge and of both peers: each side can end it."""
    phone = behind(world, one, edge, Address("198.51.100.7", 1111))
    register(phone, instance(1))
    call = bob.invite("carol")
    world.run(3.0)
    assert call.is_up
    [answered] = phone.calls
    if who == "caller":
        bob.hang_up(call)
    else:
        phone.hang_up(answered)
    world.run(2.0)
    assert (answered if who == "caller" else call).is_over
    assert (bob if who == "caller" else phone).finals[-1].status == 200


@pytest.mark.must("5627 6.1/4", "5627 6.2/2", "5627 6.2/3")
@pytest.mark.parametrize("who", ["alice", "bob"])
def test_in_a_dialog_the_route_leads_and_not_the_path(world, one, alice, bob, edge, who):
    """RFC 5627 6.1: "If the received request has Route header field values beyond the one pointing to the authoritative
    proxy itself (this will happen when the request is a mid-dialog request), the Path URI MUST be discarded"; 6.2: "the
    authoritative proxy MUST record-route", where "the registration contain Path URI".
    """
    phone = behind(world, one, edge, Address("10.1.0.21", 5060))
    assert register(phone, instance(7)).status == 200
    caller = {"alice": alice, "bob": bob}[who]
    call = caller.invite("carol")
    world.run(3.0)
    assert call.is_up
    ours = [route.sip_uri for route in phone.calls[0].routes if route.sip_uri.host in ("10.1.0.1", "overlay.example")]
    assert ours
    seen = []
    inwards = edge.inwards
    edge.inwards = lambda request, remote: (
        seen.append((request.method, len(request.routes))),
        inwards(request, remote),
    )
    caller.send(caller.in_dialog(call, "UPDATE"))
    caller.step()
    world.run(1.0)
    caller.hang_up(call)
    world.run(1.0)
    assert seen == [("UPDATE", 1), ("BYE", 1)]
    assert [("route" in got.fields) for got in phone.received] == [False, False, False]


@pytest.mark.must("5627 6.2/1", "5627 6.2/3")
def test_a_contact_that_is_a_gruu_takes_the_route_all_the_same(world, one, other, bob, edge):
    """RFC 5627 6.2: where "the Contact header field contains a GRUU in the domain of the proxy [...] and the request
    contains Record-Route header fields, then the authoritative proxy MUST record-route".
    """
    phone = behind(world, one, edge, Address("198.51.100.7", 1111))
    register(phone, instance(1))
    call = phone.invite("sip:bob@overlay.example")
    world.run(3.0)
    gruu = bob.calls[-1].target
    assert gruu.param("gr")
    phone.hang_up(call)
    phone.contact = NameAddr(gruu)
    call = phone.invite("sip:bob@overlay.example")
    world.run(3.0)
    assert call.is_up
    invite = bob.calls[-1].request
    hosts = [route.sip_uri.host for route in invite.record_routes]
    assert hosts == ["10.2.0.1", "overlay.example", "overlay.example", "10.1.0.1", EDGE.host], "of each peer two"
    bob.hang_up(bob.calls[-1])
    world.run(2.0)
    assert call.is_over
    assert phone.received[-1].method == "BYE"


def test_who_knows_the_contact_is_led_along_its_path(world, one, alice, edge):
    """As after a 302, or from a phone's own list."""
    phone = behind(world, one, edge, Address("198.51.100.7", 1111))
    register(phone, "", "path")
    call = alice.invite("sip:carol@192.168.1.5:5060")
    world.run(3.0)
    assert call.is_up


def test_a_host_name_in_path_needs_no_dns(world, one, alice, edge):
    """The edge is where the REGISTER came from, whatever it calls itself."""
    edge.uri = lambda phone, params=(): SipUri("edge.lan", f"{phone.host}_{phone.port}", None, (("lr", None), *params))
    phone = behind(world, one, edge, Address("198.51.100.7", 1111))
    register(phone, instance(1))
    call = alice.invite("carol")
    world.run(3.0)
    assert call.is_up


def test_3327_path_that_the_phone_does_not_know_of(world, one, edge):
    """5.3: "The recommended policy is for the registrar to reject the request with a 420"."""
    response = register(behind(world, one, edge, Address("198.51.100.7", 1111)), "", None)
    assert (response.status, response.fields.lines("unsupported")) == (420, ["path"])
    assert bindings(one) == ()


@pytest.mark.parametrize("path", ["<tel:1>", "<sip:p;lr>, " * 16 + "<sip:p;lr>", "<sip:p"])
def test_a_path_that_leads_nowhere(world, one, path):
    assert register(carol(world, one, 21), "", "path", Path=path).status == 400
    assert bindings(one) == ()


# Outbound at the registrar


@pytest.mark.must("5626 6/2", "5626 6/3", "5626 6/4", "5626 6/5", "5626 11.4/1")
def test_5626_439_where_the_first_hop_does_not_know_flows(world, one):
    """Section 6: reg-id and outbound wanted, but no `ob` in Path; or no Path at all."""
    for last, options in ((6, {"says_ob": False}), (7, {"path": False})):
        edge = Edge(world, Address(f"10.1.0.{last}", 5060), **options)
        phone = behind(world, one, edge, Address("198.51.100.7", last))
        response = register(phone, instance(1))
        assert (response.status, response.phrase) == (439, "First Hop Lacks Outbound Support")
        # "otherwise, the registrar MUST ignore the "reg-id" parameter".
        assert register(phone, instance(1), "path").status == 200
        assert [binding.reg_id for binding in bindings(one)] == [0]


def test_5626_only_one_contact_with_a_flow(world, one):
    """Section 6: more than one that stays, and a reg-id among them: 400; what goes does not count."""
    phone = carol(world, one, 21)
    others = "<sip:carol@10.1.0.21:7000>"
    assert register(phone, instance(1), Contact=others).status == 400
    assert bindings(one) == ()
    assert register(phone, instance(1), Contact=f"{others};expires=0").status == 200
    assert len(bindings(one)) == 1


@pytest.mark.must("3261 8.2.4/1", "3261 8.2.4/2", "3261 8.2.4/3", "3261 8.2.4/4", "5626 6/6", "5626 6/9")
@pytest.mark.parametrize(
    ("params", "supported", "is_flow"),
    [(instance(1), OUTBOUND, True), (instance(1, 0), OUTBOUND, False), (";reg-id=1", OUTBOUND, False)],
)
def test_5626_require_says_whether_a_flow_was_registered(world, one, params, supported, is_flow):
    response = register(carol(world, one, 21), params, supported)
    assert response.fields.lines("require") == (["outbound"] if is_flow else [])
    assert "flow-timer" not in response.fields, "over UDP the phone keeps to its own time"


def test_5626_require_outbound_is_understood(world, one):
    assert register(carol(world, one, 21), instance(1), None, Require="Outbound").fields.first("require") == "outbound"


@pytest.mark.must("3261 8.2.2.3/1", "3261 8.2.2.3/2", "3261 10.3/7")
@pytest.mark.parametrize("option", ["gruu", "100rel"])
def test_8_2_2_3_what_is_not_done_is_refused(world, one, option):
    response = register(carol(world, one, 21), Require=f"path, {option}")
    assert (response.status, response.fields.lines("unsupported")) == (420, [option])


@pytest.mark.must("3261 20.37/1")
def test_options_says_what_is_done(world, one, alice):
    request = alice._new("OPTIONS", SipUri(one.address.host), NameAddr(SipUri(one.address.host)), [])
    response = alice.ask(request)
    assert response.fields.tokens("supported") == ["path", "outbound"]
    for option, status in (("path", 200), ("OUTBOUND", 200), ("gruu", 420)):
        again = request.replace(fields=request.fields.with_last("Require", option))
        answer = alice.ask(again.replace(fields=again.fields.with_only("CSeq", f"{next(alice.cseq)} OPTIONS")))
        assert answer.status == status, option


# Flows


@pytest.mark.must("5626 6/10", "5626 7/1", "5626 7/2", "5626 7/3")
def test_5626_all_flows_of_an_instance_are_one_phone(world, one, alice):
    """Section 7: it rings once; a refusal over one flow is the phone's, and no other flow is tried."""
    flows = [carol(world, one, 21, answers_after_s=None), carol(world, one, 22, refuses_with=486)]
    for number, flow in enumerate(flows, 1):
        register(flow, instance(7, number))
        world.run(1.0)
    assert len(bindings(one)) == 2
    call = alice.invite("carol")
    world.run(20.0)
    assert call.statuses == [100, 486]
    assert [len(flow.calls) for flow in flows] == [0, 1], "the newest flow, and that alone"


@pytest.mark.must("5626 7/4")
def test_5626_430_tries_the_next_flow_and_ends_the_binding(world, one, alice, edge):
    """Section 7: "the proxy SHOULD replace the failed branch with another target [...] but a different reg-id"."""
    first, second = (behind(world, one, edge, Address("198.51.100.7", port)) for port in (1111, 2222))
    register(first, instance(7, 1))
    world.run(1.0)
    register(second, instance(7, 2))
    edge.dead.add(second.address)
    call = alice.invite("carol")
    world.run(0.9)
    assert 180 in call.statuses, "at once"
    world.run(3.0)
    assert call.is_up
    assert [binding.reg_id for binding in bindings(one)] == [1]
    edge.dead.add(first.address)
    last = alice.invite("carol")
    world.run(3.0)
    assert last.statuses == [100, 480], "430 is for proxies"
    assert bindings(one) == ()
    assert one.changes[-1].bindings == ()


def two_flows(world, one):
    """Both ends of a phone with two flows (reg-id 1 and 2), the second the newer."""
    first, second = carol(world, one, 21), carol(world, one, 22)
    register(first, instance(7, 1))
    world.run(1.0)
    register(second, instance(7, 2))
    return first, second


def test_a_silent_flow_does_not_keep_the_caller_waiting(world, one, alice):
    _, second = two_flows(world, one)
    second.is_alive = False
    call = alice.invite("carol")
    world.run(4.5)
    assert 180 in call.statuses
    world.run(2.0)
    assert call.is_up
    assert world.forgets_all()


def test_what_is_no_call_tries_the_next_flow_as_soon(world, one, alice):
    first, second = two_flows(world, one)
    second.is_alive = False
    assert alice.ask(alice.message("carol"), 5.0).status == 200
    assert [request.method for request in first.received] == ["MESSAGE"]
    assert world.forgets_all()


def test_a_phone_that_says_it_is_at_work_is_waited_for(world, one, alice):
    """RFC 4320 section 4.1: its 100 comes after 3.5 s; the other flow is left alone."""
    first, second = two_flows(world, one)
    serve = second._on_request
    second._on_request = lambda event: world.at(6.0, lambda: serve(event))
    assert alice.ask(alice.message("carol"), 8.0).status == 200
    assert first.received == []


@pytest.mark.must("3261 16.5/4", "5626 6/7")
def test_one_contact_registered_in_two_ways_is_called_once(world, one, alice):
    """A phone that has turned outbound on leaves its plain binding behind."""
    phone = carol(world, one, 21)
    phone.register()
    world.run(1.0)
    register(phone, instance(7, 1))
    assert len(bindings(one)) == 2
    call = alice.invite("carol")
    world.run(4.0)
    assert call.is_up
    assert len(phone.calls) == 1


def test_a_flow_that_wakes_up_late_still_answers(world, one, alice):
    """The first answer counts, also from a way that had been given up."""
    first, second = carol(world, one, 21, answers_after_s=None), carol(world, one, 22)
    register(first, instance(7, 1))
    world.run(1.0)
    register(second, instance(7, 2))
    held = []
    second.handle = lambda arrival, now: held.append(arrival)
    call = alice.invite("carol")
    world.run(5.0)
    assert 180 in call.statuses
    del second.handle
    invite = parse(held[0].data)
    ok = make_response(invite, 200, to_tag="late", extra=[("Contact", second.contact)])
    one.core.handle(Datagram(one.address, second.address, ok.encode()), world.now)
    world.run(1.0)
    assert call.is_up
    assert first.calls[0].is_over


@pytest.mark.must("5626 5.4/2", "5626 5.4/3", "5626 6/12")
def test_a_connection_with_keep_alives_is_watched(world, one, alice):
    """5.4: Flow-Timer is said, pings are answered, and silence ends the flow and its binding."""
    phone = carol(world, one, 21, transport="TCP")
    assert register(phone, instance(7, 1)).fields.first("flow-timer") == "120"
    [flow] = one.flows.values()
    assert bindings(one)[0].hops == (FlowHop(flow.number),), "over that flow, and no other way"
    for _ in range(5):
        world.run(120.0)
        one.core.handle(FlowData(flow.number, b"\r\n\r\n"), world.now)
    assert len(bindings(one)) == 1
    world.run(181.0)
    assert bindings(one) == ()
    assert one.changes[-1].bindings == ()


def test_other_connections_may_be_silent(world, one):
    phone = carol(world, one, 21, transport="TCP")
    assert "flow-timer" not in register(phone).fields
    world.run(600.0)
    assert len(bindings(one)) == 1


def test_5626_5_3_1_a_flow_that_is_gone(world, one, other, alice):
    """430 to a request whose Route names it, if the phone has no other way."""
    phone = world.phone("carol", one, Address("10.1.0.21", 5060), "TCP", contact_host="192.168.1.9")
    register(phone)
    bob = world.phone("bob", other, Address("10.2.0.12", 5070))
    bob.register()
    call = bob.invite("carol")
    world.run(3.0)
    assert call.is_up
    for number in list(one.flows):
        if number not in one.links.values():
            world.cut(one.flows[number])
    bob.hang_up(call)
    world.run(2.0)
    assert bob.finals[-1].status == 430


# Started anew


def knows_only_itself(world, phone):
    """It answers 404 to who calls it by any Contact but the one that it has now."""
    ring = phone._ring

    def look(event):
        if event.request.uri_text == str(phone.contact.uri):
            ring(event)
        else:
            phone.layer.respond(event.transaction, make_response(event.request, 404, to_tag="x"), world.now)

    phone._ring = look


def test_contacts_from_before_a_restart_cost_the_caller_nothing(world, one, alice):
    """A phone with another Contact at each start: what it does not know any more, it says itself, and is forgotten."""
    phone = carol(world, one, 21, refuses_with=486)
    knows_only_itself(world, phone)
    for start in range(6):
        phone.contact = NameAddr(SipUri("10.1.0.21", f"carol-{start}", 5060))
        register(phone)
        world.run(1.0)
    assert len(bindings(one)) == 6
    call = alice.invite("carol")
    world.run(0.5)
    assert call.statuses == [100, 486], "at once, and what the person said, not 404"
    assert [binding.contact.user for binding in bindings(one)] == ["carol-5"]


def test_a_former_contact_that_nobody_answers_for(world, one, alice):
    """What is silent where a newer one of the same phone may be does not keep the caller waiting."""
    phone = carol(world, one, 21, refuses_with=486)
    register(phone, Contact="<sip:former@10.1.0.21:5060>", expires=600)
    phone.register()
    world.run(1.0)
    phone.register()
    handle = phone.handle

    def knows_only_itself(arrival, now):
        if b"sip:former@" not in arrival.data.partition(b"\r\n")[0]:
            handle(arrival, now)

    phone.handle = knows_only_itself
    call = alice.invite("carol")
    world.run(5.0)
    assert call.statuses == [100, 486]


def test_a_phone_on_tcp_started_anew(world, one, alice):
    """Its former connection is closed; where it listened it listens again, and knows nobody by the former name."""
    phone = carol(world, one, 21, transport="TCP", refuses_with=486)
    knows_only_itself(world, phone)
    for start in range(2):
        for flow in list(one.flows.values()):
            world.cut(flow)
        phone.contact = NameAddr(SipUri("10.1.0.21", f"carol-{start}", 5060, (("transport", "tcp"),)))
        register(phone)
        world.run(1.0)
    assert len(bindings(one)) == 2
    call = alice.invite("carol")
    world.run(0.5)
    assert call.statuses == [100, 486]
    assert [binding.contact.user for binding in bindings(one)] == ["carol-1"]


def test_a_404_of_the_only_phone_is_its_answer(world, one, alice):
    phone = carol(world, one, 21, refuses_with=404)
    register(phone)
    call = alice.invite("carol")
    world.run(1.0)
    assert call.statuses == [100, 404]
    assert len(bindings(one)) == 1


def test_an_instance_started_anew_rings_by_its_newest_contact(world, one, alice):
    """RFC 5627 section 6.1: "The proxy MUST select the most recently refreshed contact.\""""
    phone = carol(world, one, 21)
    for start in range(3):
        phone.contact = NameAddr(SipUri("10.1.0.21", f"carol-{start}", 5060))
        register(phone, f"{instance(7, 0)};q=0.{9 - start}")
        world.run(1.0)
    assert len(bindings(one)) == 3
    call = alice.invite("carol")
    world.run(5.0)
    assert call.is_up
    assert [call.request.uri_text for call in phone.calls] == ["sip:carol-2@10.1.0.21:5060"]


# STUN on the SIP port


@pytest.mark.must("5626 5.4/1", "5626 8/1", "5626 8/2")
def test_5626_8_stun_is_answered_on_the_sip_port(world, one):
    request = StunMessage(MessageClass.REQUEST, 1, b"twelve bytes")
    one.core.handle(Datagram(one.address, Address("198.51.100.7", 1111), request.encode()), 0.0)
    [effect] = one.core.drain()
    assert (effect.local, effect.remote) == (one.address, Address("198.51.100.7", 1111))
    answer = decode(effect.data)
    assert (answer.message_class, len(answer.attributes)) == (MessageClass.SUCCESS, 1)
    assert XOR_MAPPED_ADDRESS.first(answer) == Address("198.51.100.7", 1111)
