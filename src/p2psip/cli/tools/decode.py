"""`p2psip decode`: what is in RELOAD messages (RFC 6940 section 6.3), from files or standard input."""

from __future__ import annotations

import codecs
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from p2psip.base.errors import LocalMisuse
from p2psip.reload.wire.contents import MessageCode, MessageContents
from p2psip.reload.wire.framing import FramedMessage, FramedMessageType, frame_length
from p2psip.reload.wire.header import RELO_TOKEN, ForwardingHeader
from p2psip.reload.wire.kinds import REGISTERED_MODELS, DataModel, Models
from p2psip.reload.wire.language.codec import Struct
from p2psip.reload.wire.language.primitives import DecodeError
from p2psip.reload.wire.language.render import to_json, tree
from p2psip.reload.wire.message import Message, body_of, join, split
from p2psip.reload.wire.security_block import SecurityBlock

EXIT_UNDECODABLE = 2

Bodies = Mapping[MessageCode, type[Struct]]

app = typer.Typer(add_completion=False, rich_markup_mode=None)

HELP = """Show what is in RELOAD messages.

A file of hex has one message a line; blanks between digits do not matter, nor do empty lines and lines that
start with #. Any other file is binary: one message if it starts with RELOAD's token (d2454c4f), else a
stream of framed messages as a link carries them (each starts with 80 or 81). A line of hex may be a framed
message as well; the frame is then shown too. Of a fragment the forwarding header is shown, and the rest as hex.

What does not decode is named on standard error, by file and line and by field and byte; the rest is
decoded nevertheless, and the exit status is 2.

Examples:

\b
    p2psip decode capture.hex
    echo 'd245 4c4f ...' | p2psip decode --json - | jq .message_contents
    p2psip decode --kind 0xf0000001=DICTIONARY link.bin
    p2psip decode --reencode capture.hex | diff capture.hex -
"""

JSON_HELP = "Print one JSON object a line: bytes as hex, enums by the RFC's names, integers exactly (up to 64 bits)."
REENCODE_HELP = "Print the hex that encoding the decoded values gives."
KIND_HELP = "Data model of a Kind of this overlay: SINGLE, ARRAY or DICTIONARY. Values of unknown Kinds stay hex."


@app.command(help=HELP)
def decode(
    files: Annotated[list[str] | None, typer.Argument(metavar="FILE", help="- is standard input, the default.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help=JSON_HELP)] = False,
    reencode: Annotated[bool, typer.Option("--reencode", help=REENCODE_HELP)] = False,
    node_id_length: Annotated[int, typer.Option(min=16, max=20, help="Bytes in a Node-ID.")] = 16,
    kinds: Annotated[list[str] | None, typer.Option("--kind", metavar="ID=MODEL", help=KIND_HELP)] = None,
    topology: Annotated[
        str | None, typer.Option(metavar="PLUGIN", help="The overlay's topology-plugin. [CHORD-RELOAD]")
    ] = None,
) -> int:
    """Decode all files and tell by the exit status whether all of it was messages."""
    from p2psip import plugins
    from p2psip.reload.config.configuration import DEFAULT_TOPOLOGY

    if as_json and reencode:
        raise LocalMisuse("--json and --reencode exclude each other: ask for one of them")
    if not files and sys.stdin.isatty():
        raise LocalMisuse("name a file, or - to type messages in; p2psip decode --help tells more")
    bodies = plugins.topology(DEFAULT_TOPOLOGY if topology is None else topology).bodies
    form = "json" if as_json else "hex" if reencode else "tree"
    printer = _Printer(form, node_id_length, _models(kinds or []), bodies)
    for name in files or ["-"]:
        printer.file(name)
    return EXIT_UNDECODABLE if printer.is_anything_wrong else 0


def _models(kinds: list[str]) -> Models:
    models = dict(REGISTERED_MODELS)
    for text in kinds:
        kind, _, model = text.partition("=")
        try:
            models[int(kind, 0)] = DataModel(model.upper())
        except ValueError:
            raise LocalMisuse(f"--kind {text}: write it like 0xf0000001=DICTIONARY (or SINGLE, ARRAY)") from None
    return models


@dataclass(frozen=True, slots=True)
class _Decoded:
    """One message, with what was around it. An ack has no message, a fragment no contents."""

    frame: FramedMessage | None
    header: ForwardingHeader | None = None
    fragment: bytes = b""
    contents: MessageContents | None = None
    body: Struct | None = None
    security_block: SecurityBlock | None = None

    @classmethod
    def of(cls, data: bytes, node_id_length: int, models: Models, bodies: Bodies) -> _Decoded:
        """Decode a message or a framed message."""
        frame = FramedMessage.decode(data) if data[:1] in (b"\x80", b"\x81") else None
        if frame is not None and frame.type is FramedMessageType.ACK:
            return cls(frame)
        packet = data if frame is None else frame.message
        header, payload = split(packet, node_id_length=node_id_length)
        if not header.is_unfragmented:
            return cls(frame, header, fragment=payload)
        message = Message.decode(packet, node_id_length=node_id_length)
        try:
            body = body_of(message.contents, node_id_length=node_id_length, models=models, topology=bodies)
        except DecodeError as error:
            raise error.inside("message_body") from None
        return cls(frame, header, b"", message.contents, body, message.security_block)

    def view(self) -> dict[str, object]:
        """The parts by name, the decoded body in place of its bytes."""
        parts: dict[str, object] = {}
        if self.frame is not None:
            parts["frame"] = self.frame
        if self.frame is not None and self.header is not None:
            parts["frame"] = {"type": self.frame.type, "sequence": self.frame.sequence}
        if self.header is not None:
            parts["forwarding_header"] = self.header
        if self.contents is not None:
            parts["message_contents"] = {
                "message_code": self.contents.message_code,
                "message_body": self.body,
                "extensions": self.contents.extensions,
            }
            parts["security_block"] = self.security_block
        elif self.header is not None:
            parts["fragment"] = self.fragment
        return parts

    def encode(self) -> bytes:
        """The bytes that the decoded values give, all of them encoded anew."""
        message = b"" if self.header is None else join(self.header, self._payload())
        if self.frame is None:
            return message
        is_ack = self.frame.type is FramedMessageType.ACK
        return (self.frame if is_ack else FramedMessage.data(self.frame.sequence, message)).encode()

    def _payload(self) -> bytes:
        if self.contents is None or self.body is None or self.security_block is None:
            return self.fragment
        contents = MessageContents(self.contents.message_code, self.body.encode(), self.contents.extensions)
        return contents.encode() + self.security_block.encode()


@dataclass(slots=True)
class _Printer:
    """Decodes file after file and prints in one form; complains and goes on."""

    form: str
    node_id_length: int
    models: Models
    bodies: Bodies
    is_anything_wrong: bool = field(default=False, init=False)

    def file(self, name: str) -> None:
        """Decode all of a file."""
        try:
            data = sys.stdin.buffer.read() if name == "-" else Path(name).read_bytes()
        except OSError as error:
            self._complain(name, f"cannot be read: {error.strerror}")
            return
        text = _text(data)
        if text is not None:
            self._hex_lines(name, text)
        elif data.startswith(RELO_TOKEN.to_bytes(4, "big")):
            self._message(name, data)
        else:
            self._frames(name, data)

    def _hex_lines(self, name: str, text: str) -> None:
        for number, line in enumerate(text.splitlines(), start=1):
            if not line.strip() or line.lstrip().startswith("#"):
                continue
            try:
                data = bytes.fromhex(line)
            except ValueError:
                self._complain(f"{name}:{number}", "not hex: an even number of digits 0-9 and a-f is wanted")
                continue
            self._message(f"{name}:{number}", data)

    def _frames(self, name: str, data: bytes) -> None:
        try:
            for number, (start, end) in enumerate(_frame_bounds(data), start=1):
                self._message(f"{name}, frame {number} at byte {start}", data[start:end])
        except DecodeError as error:
            is_alien = error.offset == 0
            self._complain(name, "neither hex, nor a message, nor framed messages" if is_alien else str(error))

    def _message(self, where: str, data: bytes) -> None:
        try:
            decoded = _Decoded.of(data, self.node_id_length, self.models, self.bodies)
        except DecodeError as error:
            self._complain(where, str(error))
            return
        match self.form:
            case "json":
                print(json.dumps(to_json({"source": where, **decoded.view()})))
            case "hex":
                print(decoded.encode().hex())
            case _:
                print(f"{where}: {len(data)} bytes", tree(decoded.view()), "", sep="\n")

    def _complain(self, where: str, what: str) -> None:
        self.is_anything_wrong = True
        print(f"p2psip: {where}: {what}", file=sys.stderr)


def _frame_bounds(data: bytes) -> Iterator[tuple[int, int]]:
    start = 0
    while start < len(data):
        length = frame_length(data, start)
        if length is None or start + length > len(data):
            raise DecodeError("the last frame is cut short", start).inside("FramedMessage")
        yield start, start + length
        start += length


def _text(data: bytes) -> str | None:
    """Hex digits and comments, in whatever an editor saved them; None for what is no text."""
    if data.isascii():
        return data.decode("ascii")
    if not data.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return None
    return data.decode("utf-8-sig" if data.startswith(codecs.BOM_UTF8) else "utf-16", "replace")
