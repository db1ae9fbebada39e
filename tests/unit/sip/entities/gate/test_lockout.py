"""Whose attempts count together, and how much of that is remembered."""

from __future__ import annotations

from p2psip.base.address import Address
from p2psip.sip.entities.config import ServerLimits
from p2psip.sip.entities.gate.lockout import LockOut
from p2psip.sip.transports.hops import Source, UdpHop


def source(port: int) -> Source:
    """A phone behind an address that all share."""
    remote = Address("192.0.2.7", port)
    return Source(UdpHop(remote), "UDP", remote)


def test_so_many_phones_that_were_right_count_by_themselves_and_the_eldest_is_forgotten_first() -> None:
    lock_out = LockOut(ServerLimits(phones=2))
    for port in (1, 2, 1, 3):
        lock_out.note_right("alice", source(port))
    own = [port for port in (1, 2, 3) if lock_out.key("alice", source(port)) == ("alice", source(port).hop)]
    assert own == [1, 3]
    assert lock_out.key("alice", source(2)) == lock_out.key("alice", source(9))
    assert lock_out.key("bob", source(1)) != lock_out.key("alice", source(1))
