"""Registration by phones: proof, bindings, expiry, connections, restarts (RFC 3261 section 10)."""

from __future__ import annotations

from functools import partial

import pytest

from p2psip.base.address import Address
from p2psip.base.errors import LocalMisuse
from p2psip.sip.entities.questions import FindCredential
from p2psip.sip.entities.registrar.bindings import Binding, Bindings
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import SipUri, parse_sip_uri
from p2psip.sip.transports.arrivals import Datagram, FlowData, FlowDown
from p2psip.sip.transports.hops import FlowHop, StreamHop, UdpHop

ALICE_AT = Address("10.1.0.11", 5060)


@pytest.fixture
def phone(world, one):
    """Alice's phone, not yet registered."""
    return world.phone("alice", one, ALICE_AT)


def bindings(server, user="alice"):
    return server.core.bindings(user, server.world.now)


def contacts(server, user="alice"):
    return [str(binding.contact) for binding in bindings(server, user)]


def register(phone, *contacts, **fields):
    """A REGISTER with these Contact values instead of the phone's own."""
    extra = [*(("Contact", contact) for contact in contacts), *fields.items()]
    return phone.ask(phone._new("REGISTER", SipUri(phone.server.address.host), NameAddr(phone.aor), extra))


# What a phone gets


@pytest.mark.must("3261 8.2/1", "3261 10.1/1", "3261 10.3/25", "3261 10.3/26", "3261 22.1/1", "3261 22.2/1")
def test_registration_is_challenged_and_kept(phone, one):
    response = phone.register(600)
    assert response.status == 200
    assert [str(contact) for contact in response.contacts] == ["<sip:alice@10.1.0.11:5060>;expires=600"]
    [binding] = bindings(one)
    assert binding.hops == (UdpHop(ALICE_AT, one.address),)
    [change] = one.changes
    assert (change.user, change.bindings) == ("alice", (binding,))
    [target] = one.core.targets("alice", one.world.now)
    assert (target.uri, target.hops) == (binding.contact, binding.hops)
    assert target.label == "alice's phone at udp 10.1.0.11:5060"
    assert one.core.users() == ["alice"]


def test_registration_expires(phone, one, world):
    phone.register(600)
    world.run(598.0)
    assert contacts(one) == ["sip:alice@10.1.0.11:5060"]
    world.run(3.0)
    assert contacts(one) == []
    assert (one.changes[-1].user, one.changes[-1].bindings) == ("alice", ())
    assert one.core.users() == []


@pytest.mark.must("3261 10.3/16", "3261 10.3/17", "3261 10.3/18")
def test_expires_of_contact_beats_the_header_and_both_have_bounds(phone, one, world):
    assert register(phone, "<sip:a@h>;expires=100", Expires=200).contacts[0].param("expires") == "100"
    assert register(phone, "<sip:a@h>", Expires=200).contacts[0].param("expires") == "200"
    assert register(phone, "<sip:a@h>").contacts[0].param("expires") == "3600"
    assert register(phone, "<sip:a@h>;expires=soon", Expires=200).contacts[0].param("expires") == "200"
    assert register(phone, "<sip:a@h>;expires=99999999999999", Expires=200).contacts[0].param("expires") == "3600"


@pytest.mark.must("3261 8.2/2", "3261 10.3/19")
def test_too_brief(phone, one):
    """10.3 step 7: 423 with Min-Expires, and nothing has changed."""
    response = register(phone, "<sip:a@h>;expires=59")
    assert (response.status, response.fields.first("min-expires")) == (423, "60")
    assert contacts(one) == []
    assert one.changes == []


def test_fetch_changes_nothing(phone, one):
    phone.register()
    before = len(one.changes)
    assert [str(contact.uri) for contact in register(phone).contacts] == ["sip:alice@10.1.0.11:5060"]
    assert len(one.changes) == before


@pytest.mark.must("3261 10.3/20", "3261 10.3/21")
def test_refresh_takes_the_place_of_the_old(phone, one):
    phone.register()
    phone.register()
    assert contacts(one) == ["sip:alice@10.1.0.11:5060"]


@pytest.mark.must("3261 10.3/20", "3261 10.3/21")
def test_removal(phone, one):
    phone.register()
    assert phone.register(0).contacts == ()
    assert contacts(one) == []
    assert one.changes[-1].bindings == ()


@pytest.mark.must("3261 10.3/13")
def test_star_removes_all(phone, one):
    register(phone, "<sip:a@h>", "<sip:b@h>")
    assert len(contacts(one)) == 2
    assert register(phone, "*", Expires=0).status == 200
    assert contacts(one) == []


@pytest.mark.must("3261 10.2.2/1", "3261 10.3/12")
@pytest.mark.parametrize(
    ("values", "fields"), [(("*",), {}), (("*",), {"Expires": 60}), (("*", "<sip:a@h>"), {"Expires": 0})]
)
def test_star_must_stand_alone_and_with_expires_0(phone, values, fields):
    assert register(phone, *values, **fields).status == 400


@pytest.mark.must("3261 10.3/14", "3261 10.3/15")
def test_star_out_of_order_removes_nothing(phone, one):
    phone.register()
    [binding] = bindings(one)
    request = phone._new("REGISTER", SipUri(one.address.host), NameAddr(phone.aor), [("Contact", "*"), ("Expires", 0)])
    phone.cseq = iter([binding.cseq])
    assert phone.ask(request.replace(fields=request.fields.with_only("Call-ID", binding.call_id))).status == 500
    assert bindings(one) == (binding,)


@pytest.mark.must("3261 10.3/25")
def test_several_phones_of_one_user(phone, one, world):
    """The highest q first, of equal ones the newest; two phones behind one socket are two."""
    world.homes["alice"] = ["one"]
    second = world.phone("alice", one, Address("10.1.0.12", 5060))
    third = world.phone("alice", one, Address("10.1.0.13", 5060))
    phone.register()
    second.register()
    register(third, "<sip:alice@10.1.0.13>;q=0.2")
    assert contacts(one) == ["sip:alice@10.1.0.12:5060", "sip:alice@10.1.0.11:5060", "sip:alice@10.1.0.13"]
    answer = register(phone, "<sip:random-4711@10.1.0.11>")
    assert contacts(one) == [
        "sip:random-4711@10.1.0.11",
        "sip:alice@10.1.0.12:5060",
        "sip:alice@10.1.0.11:5060",
        "sip:alice@10.1.0.13",
    ]
    assert [str(contact.uri) for contact in answer.contacts] == contacts(one), "all of them, whoever asks"


def test_bindings_of_a_user_are_bounded(phone, one, world):
    for port in range(6000, 6015):
        other = world.phone("alice", one, Address("10.1.0.14", port))
        assert other.register().status == 200
        world.run(1.0)
    assert len(contacts(one)) == 10
    assert contacts(one)[0].endswith(":6014")


@pytest.mark.must("3261 8.2/2", "3261 10.3/4", "3261 10.3/22")
def test_out_of_order_is_refused(phone, one):
    """10.3 step 7: same Call-ID, CSeq not higher."""
    phone.register()
    [binding] = bindings(one)
    request = phone._new("REGISTER", SipUri(one.address.host), NameAddr(phone.aor), [("Contact", phone.contact)])
    stale = request.fields.with_only("Call-ID", binding.call_id)
    phone.cseq = iter([binding.cseq - 1, binding.cseq, binding.cseq + 1])
    stale = stale.with_only("CSeq", f"{binding.cseq - 1} REGISTER")
    assert phone.ask(request.replace(fields=stale)).status == 500
    assert bindings(one) == (binding,)


def test_contact_that_is_no_sip_uri(phone):
    assert register(phone, "<mailto:a@b>").status == 400


@pytest.mark.must("5626 6/11")
def test_instance_and_reg_id_name_a_phone(phone, one, world):
    """RFC 5626: another Contact of the same instance and reg-id replaces it, and the flow is confirmed."""
    world.homes["alice"] = ["one"]
    moved = world.phone("alice", one, Address("10.1.0.50", 5060))
    params = ';+sip.instance="<urn:uuid:1>";reg-id=1'
    response = register(phone, f"<sip:alice@10.1.0.11>{params}", Supported="path, outbound")
    assert response.fields.first("require") == "outbound"
    assert register(moved, f"<sip:alice@10.1.0.50>{params}").fields.first("require") is None
    assert contacts(one) == ["sip:alice@10.1.0.50"]
    # Another reg-id is another way to the same phone.
    register(phone, f"<sip:alice@10.1.0.11>{params[:-1]}2")
    assert len(contacts(one)) == 2


@pytest.mark.must("3261 10.3/7")
def test_unknown_extension_is_refused(phone):
    response = register(phone, "<sip:a@h>", Require="magic")
    assert (response.status, response.fields.lines("unsupported")) == (420, ["magic"])


# Where a phone is


def test_phone_that_listens_elsewhere_than_it_sends_from(phone, one, world):
    """Without rport, and with a Contact at its own address, the Contact is meant."""
    request = phone._new(
        "REGISTER", SipUri(one.address.host), NameAddr(phone.aor), [("Contact", "<sip:a@10.1.0.11:7000>")]
    )
    binding_via = "SIP/2.0/UDP 10.1.0.11:5060;branch=z9hG4bKold"

    def send(request):
        fields = request.fields.with_first("Via", binding_via + str(request.cseq.number))
        one.core.handle(Datagram(one.address, ALICE_AT, request.replace(fields=fields).encode()), world.now)
        world.run(0.5)

    authenticated = []
    phone.send = lambda request, call=None: authenticated.append(request)
    send(request)
    phone._authenticate(request, parse(world.datagrams[-1][2]), None)
    send(authenticated[0])
    [binding] = bindings(one)
    assert binding.hops == (UdpHop(Address("10.1.0.11", 7000), one.address),)


def test_contact_that_asks_for_tcp(phone, one):
    register(phone, "<sip:alice@10.1.0.11:5070;transport=tcp>")
    [binding] = bindings(one)
    assert binding.hops == (StreamHop("TCP", Address("10.1.0.11", 5070)),)


@pytest.mark.must("5626 7/3")
def test_phone_on_tcp_is_reached_by_its_connection(world, one):
    phone = world.phone("alice", one, ALICE_AT, "TCP")
    phone.register()
    [binding] = bindings(one)
    assert binding.hops == (FlowHop(1), StreamHop("TCP", ALICE_AT))
    world.cut(one.flows[1])
    # It may accept connections: its Contact is the address it came from.
    assert bindings(one)[0].hops == (StreamHop("TCP", ALICE_AT),)


@pytest.mark.must("5626 7/5")
def test_phone_behind_nat_is_away_when_its_connection_is(world, one):
    phone = world.phone("alice", one, ALICE_AT, "TCP", contact_host="192.168.1.5")
    phone.register()
    assert bindings(one)[0].hops == (FlowHop(1),)
    world.cut(one.flows[1])
    assert bindings(one) == ()
    assert one.changes[-1].bindings == ()
    assert one.core.users() == []


# Who may


def test_no_line_here(phone, one, world):
    world.homes["alice"] = []
    response = phone.register()
    assert (response.status, response.phrase) == (403, "alice has no line on this peer")
    [note] = one.notes
    assert (note.event, note.facts["why"]) == ("phone refused", "alice has no line on this peer")
    assert note.facts["source"] == "udp 10.1.0.11:5060"


def test_foreign_registrar_is_not_relayed_to(phone, world):
    request = phone._new("REGISTER", SipUri("203.0.113.1"), NameAddr(phone.aor), [])
    assert phone.ask(request).status == 403
    assert not any(remote.host == "203.0.113.1" for _, remote, _ in world.datagrams)


@pytest.mark.must("3261 16.5/3")
@pytest.mark.parametrize("domain", ["overlay.example", "10.1.0.1"])
def test_any_own_name_is_the_overlay(phone, one, domain):
    phone.aor = SipUri(domain, "alice")
    assert phone.register().status == 200
    assert len(contacts(one)) == 1


def test_sha_256(world):
    server = world.server("new", "10.9.0.1", algorithms=("SHA-256", "MD5"))
    phone = world.phone("alice", server, ALICE_AT)
    assert phone.register().status == 200


@pytest.mark.must("7616 3.3/2")
def test_stale_nonce_is_said_to_be_stale(phone, world, one):
    phone.register()
    sent = [data for local, _, data in world.datagrams if b"Authorization" in data][-1]
    world.run(400.0)
    branch = sent.replace(b"branch=z9hG4bK", b"branch=z9hG4bKagain")
    one.core.handle(Datagram(one.address, ALICE_AT, branch), world.now)
    one.step()
    assert b"401 Unauthorized" in world.datagrams[-1][2]
    assert b"stale=true" in world.datagrams[-1][2]


def test_password_store_that_does_not_answer(phone, world, one):
    one.unanswered = (FindCredential,)
    phone.send(phone._new("REGISTER", SipUri(one.address.host), NameAddr(phone.aor), []))
    world.run(6.0)
    assert phone.finals[-1].phrase == "Passwords cannot be looked up now"


def test_no_registration_through_another_peer(phone, one, other, world):
    request = phone._new("REGISTER", SipUri("overlay.example"), NameAddr(phone.aor), [("Contact", phone.contact)])
    fields = request.fields.with_first("Via", "SIP/2.0/TLS x.invalid;branch=z9hG4bK1")
    flow = one.flows[one.links["two"]]
    one.core.handle(FlowData(flow.number, request.replace(fields=fields).encode()), world.now)
    [answer] = [effect.data for effect in one.core.drain()]
    assert answer.startswith(b"SIP/2.0 403 Phones register with their own peer")


# Line removed, restart


def test_line_is_removed(world, phone, one):
    phone.register()
    one.core.remove_user("alice", world.now)
    one.step()
    assert contacts(one) == []
    assert one.changes[-1].bindings == ()


def test_restart_keeps_registrations(phone, one, world):
    phone.register(600)
    tcp = world.phone("carol", one, Address("10.1.0.13", 5060), "TCP")
    tcp.register(600)
    snapshot = one.core.snapshot(world.now)
    again = world.server("again", "10.1.0.1")
    world.now += 5000.0
    again.core.restore(snapshot, world.now, elapsed_s=100.0)
    again.step()
    assert [change.user for change in again.changes] == ["alice", "carol"]
    [alice], [carol] = bindings(again), bindings(again, "carol")
    assert alice.hops == (UdpHop(ALICE_AT, one.address),)
    assert carol.hops == (StreamHop("TCP", Address("10.1.0.13", 5060)),)
    assert 490.0 < alice.expires_at - world.now < 500.0
    world.run(501.0)
    assert contacts(again) == []


def test_too_old_snapshot_is_empty(phone, one, world):
    phone.register(600)
    again = world.server("again", "10.1.0.1")
    again.core.restore(one.core.snapshot(world.now), world.now, elapsed_s=601.0)
    assert contacts(again) == []


@pytest.mark.parametrize("snapshot", [b"", b"{", b"[1]", b'[{"user":"a"}]'])
def test_damaged_snapshot_says_what_to_do(one, snapshot):
    with pytest.raises(LocalMisuse, match="delete them"):
        one.core.restore(snapshot, 0.0)


def test_what_is_forgotten_is_this_very_registration():
    """What the same phone has registered meanwhile stays."""
    table = Bindings(3)
    contact = parse_sip_uri("sip:a@10.0.0.1")
    old, new = (Binding(contact, (FlowHop(1),), "c", cseq, 0.0, 10.0) for cseq in (1, 2))
    table.store("a", (new,))
    assert table.forget("a", old, 1.0) == []
    assert table.of("a", 1.0) == (new,)
    [change] = table.forget("a", new, 1.0)
    assert (change.user, change.bindings, table.users()) == ("a", (), [])


def test_indexes_are_empty_when_all_is():
    """No user, host or connection stays behind."""
    table = Bindings(3)
    contact = parse_sip_uri("sip:a@10.0.0.1:5061")
    address = Address("10.0.0.1", 5061)
    one = Binding(contact, (FlowHop(1), StreamHop("TCP", address)), "c", 1, 0.0, 10.0)
    two = Binding(parse_sip_uri("sip:b@10.0.0.1"), (UdpHop(address),), "c", 1, 0.0, 20.0)
    table.store("a", (one, two))
    table.store("b", (two,))
    assert table.has_host("10.0.0.1")
    assert table.at_contact(contact, 5.0) is one
    assert table.at_contact(contact, 10.0) is None
    [change] = table.handle_timeout(10.0)
    assert change.bindings == (two,)
    assert table.has_host("10.0.0.1")
    table.handle_timeout(20.0)
    assert not table.has_host("10.0.0.1")
    assert table.at_contact(two.contact, 5.0) is None
    assert table.next_deadline() is None
    assert table.handle_flow_down(FlowDown(1, "closed"), 30.0) == []


def test_who_has_taken_the_place_of_a_phone_is_at_its_host_or_is_the_best() -> None:
    """A dialog outlives the registration that it began with."""
    bindings = Bindings(10)
    best, other = (
        Binding(parse_sip_uri(f"sip:a@10.0.0.{number}:7000"), (FlowHop(number),), "c", 1, 0.0, 10.0, q)
        for number, q in ((1, 1.0), (2, 0.5))
    )
    bindings.store("alice", (other, best))
    for may_have_moved in (True, False):
        found = partial(bindings.successor, now=1.0, may_have_moved=may_have_moved)
        assert found("alice", parse_sip_uri("sip:a@10.0.0.2:6000")) == other
        assert found("alice", parse_sip_uri("sip:a@10.0.0.9:6000")) == (best if may_have_moved else None)
        assert found("bob", parse_sip_uri("sip:a@10.0.0.1:7000")) is None
