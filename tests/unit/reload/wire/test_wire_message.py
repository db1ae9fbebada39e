"""Whole messages (p2psip.reload.wire.message)."""

from __future__ import annotations

from dataclasses import replace

import pytest
import wire_specimens
from wire_specimens import BODIES, SECURITY_BLOCK

from p2psip.base.ids import NodeId
from p2psip.reload.topology.chord.messages import BODIES as CHORD_BODIES
from p2psip.reload.wire.contents import MessageCode, MessageContents, UnknownBody
from p2psip.reload.wire.header import Destination
from p2psip.reload.wire.kinds import DataModel
from p2psip.reload.wire.language.codec import Struct
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.link_messages import PingReq
from p2psip.reload.wire.message import BODIES as STRUCTURES
from p2psip.reload.wire.message import Message, SignedPayload, body_of, join, parts_of, signature_input, split
from p2psip.reload.wire.storage_messages import StoreReq, UnknownKindData
from p2psip.reload.wire.topology_messages import JoinReq

PING = wire_specimens.message(MessageCode.PING_REQ, PingReq(b"pad"))


@pytest.mark.parametrize(("name", "code", "body"), BODIES, ids=[name for name, _, _ in BODIES])
def test_every_type_of_message_there_and_back(name: str, code: MessageCode, body: Struct) -> None:
    """From values to bytes to the same values."""
    message = wire_specimens.message(code, body)
    encoded = message.encode()
    decoded = Message.decode(encoded)
    assert decoded.with_header(message.header) == message
    assert decoded.header.length == len(encoded)
    assert decoded.contents.message_code is code
    assert body_of(decoded.contents, topology=CHORD_BODIES) == body
    assert decoded.encode() == encoded


def test_specimens_are_complete() -> None:
    """One for each structure that a message code has."""
    assert {code for _, code, _ in BODIES} == {*STRUCTURES, *CHORD_BODIES}


def test_forwarding_needs_no_more_than_the_header() -> None:
    """The payload of a fragment, or of a message whose contents make no sense, is forwarded as it is."""
    header, payload = split(PING.encode())
    garbage = join(header, b"garbage")
    assert split(garbage) == (replace(header, length=len(garbage)), b"garbage")
    rewritten = replace(header, ttl=98, via_list=(*header.via_list, Destination.node(wire_specimens.B)))
    assert Message.decode(join(rewritten, payload)).contents_bytes == PING.contents_bytes


@pytest.mark.parametrize(("name", "code", "body"), BODIES, ids=[name for name, _, _ in BODIES])
def test_what_was_put_together_here_is_what_would_be_read(name: str, code: MessageCode, body: Struct) -> None:
    """Header, contents and security block, without being taken apart; other bytes that are the same are read."""
    contents = MessageContents(code, body.encode(), ())
    block = SECURITY_BLOCK
    payload = SignedPayload.of(contents, contents.encode(), block.certificates, block.signature, block.encode())
    whole = join(PING.header, payload)
    header, taken = parts_of(whole)
    assert taken is payload
    assert (header, taken) == split(bytes(whole))
    assert Message.of_payload(header, taken) == Message.of_payload(header, bytes(taken)) == Message.decode(whole)
    assert type(parts_of(bytes(whole))[1]) is bytes
    with pytest.raises(DecodeError):
        parts_of(whole[:-1])


def test_length_in_the_header_must_be_the_messages() -> None:
    """Neither more nor less arrived."""
    for data in (PING.encode()[:-1], PING.encode() + b"x"):
        with pytest.raises(DecodeError, match=r"ForwardingHeader\.length: the message has \d+ bytes, its header says"):
            split(data)


def test_a_fragment_is_no_message() -> None:
    """Reassembly comes first, then `of_payload`."""
    header, payload = split(PING.encode())
    fragment = join(replace(header, fragment=0x80000000), payload)
    with pytest.raises(DecodeError, match="a fragment, not a whole message"):
        Message.decode(fragment)
    assert Message.of_payload(header, payload) == Message.decode(PING.encode())


def test_errors_behind_the_header_count_bytes_of_the_message() -> None:
    """Where to look in a capture."""
    header, payload = split(PING.encode())
    start = len(header.encode())
    with pytest.raises(DecodeError) as caught:
        Message.decode(join(header, payload + b"x"))
    assert str(caught.value) == f"SecurityBlock: 1 bytes left over, at byte {start + len(payload)}"
    with pytest.raises(DecodeError) as caught:
        Message.decode(join(header, payload[:7]))
    assert str(caught.value) == f"MessageContents.message_body: 5 bytes wanted, 1 left, at byte {start + 6}"


def test_signature_covers_overlay_transaction_and_contents() -> None:
    """And the SignerIdentity, which the signer appends."""
    data = signature_input(0x01020304, 0x1122334455667788, PING.contents_bytes)
    assert data == bytes.fromhex("01020304 1122334455667788 0017 00000005 0003 706164 00000000")


def test_unknown_codes_have_opaque_bodies() -> None:
    """A message of tomorrow can still be shown, or answered with an error."""
    assert body_of(MessageContents(MessageCode.EXP_A_REQ, b"what?")) == UnknownBody(b"what?")


def test_bodies_depend_on_the_overlay() -> None:
    """On its Node-ID length and its Kinds."""
    join_req = JoinReq(NodeId(bytes(20)))
    contents = MessageContents(MessageCode.JOIN_REQ, join_req.encode())
    assert body_of(contents, node_id_length=20, topology=CHORD_BODIES) == join_req
    with pytest.raises(DecodeError):
        body_of(contents, topology=CHORD_BODIES)
    store = StoreReq(wire_specimens.RESOURCE, 0, (UnknownKindData(77, 0, b""),))
    known = body_of(MessageContents(MessageCode.STORE_REQ, store.encode()), models={77: DataModel.SINGLE})
    assert isinstance(known, StoreReq)
    assert not isinstance(known.kind_data[0], UnknownKindData)


def test_security_block_is_kept() -> None:
    """With certificates and signature."""
    assert Message.decode(PING.encode()).security_block == SECURITY_BLOCK
