"""Decoding and encoding of whole messages, body included, one of every type."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial

from wire_specimens import BODIES, message

from bench.results import Result, processor_us, result
from p2psip.reload.topology.chord.messages import BODIES as CHORD_BODIES
from p2psip.reload.wire.contents import MessageContents
from p2psip.reload.wire.header import ForwardingHeader
from p2psip.reload.wire.language.codec import Struct
from p2psip.reload.wire.message import Message, body_of


def measure() -> Iterator[Result]:
    """All types; at first the header alone, which is all that a peer on the way reads."""
    header = message(*BODIES[0][1:]).header
    yield result("codec.decode.header", "us", processor_us(partial(ForwardingHeader.decode_prefix, header.encode())))
    yield result("codec.encode.header", "us", processor_us(partial(_encode_header, header)))
    for name, code, body in BODIES:
        whole = message(code, body)
        kind = name.replace(" ", "_")
        yield result(f"codec.decode.{kind}", "us", processor_us(partial(_decode, whole.encode())))
        yield result(f"codec.encode.{kind}", "us", processor_us(partial(_encode, whole, body)))


def _decode(data: bytes) -> Struct:
    return body_of(Message.decode(data).contents, topology=CHORD_BODIES)


def _encode(whole: Message, body: Struct) -> bytes:
    contents = MessageContents(whole.contents.message_code, body.encode())
    return replace(whole, contents_bytes=contents.encode(), contents=contents).encode()


def _encode_header(header: ForwardingHeader) -> bytes:
    return header.encode()
