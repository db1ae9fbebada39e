"""A phone that is registered at two peers: it rings once, and is reached as long as one of them is there."""

from __future__ import annotations

import pytest

from p2psip.coupling.line_records.contact_prefs import PHONES_MAX, read_prefs, write_prefs
from p2psip.sim.sites.site import SitePhone
from p2psip.sim.sites.site_peers import SimulatedPeers
from p2psip.sip.entities.registrar.targets import phone_mark
from p2psip.sip.message.headers import NameAddr
from p2psip.sip.transports.arrivals import Datagram

pytestmark = pytest.mark.long

INSTANCE = '"<urn:uuid:00000000-0000-1000-8000-AABBCCDDEEFF>"'


class TwoServerPhone(SitePhone):
    """Bob's phone, which says its instance-id wherever it registers. What comes from either peer, rings here."""

    def __init__(self, world: SimulatedPeers, number: int, heard: list[bytes], **options: object) -> None:
        super().__init__(world[number], "bob", 50, **options)
        self.heard = heard

    def receive(self, data: bytes) -> None:
        if data.startswith(b"INVITE"):
            self.heard.append(data)
        super().receive(data)

    def send(self, data: bytes) -> None:
        if data.startswith(b"REGISTER"):
            head, _, rest = data.partition(b"Contact: ")
            contact, _, rest = rest.partition(b"\r\n")
            named = str(NameAddr.parse(contact.decode()).with_param("+sip.instance", INSTANCE))
            data = head + b"Contact: " + named.encode() + b"\r\n" + rest
        local, peer = self.site.local, self.site.peer
        self.site.call(lambda now: peer.handle_sip(Datagram(local, self.address, data), now))


def grow(seed: str, *, answer_s: float | None = 3.0) -> tuple[SimulatedPeers, SitePhone, list[bytes]]:
    """Alice at p1, and bob's phone at p2 and p3, at which it registered last; and every INVITE that came to that."""
    world = SimulatedPeers(seed, 5)
    (alice,) = world.with_phones((1, "alice"))
    heard: list[bytes] = []
    for number in (2, 3):
        world.line(number, "bob")
    world.settle_records([2, 3])
    for number in (2, 3):
        phone = TwoServerPhone(world, number, heard, answer_s=answer_s).register()
        assert world.run(5.0, stop=lambda phone=phone: phone.is_registered)  # type: ignore[misc]
        world.run(3.0)
    return world, alice, heard


@pytest.mark.parametrize("seed", range(4))
def test_it_rings_once(seed: int) -> None:
    """Although nobody picks it up for three seconds: the other way to it is not tried."""
    world, alice, heard = grow(f"once {seed}")
    call = alice.dial("bob")
    world.run(10.0)
    assert alice.talks, alice.ended(call)
    assert len(heard) == 1


def test_what_it_says_counts_for_both() -> None:
    """RFC 5626 section 7: after a final response "the proxy MUST NOT forward the same request to another target
    representing the same AOR and instance-id".
    """
    world, alice, heard = grow("busy", answer_s=None)
    call = alice.dial("bob")
    assert world.run(5.0, stop=lambda: bool(heard))
    world.run(0.5)
    phone = next(iter(world[3].phones.values()))
    phone.run(lambda now: phone.agent.reject(1, 486, now))
    assert world.run(3.0, stop=lambda: alice.ended(call) is not None)
    assert alice.ended(call) == "486 Busy Here"
    assert len(heard) == 1


@pytest.mark.parametrize("seed", [0, 1, 2, 7])
def test_one_of_its_peers_loses_its_power(seed: int) -> None:
    """The other one rings it, within 8 s, whether the overlay knows already or not."""
    world, alice, heard = grow(f"power {seed}", answer_s=0.5)
    placed = world[2].peer.publisher.placed("bob")
    assert placed is not None
    assert placed.responsible != world[3].peer.node.node_id, "with this seed another peer has the records"
    world.world.crash(world[3].host, is_silent=True)
    for _ in range(2):
        call = alice.dial("bob")
        assert world.run(8.0, stop=lambda: alice.talks), alice.ended(call)
        alice.hang_up(call)
        world.run(60.0)
    assert len(heard) == 2


def test_and_comes_back() -> None:
    """The phone registers there anew: it is the newest again, and rings once."""
    world, alice, heard = grow("back", answer_s=0.5)
    store = world[3].host.store
    world.world.crash(world[3].host, is_silent=True)
    world.run(60.0)
    back = world.add(3, store)
    assert world.run(60.0, stop=lambda: back.peer.node.is_serving)
    world.line(3, "bob")
    world.settle_records([3])
    TwoServerPhone(world, 3, heard, answer_s=3.0).register()
    world.run(5.0)
    alice.dial("bob")
    world.run(8.0)
    assert alice.talks
    assert len(heard) == 1


def test_two_phones_ring_as_ever() -> None:
    """Another phone of bob's at the other peer: after a second it rings as well."""
    world, alice, heard = grow("two", answer_s=None)
    desk = world.phone(2, "bob", 7, answer_s=None)
    world.run(3.0)
    alice.dial("bob")
    world.run(6.0)
    assert desk.rang == 1
    assert len(heard) >= 1


def test_what_a_record_says_of_phones_is_read_back() -> None:
    marks = [f"{number:024x}" for number in range(PHONES_MAX + 3)]
    assert write_prefs([]) == b""
    assert write_prefs(marks[:1]) == b'(sip.instance="' + marks[0].encode() + b'")'
    assert read_prefs(write_prefs(marks[:3])) == frozenset(marks[:3])
    assert read_prefs(write_prefs(marks)) == frozenset(marks[:PHONES_MAX])


@pytest.mark.parametrize("prefs", [b"", b"(sip.schemes=SIPS)", b'(sip.instance="<urn:uuid:1>")', bytes(70_000)])
def test_of_other_preferences_nothing_is_made(prefs: bytes) -> None:
    assert read_prefs(prefs) == frozenset()


def test_a_mark_tells_no_instance_id() -> None:
    """It is the same at every peer, and another for another user."""
    world, _, _ = grow("mark")
    (one,), (other,) = (world[number].peer.server.bindings("bob", world.world.now) for number in (2, 3))
    assert one.instance
    assert phone_mark("bob", one) == phone_mark("Bob", other) != phone_mark("carol", one)
    assert "aabbccddeeff" not in phone_mark("bob", one)
