"""Each field of a call, damaged in each way, on each part of its way: no server ends by it, nor stops working."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Callable

import pytest
from effort import times
from sip_world import Flow, Phone, Server, World
from world_phone import Call

from p2psip.base.address import Address
from p2psip.sip.entities.call_guard import LOST_S
from p2psip.sip.message.errors import BadMessage

FIELDS = (
    "Via", "Max-Forwards", "From", "To", "Call-ID", "CSeq", "Contact", "Record-Route", "Route", "Allow", "Supported",
    "Require", "Proxy-Require", "Content-Type", "Content-Length", "Content-Disposition", "Accept", "Expires", "Min-SE",
    "Session-Expires", "RSeq", "RAck", "Identity", "P-Asserted-Identity", "Privacy", "Diversion", "History-Info",
    "Alert-Info", "Answer-Mode", "Replaces", "Refer-To", "Referred-By", "Reason", "Date", "Event", "Max-Breadth",
    "Retry-After", "Priority", "Resource-Priority", "Proxy-Authorization", "WWW-Authenticate", "Path",
)  # fmt: skip

VALUES = (
    b"", b"x", b"<", b"<sip:>", b"sip:", b"<sip:a@b>;=", b'"', b"*", b";tag", b", ,", b"99999999999999999999", b"-1",
    b"%00", b"\xff", b"<tel:1>", b"<sip:a@[::1>", b"<sip:a@b:99999>", b"<sips:a@b;lr>", b"sip:" + b"x" * 3000,
    b"<sip:a@b>," * 60 + b"<",
)  # fmt: skip

LEGS = ("phone to server", "server to server", "server to phone")


def damage(data: bytes, field: str, value: bytes) -> bytes:
    """The message with this value in its first field of that name, which is added where there is none."""
    head, gap, body = data.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    name = field.lower().encode()
    at = next((at for at, line in enumerate(lines) if line.partition(b":")[0].lower() == name), None)
    lines[at if at is not None else len(lines) : None if at is None else at + 1] = [field.encode() + b": " + value]
    return b"\r\n".join([first, *lines]) + gap + body


class DamagingWorld(World):
    """Damages what passes on one leg; phones take no notice of what they do not understand."""

    def __init__(self) -> None:
        super().__init__()
        self.damage: Callable[[bytes], bytes] | None = None
        self.leg = ""
        self.damaged = 0

    def server(self, name: str, host: str, **changes: object) -> Server:
        server = super().server(name, host, **changes)
        # What is damaged is answered with damaged fields, which this compares.
        server.check_response = lambda data: None  # type: ignore[method-assign]
        return server

    def settle(self) -> None:
        for party in self.parties():
            with contextlib.suppress(BadMessage, LookupError) if isinstance(party, Phone) else contextlib.nullcontext():
                party.step()

    def _datagram(self, local: Address, remote: Address, data: bytes) -> None:
        is_to_server = any(one.address == remote for one in self.servers.values())
        super()._datagram(local, remote, self._on(LEGS[0] if is_to_server else LEGS[2], data))

    def _flow_data(self, end: Flow | None, data: bytes) -> None:
        super()._flow_data(end, self._on(LEGS[1], data))

    def _on(self, leg: str, data: bytes) -> bytes:
        if self.damage is None or leg != self.leg or not data.strip():
            return data
        self.damaged += 1
        return self.damage(data)


class Site:
    """alice at one peer, bob and carol at another; bob does not answer, carol does."""

    def __init__(self) -> None:
        self.world = DamagingWorld()
        one, two = (self.world.server(name, f"10.{number}.0.1") for number, name in enumerate(("one", "two"), 1))
        self.servers: tuple[Server, Server] = one, two
        self.alice = self.world.phone("alice", one, Address("10.1.0.11", 5060))
        self.bob = self.world.phone("bob", two, Address("10.2.0.12", 5060), answers_after_s=None)
        self.carol = self.world.phone("carol", two, Address("10.2.0.13", 5060), answers_after_s=0.02)
        pick_up = self.carol._pick_up

        def pick_up_if_it_can(call: Call) -> None:
            with contextlib.suppress(BadMessage, LookupError):
                pick_up(call)

        self.carol._pick_up = pick_up_if_it_can  # type: ignore[method-assign]

    def be_in_order(self) -> None:
        """All phones are registered, and the two peers are connected."""
        one, two = self.servers
        if None in (one.core.flow_of_peer(two.node_id), two.core.flow_of_peer(one.node_id)):
            self.world.link(one, two)
        for phone in self.world.phones:
            assert phone.register().status == 200

    def calls(self) -> None:
        """One that is given up, and one that is up, changes, and ends."""
        for callee in ("bob", "carol"):
            call = self.alice.invite(callee)
            self.world.run(0.3)
            if call.is_up and call.target is not None:
                for method in ("UPDATE", "BYE"):
                    self.alice.send(self.alice.in_dialog(call, method))
                    self.world.run(0.1)
            elif not call.is_over:
                self.alice.cancel(call)
        self.alice.send(self.alice.message("carol"))
        self.world.run(0.1)


@pytest.mark.long
@pytest.mark.parametrize("leg", LEGS)
@pytest.mark.parametrize("is_response", [False, True])
def test_a_field_that_nobody_can_read_ends_no_server(leg: str, is_response: bool) -> None:
    site, rng = Site(), random.Random(f"{leg} {is_response}")
    world = site.world
    world.leg = leg
    for field in FIELDS:
        site.be_in_order()
        values = rng.sample(VALUES, min(times(2), len(VALUES)))
        for value in values:

            def damaged(data: bytes, field: str = field, value: bytes = value) -> bytes:
                return damage(data, field, value) if data.startswith(b"SIP/2.0 ") == is_response else data

            world.damage = damaged
            site.calls()
            world.damage = None
        site.be_in_order()
        call = site.alice.invite("carol")
        world.run(0.5)
        assert call.is_up, (field, call.statuses)
        site.alice.hang_up(call)
        world.run(1.0)
    assert world.damaged > len(FIELDS)
    # What was begun ends by itself, or is ended where nobody can be asked.
    world.run(2 * LOST_S)
    ages_s = [world.now - one.since for server in site.servers for one in server.core._proxy.contexts]
    assert max(ages_s, default=0.0) < LOST_S
