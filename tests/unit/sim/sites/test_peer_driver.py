"""p2psip.sim.sites.peer_driver: phones over streams, and what a driver may not do."""

from __future__ import annotations

import pytest

from p2psip.base.address import Address
from p2psip.sim.ip.machine import Machine
from p2psip.sim.ip.virtual_streams import VirtualStream
from p2psip.sim.sites.internet import InternetSite, InternetSites
from p2psip.sip.transports.arrivals import FlowArrival, FlowDown, FlowUp
from p2psip.sip.transports.effects import CloseFlow, OpenFlow, SendFlow

OPTIONS = (
    b"OPTIONS sip:198.20.0.1 SIP/2.0\r\nVia: SIP/2.0/TCP 198.20.0.100;branch=z9hG4bK1\r\nMax-Forwards: 70\r\n"
    b"From: <sip:alice@198.20.0.1>;tag=1\r\nTo: <sip:198.20.0.1>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n"
    b"Content-Length: 0\r\n\r\n"
)


class User:
    """Of a stream."""

    def __init__(self) -> None:
        self.data = b""
        self.events: list[str] = []

    def stream_connected(self, stream: VirtualStream) -> None:
        self.events.append("connected")

    def stream_data(self, stream: VirtualStream, data: bytes) -> None:
        self.data += data

    def stream_ended(self, stream: VirtualStream) -> None:
        self.events.append("ended")
        stream.close()

    def stream_lost(self, stream: VirtualStream, reason: str) -> None:
        self.events.append(reason)


@pytest.fixture
def world() -> InternetSites:
    """One site, and a machine beside its peer."""
    made = InternetSites(1)
    made.add_public(0)
    made.settle()
    return made


def beside(world: InternetSites) -> Machine:
    """Where a phone may be."""
    machine = Machine(world.internet, "phone")
    machine.plug(world.sites[0].lan, "198.20.0.100")
    return machine


def arrivals(site: InternetSite, monkeypatch: pytest.MonkeyPatch) -> list[FlowArrival]:
    """What the SIP core is told of flows."""
    told: list[FlowArrival] = []
    monkeypatch.setattr(site.driver.peer, "handle_sip", lambda arrival, now: told.append(arrival))
    return told


def test_a_phone_over_a_stream_is_answered(world: InternetSites) -> None:
    """In two segments, as a network may cut it."""
    phone, user = beside(world), User()
    stream = phone.connect(Address("198.20.0.1", 5060))
    stream.user = user
    world.run(1.0)
    stream.write(OPTIONS[:50])
    world.run(0.5)
    stream.write(OPTIONS[50:])
    assert world.run(5.0, stop=lambda: user.data.startswith(b"SIP/2.0 200"))
    stream.close()
    world.run(1.0)
    assert user.events == ["connected", "ended", "closed"]


def test_flows_that_the_core_opens(world: InternetSites, monkeypatch: pytest.MonkeyPatch) -> None:
    """To who listens, to who does not, and never in clear what was to go over TLS."""
    site, phone = world.sites[0], beside(world)
    taken: list[VirtualStream] = []
    user = User()

    def accept(stream: VirtualStream) -> None:
        stream.user = user
        taken.append(stream)

    phone.listen(Address("198.20.0.100", 5060), accept)
    told = arrivals(site, monkeypatch)
    for effect in (
        OpenFlow(2, "TCP", Address("198.20.0.100", 5060)),
        OpenFlow(4, "TCP", Address("198.20.0.100", 5062)),
        OpenFlow(6, "TLS", Address("198.20.0.100", 5060)),
    ):
        site.driver._do(effect)
    world.run(2.0)
    assert [type(each) for each in told].count(FlowUp) == 1
    down = {each.flow: each.reason for each in told if isinstance(each, FlowDown)}
    assert down == {4: "connection refused", 6: "no TLS to 198.20.0.100:5060"}
    site.driver._do(SendFlow(2, b"hello"))
    site.driver._do(CloseFlow(2))
    world.run(2.0)
    assert user.data == b"hello"
    assert user.events == ["connected", "ended", "closed"]
