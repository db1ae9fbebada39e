"""What a phone is shown, it can dial; what it says, is understood at every other site (names at the edge)."""

from __future__ import annotations

import random
from urllib.parse import quote, unquote

import pytest

from p2psip.base.address import Address
from p2psip.sip.entities.config import ServerConfig
from p2psip.sip.entities.naming import Naming
from p2psip.sip.entities.own import ServerName
from p2psip.sip.entities.registrar.tokens import TokenPlace, Tokens
from p2psip.sip.message.fields import Fields
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.message.message import Request
from p2psip.sip.message.parser import parse
from p2psip.sip.message.uri import SipUri, parse_sip_uri
from p2psip.sip.transports.arrivals import FlowDown
from p2psip.sip.transports.hops import UdpHop
from p2psip.sip.transports.layer import Listener, TransportLayer

SECRET = b"of the state directory"


@pytest.fixture
def carol(world, one, other):
    """At a third site."""
    third = world.server("tri", "10.3.0.1")
    world.link(one, third), world.link(other, third)
    phone = world.phone("carol", third, Address("10.3.0.13", 5060))
    assert phone.register().status == 200
    return phone


def invite_at(phone) -> Request:
    return [request for request in phone.received if request.method == "INVITE"][-1]


def talking(world, caller, callee):
    """The dialog at both ends."""
    call = caller.invite(callee.user)
    world.run(3.0)
    assert call.is_up
    return call, callee.calls[-1]


def in_dialog(phone, call, method: str, *extra: tuple[str, object]) -> Request:
    request = phone.in_dialog(call, method)
    fields = request.fields
    for name, value in extra:
        fields = fields.with_last(name, value)
    return request.replace(fields=fields)


def test_what_a_phone_is_shown_it_can_dial(world, one, other, alice, bob):
    call, _ = talking(world, alice, bob)
    invite = invite_at(bob)
    assert (str(invite.from_.uri), str(invite.to.uri)) == ("sip:alice@10.2.0.1", "sip:bob@10.2.0.1")
    assert invite.contacts[0].sip_uri.host == "10.2.0.1"
    assert invite.uri_text == str(bob.contact.uri)
    back = bob.invite(str(invite.from_.uri))
    world.run(3.0)
    assert back.is_up
    assert invite_at(alice).uri_text == str(alice.contact.uri)
    # Its own responses have what it sent, byte by byte but for the tag (8.2.6.2).
    for response in call.responses[1:]:
        assert response.fields.first("from") == call.request.fields.first("from")
        assert response.fields.first("to") == f"<sip:bob@10.1.0.1>;tag={response.to.tag}"
    assert call.responses[-1].contacts[0].sip_uri.host == "10.1.0.1"


@pytest.mark.parametrize("name", ["sip:bob@pi.local:5060", "sip:bob@overlay.example", "sip:bob@10.2.0.1"])
def test_each_phone_has_its_own_name_for_the_server(world, one, alice, name):
    server = world.server("two", "10.2.0.1", domains=frozenset({"overlay.example", "10.2.0.1", "pi.local"}))
    world.link(one, server)
    bob = world.phone("bob", server, Address("10.2.0.12", 5070))
    bob.aor = parse_sip_uri(name)
    assert bob.register().status == 200
    # A restart does not make it forget.
    snapshot = server.core.snapshot(world.now)
    server.core.remove_user("bob", world.now)
    server.core.restore(snapshot, world.now)
    alice.invite("bob")
    world.run(0.5)
    assert str(invite_at(bob).from_.uri) == name.replace("bob", "alice")
    assert str(invite_at(bob).to.uri) == name
    assert invite_at(bob).contacts[0].sip_uri.replace(user=None, params=()) == parse_sip_uri(name).replace(user=None)


def test_the_port_may_stand_in_the_request_uri_alone(world, one, other, alice):
    """linphone writes `REGISTER sip:10.2.0.1:5060` and `To: <sip:bob@10.2.0.1>`."""
    bob = world.phone("bob", other, Address("10.2.0.12", 5070))
    register = bob._new("REGISTER", SipUri("10.2.0.1", None, 5060), NameAddr(bob.aor), [("Contact", bob.contact)])
    assert bob.ask(register).status == 200
    alice.invite("bob")
    world.run(0.5)
    assert str(invite_at(bob).from_.uri) == "sip:alice@10.2.0.1:5060"


def test_a_caller_who_has_not_registered_is_told_in_the_words_it_used(world, one, other, bob):
    server = world.server("tri", "10.3.0.1", domains=frozenset({"overlay.example", "10.3.0.1", "pi.local"}))
    world.link(server, other)
    dave = world.phone("dave", server, Address("10.3.0.14", 5060))
    dave.aor = SipUri("pi.local", "dave", 5060)
    call, far = talking(world, dave, bob)
    assert call.responses[-1].contacts[0].sip_uri.host == "pi.local"
    bob.send(in_dialog(bob, far, "REFER", ("Refer-To", "<sip:alice@10.2.0.1>")))
    world.run(1.0)
    refer = dave.received[-1]
    assert str(refer.from_.uri) == "sip:bob@pi.local:5060"
    assert refer.fields.first("refer-to") == "<sip:alice@pi.local:5060>"


def test_a_phone_that_does_not_say_by_what_name_is_told_the_address_that_it_uses(world, one, other, alice, bob):
    """A registration of a release before this, in the snapshot of which there is no name."""
    bindings = other.core.snapshot(world.now).replace(b'"server":["10.2.0.1",null]', b'"server":null')
    assert b'"server":null' in bindings
    other.core.remove_user("bob", world.now)
    other.core.restore(bindings, world.now)
    alice.invite("bob")
    world.run(0.5)
    assert str(invite_at(bob).from_.uri) == "sip:alice@10.2.0.1:5060"


def test_two_phones_of_one_server_see_each_other_in_their_own_terms(world, one, alice):
    """And their dialog goes on: the GRUU that each has of the other leads to its phone."""
    anna = world.phone("anna", one, Address("10.1.0.15", 5062), "TCP")
    assert anna.register().status == 200
    call, far = talking(world, alice, anna)
    assert call.target.host == far.target.host == "10.1.0.1"
    anna.hang_up(far)
    world.run(1.0)
    assert call.is_over
    assert alice.received[-1].uri_text == str(alice.contact.uri)


@pytest.mark.parametrize("field", ["Referred-By", "Reply-To"])
def test_users_are_named_in_several_fields(world, alice, bob, field):
    request = alice.message("bob")
    named = NameAddr(SipUri("10.1.0.1", "carol", 5060), "Carol, C.", (("index", "1"),))
    response = alice.ask(request.replace(fields=request.fields.with_last(field, named)))
    assert response.status == 200
    assert bob.received[-1].fields.first(field.lower()) == '"Carol, C." <sip:carol@10.2.0.1>;index=1'


@pytest.mark.parametrize(
    "value", ["<tel:+4930123>", "<sip:carol@elsewhere.example>", "<sip:carol@10.1.0.1:5082>", "<<"]
)
def test_what_is_not_the_overlay_goes_on_as_it_is(world, alice, bob, value):
    request = alice.message("bob")
    assert alice.ask(request.replace(fields=request.fields.with_last("Refer-To", value))).status == 200
    assert bob.received[-1].fields.first("refer-to") == value


@pytest.mark.parametrize(
    ("value", "told"),
    [
        ("sip:carol@10.1.0.1", "<sip:carol@10.2.0.1>"),
        ("sip:carol@10.1.0.1?Replaces=1%3Bto-tag%3D2", "<sip:carol@10.2.0.1?Replaces=1%3Bto-tag%3D2>"),
        ("sip:carol@10.1.0.1:5060?Replaces=1%3Ba;x=y", "<sip:carol@10.2.0.1?Replaces=1%3Ba>;x=y"),
        ("sip:carol@10.1.0.1;transport=udp?Replaces=1", "<sip:carol@10.2.0.1?Replaces=1>"),
    ],
)
@pytest.mark.parametrize("name", ["Refer-To", "r"])
def test_a_refer_to_whose_phone_has_left_out_the_brackets(world, alice, bob, name, value, told):
    """20.10 wants them where there is a question mark, and some phones forget them there."""
    request = alice.message("bob")
    raw = request.encode().replace(b"\r\n\r\n", f"\r\n{name}: {value}\r\n\r\n".encode())
    parsed = parse(raw.replace(b"\r\n", b"\r\nVia: SIP/2.0/UDP 10.1.0.11\r\n", 1))
    assert alice.ask(parsed.replace(fields=parsed.fields.without("via"))).status == 200
    assert bob.received[-1].fields.first("refer-to") == told


def test_3515_2_4_2_a_refer_to_leads_where_the_referrer_meant(world, alice, bob, carol):
    """Blind transfer (RFC 5359 2.4): bob is told of carol in his own terms, and reaches her."""
    call, far = talking(world, alice, bob)
    refer = in_dialog(
        alice, call, "REFER", ("Refer-To", "<sip:carol@10.1.0.1>"), ("Referred-By", "<sip:alice@10.1.0.1>")
    )
    alice.send(refer)
    world.run(1.0)
    refer = bob.received[-1]
    assert refer.fields.first("refer-to") == "<sip:carol@10.2.0.1>"
    assert refer.fields.first("referred-by") == "<sip:alice@10.2.0.1>"
    # Some phones have as From of the new call what was in To of the old one.
    bob.aor = far.local.uri
    new = bob.invite(str(NameAddr.parse(refer.fields.first("refer-to")).uri))
    world.run(3.0)
    assert new.is_up
    assert str(invite_at(carol).from_.uri) == "sip:bob@10.3.0.1"


@pytest.mark.must("3261 8.1.1.8/2")
def test_5359_2_5_the_remote_target_of_a_dialog_leads_from_a_third_site_to_that_phone(
    world, one, other, alice, bob, carol
):
    """Attended transfer: of bob's two phones the one that talks is meant, whatever name its user goes by."""
    second = world.phone("bob", other, Address("10.2.0.22", 5070), answers_after_s=None)
    assert second.register().status == 200
    call = alice.invite("bob")
    world.run(4.0)
    assert call.is_up
    replaces = f"{call.request.call_id};to-tag={call.remote.tag};from-tag={call.local.tag}"
    referred = quote("<sip:alice@10.1.0.1>", safe="")
    target = call.target.replace(headers=f"Replaces={quote(replaces, safe='')}&Referred-By={referred}")
    to_carol, _ = talking(world, alice, carol)
    alice.send(in_dialog(alice, to_carol, "REFER", ("Refer-To", NameAddr(target))))
    world.run(1.0)
    told = NameAddr.parse(carol.received[-1].fields.first("refer-to")).sip_uri
    assert told.host == "10.3.0.1"
    headers = dict(part.split("=") for part in told.headers.split("&"))
    assert {name: unquote(value) for name, value in headers.items()} == {
        "Replaces": replaces,
        "Referred-By": "<sip:alice@10.3.0.1>",
    }
    before = len(second.received)
    new = carol.invite(str(told.replace(headers="")))
    world.run(3.0)
    assert new.is_up
    assert invite_at(bob).uri_text == str(bob.contact.uri)
    assert len(second.received) == before


def test_a_302_names_whom_to_try_in_the_callers_terms(world, alice, bob, carol):
    bob.refuses_with = 302
    bob.contact = NameAddr(SipUri("10.2.0.1", "carol", None, (("transport", "udp"),)))
    call = alice.invite("bob")
    world.run(2.0)
    assert call.statuses[-1] == 302
    assert str(call.responses[-1].contacts[0].uri) == "sip:carol@10.1.0.1"
    again = alice.invite(str(call.responses[-1].contacts[0].uri))
    world.run(3.0)
    assert again.is_up


# After a restart


def restart(world, server) -> None:
    """A new process: connections are gone, the state directory is as it was."""
    snapshot = server.core.snapshot(world.now)
    for flow in list(server.flows.values()):
        flow.other.owner.flows.pop(flow.other.number)
        flow.other.owner.core.handle(FlowDown(flow.other.number, "reset by peer"), world.now)
    server.flows.clear(), server.links.clear()
    server.core = type(server.core)(server.config, random.Random(f"{server.name} again"))
    server.core.restore(snapshot, world.now)
    world.run(1.0)


def with_secret(world, name: str, host: str):
    return world.server(name, host, token_secret=SECRET)


@pytest.mark.parametrize("restarted", ["one", "two"])
@pytest.mark.parametrize("by", ["alice", "bob"])
def test_a_dialog_outlives_the_restart_of_either_server(world, restarted, by):
    one, two = with_secret(world, "one", "10.1.0.1"), with_secret(world, "two", "10.2.0.1")
    world.link(one, two)
    alice = world.phone("alice", one, Address("10.1.0.11", 5060))
    bob = world.phone("bob", two, Address("10.2.0.12", 5070))
    # The caller does not register: nothing but the token says where it is.
    assert bob.register().status == 200
    call, far = talking(world, alice, bob)
    restart(world, world.servers[restarted])
    world.link(one, two)
    phone, its, other = {"alice": (alice, call, bob), "bob": (bob, far, alice)}[by]
    response = phone.ask(in_dialog(phone, its, "INVITE", ("Contact", phone.contact)))
    assert response.status == 200
    assert response.fields.first("to") == str(its.remote)
    assert str(other.received[-1].from_.uri) == f"sip:{by}@{other.server.address.host}"
    assert phone.ask(in_dialog(phone, its, "BYE")).status == 200
    assert call.is_over or far.is_over


def test_after_a_restart_a_connection_that_is_gone_is_nobody_elses(world):
    """The token names connection 1; that number is another phone's now, and bob's phone is on another."""
    one, two = with_secret(world, "one", "10.1.0.1"), with_secret(world, "two", "10.2.0.1")
    world.link(one, two)
    alice = world.phone("alice", one, Address("10.1.0.11", 5060))
    bob = world.phone("bob", two, Address("10.2.0.12", 5070), "TCP", contact_host="192.168.0.7")
    assert alice.register().status == bob.register().status == 200
    call, _ = talking(world, alice, bob)
    restart(world, two)
    two._flow_numbers = iter(range(1, 100, 2))
    eve = world.phone("eve", two, Address("10.2.0.66", 5060), "TCP")
    assert eve.register().status == 200
    assert bob.register().status == 200
    world.link(one, two)
    assert alice.ask(in_dialog(alice, call, "BYE")).status == 200
    assert not eve.received
    assert bob.received[-1].method == "BYE"


def test_a_phone_that_came_back_with_another_contact_is_found_by_its_user(world, one, other, alice):
    bob = world.phone("bob", other, Address("10.2.0.12", 5070), "TCP", contact_host="192.168.0.7")
    assert bob.register().status == 200
    call, _ = talking(world, alice, bob)
    for flow in list(bob.flows.values()):
        world.cut(flow)
    bob.contact = NameAddr(SipUri("192.168.0.7", "bob", 40_007, (("transport", "tcp"),)))
    assert bob.register().status == 200
    assert alice.ask(in_dialog(alice, call, "BYE")).status == 200
    assert bob.received[-1].uri_text == str(bob.contact.uri)


# Corners


@pytest.mark.must("3261 16.5/2")
def test_what_another_implementation_has_in_its_contact_is_for_itself_to_read(world, alice, bob):
    """It may be an address that is ours as well, in another network."""
    call, _ = talking(world, alice, bob)
    call.target = SipUri("10.1.0.1", "bob")
    assert alice.ask(in_dialog(alice, call, "BYE")).status == 200
    assert bob.received[-1].uri_text == "sip:bob@10.1.0.1"


def test_an_ack_is_in_the_terms_of_the_invite(world, alice, bob):
    talking(world, alice, bob)
    acks = [data.decode() for _, remote, data in world.datagrams if data.startswith(b"ACK") and remote == bob.address]
    assert acks
    assert all("<sip:alice@10.2.0.1>" in ack and "<sip:bob@10.2.0.1>" in ack for ack in acks)


def test_a_contact_that_is_refreshed_in_the_dialog_is_still_of_its_user(world, one, other, bob):
    """Nobody proves anything within a dialog; the token in the Route says whose phone it is."""
    alice = world.phone("alice", one, Address("10.1.0.11", 5060), "TCP", contact_host="192.168.0.7")
    assert alice.register().status == 200
    call, far = talking(world, alice, bob)
    assert alice.ask(in_dialog(alice, call, "INVITE", ("Contact", alice.contact))).status == 200
    far.target = invite_at(bob).contacts[0].sip_uri
    for flow in list(alice.flows.values()):
        world.cut(flow)
    alice.contact = NameAddr(SipUri("192.168.0.7", "alice", 40_007, (("transport", "tcp"),)))
    assert alice.register().status == 200
    assert bob.ask(in_dialog(bob, far, "BYE")).status == 200
    assert alice.received[-1].uri_text == str(alice.contact.uri)


def test_the_contact_of_a_phone_behind_a_proxy_leads_through_it(world, one, other, alice, carol):
    """RFC 3327: also where the dialog is not the one of the phone's own Record-Route."""
    bob = world.phone("bob", other, Address("10.2.0.12", 5070))
    assert bob.register(Path="<sip:10.2.0.12:5070;lr>", Supported="path").status == 200
    call, _ = talking(world, alice, bob)
    target = call.target.replace(host="10.3.0.1")
    carol.invite(str(target))
    world.run(2.0)
    assert invite_at(bob).fields.lines("route") == ["<sip:10.2.0.12:5070;lr>"]


def test_an_address_that_we_have_since_a_moment_ago_names_the_overlay() -> None:
    """What was translated before does not say how it is translated now: an address may come, and go to another."""
    listener = Listener("UDP", Address("192.0.2.1", 5060))
    config = ServerConfig("club.example", frozenset({"club.example"}), (listener,), SipUri("club.example", "peer"))
    naming = Naming(config, Tokens(random.Random(1)), TransportLayer((listener,), own=config.addresses))
    place = TokenPlace(
        UdpHop(Address("192.0.2.9", 5060), listener.local), "192.0.2.9", "alice", ServerName("192.0.2.1")
    )
    request = Request("MESSAGE", "sip:bob@192.0.2.7", Fields.of(("From", "<sip:alice@192.0.2.7>"), ("To", "<sip:b@x>")))
    said = []
    for present in ((), ("192.0.2.7",), ()):
        config.addresses.use(present)
        said.append(str(naming.request_from(request, place).from_.sip_uri))
    assert said == ["sip:alice@192.0.2.7", "sip:alice@club.example", "sip:alice@192.0.2.7"]
