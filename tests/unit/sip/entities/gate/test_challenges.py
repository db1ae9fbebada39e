"""Whose password goes where: a phone's to its own peer, and nowhere else."""

from __future__ import annotations

import pytest

from p2psip.base.address import Address
from p2psip.sip.message.build import make_response

AUTHORIZATIONS = ("authorization", "proxy-authorization")


def challenging(world, phone, status, realm):
    """Let a phone answer whatever comes by asking for a password, as one does who collects digests."""
    field = "WWW-Authenticate" if status == 401 else "Proxy-Authenticate"

    def refuse(event):
        phone.received.append(event.request)
        extra = [(field, f'Digest realm="{realm}", nonce="n", algorithm=MD5')]
        response = make_response(event.request, status, to_tag="t", extra=extra)
        phone.layer.respond(event.transaction, response, world.now)

    phone._on_request = refuse


@pytest.mark.must("3261 16.7/23", "3261 22.3/3", "3261 22.3/7", "7616 3.6/2", "7616 3.6/3")
@pytest.mark.parametrize("status", [401, 407])
@pytest.mark.parametrize("realm", ["overlay.example", "10.1.0.1", "asterisk"])
@pytest.mark.parametrize("method", ["INVITE", "MESSAGE"])
def test_nobody_but_its_own_peer_asks_a_phone_for_its_password(world, alice, bob, status, realm, method):
    challenging(world, bob, status, realm)
    if method == "INVITE":
        call = alice.invite("bob")
        world.run(3.0)
        response = call.responses[-1]
    else:
        response = alice.ask(alice.message("bob"))
    assert response.status == 403
    assert not {"www-authenticate", "proxy-authenticate"} & {key for key, _, _ in response.fields}
    assert response.fields.lines("reason") == [
        f'SIP;cause={status};text="the other side asks for a password, which phones give to their own peer alone"'
    ]
    assert not [key for got in bob.received for key, _, _ in got.fields if key in AUTHORIZATIONS]


@pytest.mark.parametrize("caller_asks", [True, False])
def test_nor_within_a_call(world, alice, bob, caller_asks):
    """The callee hangs up, and the caller's phone asks who he is; or the other way round."""
    call = alice.invite("bob")
    world.run(3.0)
    assert call.statuses[-1] == 200
    asker, asked = (alice, bob) if caller_asks else (bob, alice)
    challenging(world, asker, 407, "overlay.example")
    response = asked.ask(asked.in_dialog(asked.calls[-1], "BYE", 70))
    assert response.status == 403
    assert [got.method for got in asker.received][-1] == "BYE"
    assert not [key for got in asker.received for key, _, _ in got.fields if key in AUTHORIZATIONS]


def test_nor_a_phone_of_the_same_peer(world, one, alice):
    carol = world.phone("carol", one, Address("10.1.0.13", 5060))
    carol.register()
    challenging(world, carol, 407, "overlay.example")
    assert alice.ask(alice.message("carol")).status == 403


@pytest.mark.must("3261 22.3/2", "3261 22.3/5")
@pytest.mark.parametrize("name", ["Authorization", "Proxy-Authorization"])
def test_22_3_what_a_phone_proves_to_its_peer_goes_no_further(world, alice, bob, name):
    """Some send the credentials of their REGISTER with everything."""
    asked = alice.message("bob")
    ours = 'Digest username="alice", realm="overlay.example", nonce="n", uri="sip:x", response="r"'
    far = ours.replace("overlay.example", "far")
    fields = asked.fields.with_last(name, far)
    if name == "Authorization":
        fields = fields.with_last(name, ours)
    send_first = alice._authenticate

    def prove(request, response, call):
        # The phone of these tests gives up where there are credentials already.
        send_first(request.replace(fields=fields), response, call)

    alice._authenticate = prove
    assert alice.ask(alice.message("bob")).status == 200
    assert bob.received[-1].fields.lines(name.lower()) == [far]
