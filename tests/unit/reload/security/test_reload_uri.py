"""RELOAD URIs of nodes (RFC 6940 section 14.15)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psip.base.ids import NodeId
from p2psip.reload.security.reload_uri import node_uri, parse_node_uri

NODE = NodeId(bytes(range(16)))


def test_the_uri_carries_a_destination_list() -> None:
    """14.15: a destination list, with no length in front: type node (1), length 16, the Node-ID."""
    assert node_uri(NODE, "club.example") == "reload://0110000102030405060708090a0b0c0d0e0f@club.example/"


@given(st.binary(min_size=16, max_size=20).map(NodeId))
def test_a_uri_gives_its_node_back(node: NodeId) -> None:
    assert parse_node_uri(node_uri(node, "a.b"), len(node)) == (node, "a.b")


@pytest.mark.parametrize(
    "uri",
    [
        "reload://000102030405060708090a0b0c0d0e0f@club.example/",
        "RELOAD://000102030405060708090A0B0C0D0E0F@club.example",
        "reload://0110000102030405060708090a0b0c0d0e0f@club.example/0102",
    ],
    ids=["bare", "upper case", "specifier"],
)
def test_other_writings_are_understood(uri: str) -> None:
    assert parse_node_uri(uri, 16) == (NODE, "club.example")


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "sip:alice@club.example",
        "reload://@club.example/",
        "reload://01@club.example/",
        "reload://123@club.example/",
        "reload://0110000102030405060708090a0b0c0d0e0f",
        "reload://0110000102030405060708090a0b0c0d0e0f0110000102030405060708090a0b0c0d0e0f@club.example/",
        "reload://021110000102030405060708090a0b0c0d0e0f@club.example/",
        "reload://0110000102030405060708090a0b0c0d0e0f@club.example/x",
    ],
    ids=["empty", "sip", "none", "short", "odd", "no overlay", "two", "a resource", "bad specifier"],
)
def test_what_is_no_uri_of_a_node_is_refused(uri: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_node_uri(uri, 16)
