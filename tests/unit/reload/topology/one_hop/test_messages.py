"""The bodies of one-hop (p2psip.reload.topology.one_hop.messages)."""

from __future__ import annotations

import pytest

from p2psip.base.ids import NodeId
from p2psip.reload.topology.one_hop.members import DIGEST_BYTES
from p2psip.reload.topology.one_hop.messages import (
    NAMES_MAX,
    OneHopQuery,
    OneHopRouteQueryAns,
    OneHopUpdate,
    Standing,
    UpdateType,
)

LENGTHS = [16, 20]


def names(length: int, count: int) -> tuple[NodeId, ...]:
    return tuple(NodeId(number.to_bytes(length, "big")) for number in range(1, count + 1))


@pytest.mark.parametrize("length", LENGTHS)
def test_news_and_pages_are_read_as_they_were_written(length: int) -> None:
    one, two, three = names(length, 3)
    for update in (
        OneHopUpdate(7, b"12345678", UpdateType.NEWS, (one,), (two, three)),
        OneHopUpdate(7, b"12345678", UpdateType.SYNC),
        OneHopUpdate(7, b"12345678", UpdateType.PAGE, members=(one, two), next=(three,)),
    ):
        assert OneHopUpdate.decode(update.encode(), node_id_length=length) == update
    answer = OneHopRouteQueryAns(one, Standing.GONE)
    assert OneHopRouteQueryAns.decode(answer.encode(), node_id_length=length) == answer


def test_a_page_fits_into_the_messages_that_every_overlay_permits() -> None:
    """5000 bytes are RFC 6940's own max-message-size; signature, certificate and headers take less than half of it."""
    page = OneHopUpdate(1, bytes(DIGEST_BYTES), UpdateType.PAGE, members=names(20, NAMES_MAX), next=names(20, 1))
    assert len(page.encode()) < 2700


def test_a_synchronisation_is_small() -> None:
    assert len(OneHopUpdate(1, bytes(DIGEST_BYTES), UpdateType.SYNC).encode()) < 20
    assert OneHopQuery(True).encode() == b"\x01"
