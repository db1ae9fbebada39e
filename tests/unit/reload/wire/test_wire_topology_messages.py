"""Join, Leave, Update, RouteQuery (p2psip.reload.wire.topology_messages)."""

from __future__ import annotations

import pytest

from p2psip.base.ids import NodeId, ResourceId
from p2psip.reload.topology.chord.messages import (
    ChordLeaveData,
    ChordLeaveType,
    ChordRouteQueryAns,
    ChordUpdate,
    ChordUpdateType,
)
from p2psip.reload.wire.header import CompressedDestination, Destination
from p2psip.reload.wire.language.codec import Struct
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.topology_messages import JoinAns, JoinReq, LeaveAns, LeaveReq, RouteQueryReq, UpdateAns

A, B, C = (NodeId(bytes([byte]) * 16) for byte in (0xAA, 0xBB, 0xCC))
AH, BH, CH = (node_id.hex() for node_id in (A, B, C))


@pytest.mark.parametrize(
    ("value", "encoded"),
    [
        (JoinReq(A), f"{AH} 0000"),
        (JoinReq(A, b"x"), f"{AH} 0001 78"),
        (JoinAns(), "0000"),
        (LeaveReq(A, b""), f"{AH} 0000"),
        (LeaveAns(), ""),
        (ChordLeaveData(ChordLeaveType.FROM_SUCC, successors=(A, B)), f"01 0020 {AH} {BH}"),
        (ChordLeaveData(ChordLeaveType.FROM_PRED, predecessors=(A,)), f"02 0010 {AH}"),
        (ChordUpdate(60, ChordUpdateType.PEER_READY), "0000003c 01"),
        (ChordUpdate(60, ChordUpdateType.NEIGHBORS, (A,), (B, C)), f"0000003c 02 0010 {AH} 0020 {BH} {CH}"),
        (ChordUpdate(60, ChordUpdateType.FULL, (), (B,), (C,)), f"0000003c 03 0000 0010 {BH} 0010 {CH}"),
        (UpdateAns(), ""),
        (RouteQueryReq(True, Destination.resource(ResourceId(b"FOO")), b"x"), "01 02 04 03 464f4f 0001 78"),
        (RouteQueryReq(False, CompressedDestination(0x8005)), "00 8005 0000"),
        (ChordRouteQueryAns(A), AH),
    ],
)
def test_byte_for_byte(value: Struct, encoded: str) -> None:
    """Written by hand from the RFC's definitions."""
    assert value.encode() == bytes.fromhex(encoded)
    assert type(value).decode(bytes.fromhex(encoded)) == value


def test_lists_are_whole_node_ids() -> None:
    """A list of 17 bytes holds one and something."""
    with pytest.raises(DecodeError, match=r"predecessors\[1\]: 16 bytes wanted, 1 left"):
        ChordUpdate.decode(bytes.fromhex(f"0000003c 02 0011 {AH} 00 0000"))


def test_other_node_id_lengths() -> None:
    """Twenty bytes, where the overlay says so."""
    update = ChordUpdate(1, ChordUpdateType.NEIGHBORS, (NodeId(b"\1" * 20),), (NodeId(b"\2" * 20),))
    assert ChordUpdate.decode(update.encode(), node_id_length=20) == update
