"""One UDP port: what a datagram is, and whose."""

from __future__ import annotations

import random

from p2psip.base.address import Address
from p2psip.reload.paths.demux import Associations, DatagramKind, DatagramRoute, Pair, farewell, hello_random, kind_of

HERE = Address("192.0.2.1", 6084)
PAIR = Pair(HERE, Address("192.0.2.2", 6084))
SMALL, LARGE = bytes(31) + b"\1", b"\2" + bytes(31)


def record(content_type: int = 23, *, epoch: int = 1, body: bytes = bytes(40)) -> bytes:
    return bytes([content_type, 254, 253]) + epoch.to_bytes(2, "big") + bytes(6) + len(body).to_bytes(2, "big") + body


def handshake(message: int, body: bytes, *, offset: int = 0) -> bytes:
    size = len(body).to_bytes(3, "big")
    return record(22, epoch=0, body=bytes([message]) + size + bytes(2) + offset.to_bytes(3, "big") + size + body)


def hello(value: bytes = SMALL, cookie: bytes = b"") -> bytes:
    return handshake(1, b"\xfe\xfd" + value + b"\0" + bytes([len(cookie)]) + cookie + bytes(20))


def test_rfc_7983_by_the_first_byte() -> None:
    kinds = {first: kind_of(bytes([first]) + bytes(30)) for first in range(256)}
    assert [first for first, kind in kinds.items() if kind is DatagramKind.STUN] == [0, 1, 2, 3]
    assert [first for first, kind in kinds.items() if kind is DatagramKind.DTLS] == list(range(20, 64))
    assert kind_of(b"") is DatagramKind.OTHER


def test_the_random_of_a_client_hello_is_the_same_with_a_cookie() -> None:
    assert hello_random(hello(LARGE)) == hello_random(hello(LARGE, b"cookie")) == LARGE
    for other in (b"", hello()[:58], handshake(2, bytes(60)), record(), record(22, epoch=1)):
        assert hello_random(other) is None
    assert hello_random(handshake(1, bytes(60), offset=100)) is None, "what is inside is something else"


def test_garbage_raises_nothing_and_finds_nobody() -> None:
    rng = random.Random(1)
    table = Associations[str]()
    for _ in range(5000):
        data = rng.randbytes(rng.randrange(80))
        if hello_random(data) is None:
            assert table.route(PAIR, data) == DatagramRoute()
    assert len(table) == 0


def test_a_flood_from_made_up_addresses_leaves_nothing_behind() -> None:
    table = Associations[str]()
    for port in range(1, 20000):
        assert table.route(Pair(HERE, Address("198.51.100.7", port)), hello()) == DatagramRoute(begins=True)
    assert len(table) == 0


def test_an_association_has_what_comes_between_its_two_addresses() -> None:
    table = Associations[str]()
    table.begin(PAIR, "a", SMALL, is_client=True)
    assert table.route(PAIR, handshake(2, bytes(60))) == DatagramRoute(("a",))
    assert table.up(PAIR, "a") is None
    assert table.route(PAIR, record()) == DatagramRoute(("a",))
    # A flight of the handshake that is repeated, as our answer to it was lost.
    assert table.route(PAIR, handshake(20, bytes(60))) == DatagramRoute(("a",))
    for other in (Pair(HERE, Address("192.0.2.2", 6085)), Pair(Address("192.0.2.9", 6084), PAIR.remote)):
        assert table.route(other, record()) == DatagramRoute()
    table.forget(PAIR, "a")
    assert (table.route(PAIR, record()), len(table)) == (DatagramRoute(), 0)


def test_a_newcomer_has_the_handshake_and_both_what_is_encrypted() -> None:
    """RFC 6347 4.2.8: the existing one goes on until the newcomer is up."""
    table = Associations[str]()
    table.up(PAIR, "old")
    assert table.route(PAIR, hello(LARGE)) == DatagramRoute(begins=True)
    assert table.begin(PAIR, "new", LARGE, is_client=False) is None
    assert table.route(PAIR, handshake(16, bytes(60))) == DatagramRoute(("new",))
    assert table.route(PAIR, record()) == DatagramRoute(("old", "new"))
    assert table.route(PAIR, hello(LARGE)) == DatagramRoute(("new",))
    assert table.up(PAIR, "new") == "old"
    table.forget(PAIR, "old")
    assert table.route(PAIR, record()) == DatagramRoute(("new",))


def test_of_two_that_dial_each_other_at_once_the_larger_goes_first() -> None:
    one, other = Associations[str](), Associations[str]()
    one.begin(PAIR, "ours", LARGE, is_client=True)
    back = Pair(PAIR.remote, PAIR.local)
    other.begin(back, "ours", SMALL, is_client=True)
    assert one.route(PAIR, hello(SMALL)) == DatagramRoute(), "dropped: it will serve ours"
    assert other.route(back, hello(LARGE)) == DatagramRoute(begins=True)
    assert other.begin(back, "served", LARGE, is_client=False) == "ours"
    assert other.route(back, hello(LARGE, b"cookie")) == DatagramRoute(("served",))
    # What is forgotten late does not take the other's place.
    other.forget(back, "ours")
    assert other.newcomer(back) == "served"


def test_who_begins_anew_in_the_middle_of_a_handshake_is_listened_to() -> None:
    table = Associations[str]()
    table.begin(PAIR, "first", LARGE, is_client=False)
    assert table.route(PAIR, hello(SMALL)) == DatagramRoute(begins=True)
    assert table.begin(PAIR, "second", SMALL, is_client=False) == "first"
    assert table.handshaking == 1


def test_our_own_hello_is_an_answer() -> None:
    """Then we have dialled ourselves, which is for the core to see."""
    table = Associations[str]()
    table.begin(Pair(HERE, HERE), "ours", SMALL, is_client=True)
    assert table.route(Pair(HERE, HERE), hello(SMALL)) == DatagramRoute(("ours",))


def test_one_that_has_moved_has_what_still_comes_between_the_addresses_before() -> None:
    """Until it moves again, or is over; it is one, however it is reached."""
    table = Associations[str]()
    there, further = (Pair(HERE, Address("192.0.2.2", port)) for port in (7000, 8000))
    table.up(PAIR, "moving")
    assert table.move("moving", PAIR, there) is None
    assert table.route(PAIR, record()) == table.route(there, record()) == DatagramRoute(("moving",))
    assert len(table) == 1
    assert table.move("moving", there, further) is None
    assert table.route(PAIR, record()) == DatagramRoute()
    assert table.route(there, record()) == table.route(further, record()) == DatagramRoute(("moving",))
    table.forget(further, "moving")
    assert table.route(there, record()) == table.route(further, record()) == DatagramRoute()
    assert len(table) == 0


def test_where_one_has_moved_away_another_may_come_up_without_ending_it() -> None:
    """Whoever was where it moves to is over."""
    table = Associations[str]()
    there = Pair(HERE, Address("192.0.2.2", 7000))
    table.up(PAIR, "moving")
    table.up(there, "before")
    assert table.move("moving", PAIR, there) == "before"
    table.forget(there, "before")
    assert table.up(PAIR, "new") is None
    assert table.route(PAIR, record()) == DatagramRoute(("new",))
    assert table.route(there, record()) == DatagramRoute(("moving",))
    assert len(table) == 2


def test_a_farewell_is_for_the_handshake_of_which_it_speaks() -> None:
    """One that comes late ends neither the next handshake nor what is up."""
    associations: Associations[str] = Associations()
    assert associations.route(PAIR, farewell(SMALL)) == DatagramRoute()
    associations.begin(PAIR, "up", SMALL, is_client=False)
    assert associations.route(PAIR, farewell(SMALL)) == DatagramRoute(("up",))
    associations.up(PAIR, "up")
    assert associations.route(PAIR, farewell(SMALL)) == DatagramRoute()
    for is_client in (True, False):
        associations.begin(PAIR, "next", LARGE, is_client=is_client)
        assert associations.route(PAIR, farewell(SMALL)) == DatagramRoute()
        assert associations.route(PAIR, farewell(LARGE)) == DatagramRoute(("next",))
    fatal = record(21, epoch=0, body=bytes([2, 40]))
    assert associations.route(PAIR, fatal) == DatagramRoute(("next",)), "any other word is heard"
