"""RFC 3263 4.1 and 4.2, as far as a phone's Contact goes: a numeric address, over the transport that it names."""

from __future__ import annotations

import pytest
from sip_world import Server, World
from world_phone import Phone

from p2psip.base.address import Address

PHONE = "10.1.0.13"


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def one(world: World) -> Server:
    return world.server("one", "10.1.0.1")


@pytest.fixture
def alice(world: World, one: Server) -> Phone:
    phone = world.phone("alice", one, Address("10.1.0.11", 5060))
    assert phone.register().status == 200
    return phone


@pytest.mark.parametrize(
    ("uri", "over", "port"),
    [
        (f"sip:x@{PHONE}", "UDP", 5060),
        (f"sip:x@{PHONE}:5080", "UDP", 5080),
        (f"sip:x@{PHONE};transport=udp", "UDP", 5060),
        (f"sip:x@{PHONE};transport=UDP", "UDP", 5060),
        (f"sip:x@{PHONE};transport=tcp", "TCP", 5060),
        (f"sip:x@{PHONE}:5080;transport=tcp", "TCP", 5080),
        (f"sip:x@{PHONE};transport=tls", "TLS", 5061),
        (f"sip:x@{PHONE};transport=sctp", "", 0),
        (f"sip:x@{PHONE};transport=ws", "", 0),
    ],
)
def test_4_the_transport_and_the_port_are_those_that_the_uri_names(
    world: World, one: Server, alice: Phone, uri: str, over: str, port: int
) -> None:
    """4.1: "If the URI specifies a transport protocol in the transport parameter, that transport protocol SHOULD be
    used. Otherwise, if no transport protocol is specified, but the TARGET is a numeric IP address, the client SHOULD
    use UDP for a SIP URI"; 4.2: "If the URI also contains a port, it uses that port. If no port is specified, it uses
    the default port for the particular transport protocol." What we do not speak leads nowhere: not to the same
    address over something else.
    """
    carol = world.phone("carol", one, Address(PHONE, 5090))
    assert carol.register().status == 200
    world.datagrams.clear()
    call = alice.invite(uri)
    world.run(2.0)
    called = {remote.port for local, remote, data in world.datagrams if remote.host == PHONE and b"INVITE" in data[:9]}
    opened = [(each.transport, each.remote) for each in one.opened]
    if over == "UDP":
        assert (called, opened) == ({port}, [])
    elif over:
        assert (called, opened) == (set(), [(over, Address(PHONE, port))])
    else:
        assert (called, opened) == (set(), [])
        assert call.statuses[-1] >= 400
