"""`p2psip decode`, through the command line as a user has it."""

from __future__ import annotations

import io
import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import wire_specimens
from wire_specimens import BODIES

from p2psip.base.ids import NodeId
from p2psip.cli.main import main
from p2psip.reload.wire.contents import MessageCode, MessageContents
from p2psip.reload.wire.framing import FramedMessage
from p2psip.reload.wire.header import ForwardingHeader
from p2psip.reload.wire.link_messages import PingReq
from p2psip.reload.wire.message import join, split
from p2psip.reload.wire.storage_messages import StoreKindData, StoreReq
from p2psip.reload.wire.topology_messages import JoinReq

PING = wire_specimens.message(MessageCode.PING_REQ, PingReq(b"hello")).encode()
EVERY = [wire_specimens.message(code, body).encode() for _, code, body in BODIES]
DATA, ACK = FramedMessage.data(7, PING).encode(), FramedMessage.ack(7, 3).encode()

Run = tuple[int, str, str]


class Command:
    """Runs `p2psip decode` with arguments and standard input."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *arguments: object, stdin: bytes = b"") -> Run:
        """Exit status, standard output, standard error."""
        self._monkeypatch.setattr(sys, "argv", ["p2psip", "decode", *map(str, arguments)])
        self._monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            main()
        captured = self._capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return ended.value.code, captured.out, captured.err


@pytest.fixture
def decode(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    """The command."""
    return Command(monkeypatch, capsys)


def test_tree_from_standard_input(decode: Command) -> None:
    """No file named: standard input; a tree with the decoded body in it."""
    status, out, err = decode(stdin=PING.hex().encode())
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == f"-:1: {len(PING)} bytes"
    assert "  ttl: 99" in lines
    assert "  message_code: ping_req (23)" in lines
    assert '    padding: "hello"' in lines
    assert "    [0] node " + "a1" * 16 in lines


def test_json_is_one_object_a_line(decode: Command, tmp_path: Path) -> None:
    """Of every type of message; comments, empty lines and blanks between digits do not matter."""
    file = tmp_path / "all.hex"
    file.write_text("# all\n\n" + "\n".join(message.hex(" ", 2).upper() for message in EVERY) + "\n")
    status, out, err = decode("--json", file)
    assert (status, err) == (0, "")
    objects = [json.loads(line) for line in out.splitlines()]
    codes = [shown["message_contents"]["message_code"] for shown in objects]
    assert codes == [code.rfc_name for _, code, _ in BODIES]
    assert [shown["source"] for shown in objects] == [f"{file}:{number}" for number in range(3, 3 + len(EVERY))]
    assert objects[0]["forwarding_header"]["via_list"] == [{"type": "node", "destination_data": "a1" * 16}]
    assert objects[-1]["message_contents"]["message_body"]["error_code"] == "Error_Not_Found"


def test_reencode_gives_the_same_bytes(decode: Command) -> None:
    """For messages, frames, acks and fragments of every type."""
    header, payload = split(PING)
    fragment = join(replace(header, fragment=0x80000000), payload[:40])
    lines = [data.hex() for data in [*EVERY, DATA, ACK, fragment, FramedMessage.data(1, fragment).encode()]]
    status, out, err = decode("--reencode", "-", stdin="\n".join(lines).encode())
    assert (status, out.splitlines(), err) == (0, lines, "")


def test_several_files_and_standard_input(decode: Command, tmp_path: Path) -> None:
    """p2psip decode FILE1 FILE2 -: hex, one binary message, a stream of frames."""
    (tmp_path / "hex").write_text(PING.hex())
    (tmp_path / "binary").write_bytes(PING)
    status, out, err = decode("--json", tmp_path / "hex", tmp_path / "binary", "-", stdin=DATA + ACK + DATA)
    assert (status, err) == (0, "")
    assert [json.loads(line)["source"] for line in out.splitlines()] == [
        f"{tmp_path}/hex:1",
        f"{tmp_path}/binary",
        "-, frame 1 at byte 0",
        f"-, frame 2 at byte {len(DATA)}",
        f"-, frame 3 at byte {len(DATA + ACK)}",
    ]


def test_frames_are_shown(decode: Command) -> None:
    """The sequence number beside the message, and what an ack says."""
    _, out, _ = decode("--json", stdin=f"{DATA.hex()}\n{ACK.hex()}".encode())
    data, ack = map(json.loads, out.splitlines())
    assert data["frame"] == {"type": "data", "sequence": 7}
    assert data["message_contents"]["message_code"] == "ping_req"
    assert ack == {"source": "-:2", "frame": {"type": "ack", "ack_sequence": 7, "received": 3}}


def test_fragments_show_their_header(decode: Command) -> None:
    """The rest is hex."""
    header, payload = split(PING)
    _, out, _ = decode("--json", stdin=join(replace(header, fragment=0x80000000), payload[:40]).hex().encode())
    shown = json.loads(out)
    assert (shown["forwarding_header"]["fragment"], shown["fragment"]) == (0x80000000, payload[:40].hex())
    assert "message_contents" not in shown


def test_wrong_lines_are_named_and_the_rest_decoded(decode: Command, tmp_path: Path) -> None:
    """One clear line each, exit status 2 at the end."""
    file = tmp_path / "mixed.hex"
    body = MessageContents(MessageCode.PING_REQ, b"\0\xff").encode()
    bad_body = join(split(PING)[0], body + wire_specimens.SECURITY_BLOCK.encode())
    file.write_text("\n".join([PING.hex(), "what?", PING.hex()[:-2], "abc", bad_body.hex(), "82", PING.hex()]))
    status, out, err = decode("--json", file, tmp_path / "missing", tmp_path)
    assert status == 2
    assert [json.loads(line)["source"] for line in out.splitlines()] == [f"{file}:1", f"{file}:7"]
    assert err.splitlines() == [
        f"p2psip: {file}:2: not hex: an even number of digits 0-9 and a-f is wanted",
        f"p2psip: {file}:3: ForwardingHeader.length: the message has {len(PING) - 1} bytes, "
        f"its header says {len(PING)}, at byte 0",
        f"p2psip: {file}:4: not hex: an even number of digits 0-9 and a-f is wanted",
        f"p2psip: {file}:5: message_body.PingReq.padding: 255 bytes wanted, 0 left, at byte 2",
        f"p2psip: {file}:6: ForwardingHeader.relo_token: 4 bytes wanted, 1 left, at byte 0",
        f"p2psip: {tmp_path}/missing: cannot be read: No such file or directory",
        f"p2psip: {tmp_path}: cannot be read: Is a directory",
    ]


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (b"\x7fELF\xff", "p2psip: -: neither hex, nor a message, nor framed messages"),
        (
            DATA + b"\x80\x01",
            f"p2psip: -: FramedMessage: the last frame is cut short, at byte {len(DATA)}",
        ),
        (DATA + b"\x90", f"p2psip: -: FramedMessage.type: 144 is no FramedMessageType, at byte {len(DATA)}"),
        (
            FramedMessage.data(1, b"\xff").encode(),
            "p2psip: -, frame 1 at byte 0: ForwardingHeader.relo_token: 4 bytes wanted, 1 left, at byte 0",
        ),
    ],
    # The specimens are signed: their length is another in every run, and xdist wants the same names.
    ids=["no message", "cut short", "no frame", "no RELOAD"],
)
def test_binary_that_is_none(decode: Command, data: bytes, complaint: str) -> None:
    """One line and status 2."""
    status, _, err = decode(stdin=data)
    assert (status, err.splitlines()) == (2, [complaint])


def test_node_id_length(decode: Command) -> None:
    """An overlay with Node-IDs of 20 bytes."""
    header = ForwardingHeader(overlay=1, configuration_sequence=1, transaction_id=1, destination_list=())
    contents = MessageContents(MessageCode.JOIN_REQ, JoinReq(NodeId(b"\x14" * 20)).encode())
    data = join(header, contents.encode() + wire_specimens.SECURITY_BLOCK.encode()).hex().encode()
    assert decode(stdin=data)[0] == 2
    status, out, _ = decode("--json", "--node-id-length", 20, stdin=data)
    assert status == 0
    assert json.loads(out)["message_contents"]["message_body"]["joining_peer_id"] == "14" * 20


def test_kinds_of_the_overlay(decode: Command) -> None:
    """Values of a private Kind are hex until their data model is told."""
    store = StoreReq(wire_specimens.RESOURCE, 0, (StoreKindData(0xF0000001, 0, (wire_specimens.DICTIONARY_VALUE,)),))
    data = wire_specimens.message(MessageCode.STORE_REQ, store).encode()
    unknown, known = (
        json.loads(decode("--json", *options, stdin=data)[1])["message_contents"]["message_body"]["kind_data"][0]
        for options in ([], ["--kind", "0xf0000001=dictionary"])
    )
    assert isinstance(unknown["values"], str)
    assert known["values"][0]["value"]["key"] == wire_specimens.C.hex()


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--kind", "7"], "--kind 7: write it like 0xf0000001=DICTIONARY (or SINGLE, ARRAY)"),
        (["--kind", "x=ARRAY"], "--kind x=ARRAY: write it like 0xf0000001=DICTIONARY (or SINGLE, ARRAY)"),
        (["--json", "--reencode"], "--json and --reencode exclude each other: ask for one of them"),
        (
            ["--node-id-length", "21"],
            "Invalid value for '--node-id-length': 21 is not in the range 16<=x<=20. Try --help.",
        ),
        (["--what"], "No such option: --what. Try --help."),
    ],
)
def test_misuse_is_one_line(decode: Command, arguments: list[str], complaint: str) -> None:
    """And status 2."""
    assert decode(*arguments) == (2, "", f"p2psip: {complaint}\n")


def test_help_teaches(decode: Command) -> None:
    """It says what files may be, and gives examples."""
    status, out, _ = decode("--help")
    assert status == 0
    for words in ("one message a line", "stream of framed messages", "p2psip decode --reencode", "--node-id-length"):
        assert words in " ".join(out.split())


def test_the_messages_of_a_topology_are_read_by_its_plug_in(decode: Command) -> None:
    status, out, err = decode("--topology", "KADEMLIA", "-", stdin=PING.hex().encode())
    assert (status, out) == (2, "")
    assert "KADEMLIA is not installed here" in err
