"""p2psip.net.phone_directory: who has the directory, and over how many connections."""

from __future__ import annotations

from typing import Any

import pytest

from p2psip.directory.http_conversation import BODY_MAX, HttpConversation
from p2psip.net.phone_directory import CONNECTIONS_MAX, CONNECTIONS_OF_ADDRESS_MAX, PhoneDirectory


def served() -> PhoneDirectory:
    return PhoneDirectory("club.example", ["192.168.7.0/24", "fe80::/10"], tuple, lambda *_: None)


def connection() -> Any:
    """One connection more; who is let in is asked before it is used."""
    return object()


@pytest.mark.parametrize(
    ("host", "is_near"),
    [
        ("192.168.7.9", True),
        ("::ffff:192.168.7.9", True),
        ("fe80::9%eth0", True),
        ("192.168.8.9", False),
        ("203.0.113.9", False),
        ("2001:db8::9", False),
        ("::ffff:203.0.113.9", False),
        ("", False),
    ],
)
def test_whoever_is_in_none_of_the_networks_has_nothing(host: str, is_near: bool) -> None:
    assert served().admits(connection(), host) is is_near


def test_connections_are_bounded_for_each_address_and_altogether() -> None:
    directory = served()
    first = [connection() for _ in range(CONNECTIONS_OF_ADDRESS_MAX)]
    assert all(directory.admits(each, "192.168.7.1") for each in first)
    assert not directory.admits(connection(), "::ffff:192.168.7.1")
    directory.gone(first[0])
    assert directory.admits(connection(), "192.168.7.1")
    others = [directory.admits(connection(), f"192.168.7.{number}") for number in range(2, CONNECTIONS_MAX + 2)]
    assert sum(others) == CONNECTIONS_MAX - CONNECTIONS_OF_ADDRESS_MAX


def test_a_body_that_is_too_long_ends_the_connection() -> None:
    """In an answer, before all of it has come."""
    conversation = HttpConversation()
    conversation.receive(b"POST / HTTP/1.1\r\nHost: hill\r\nContent-Length: 99999999\r\n\r\n")
    conversation.receive(bytes(BODY_MAX))
    assert not conversation.is_over
    conversation.receive(b"x")
    assert conversation.is_over
    assert conversation.take().startswith(b"HTTP/1.1 413 ")
