"""An rtpengine for virtual time: it answers commands as Debian's 10.5 does, with one port for each phone and stream."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from p2psip.base.address import Address
from p2psip.base.effects import Effect
from p2psip.media.relay.rtpengine.bencode import Sent, Value, decode, encode
from p2psip.media.relay.rtpengine.engine_control import SendToEngine
from p2psip.media.sdp import Attribute, MediaDescription, Origin, SessionDescription

AT = Address("192.0.2.77", 2223)
FIRST_PORT = 40_000


class FakeRtpengine:
    """Its calls by ID; `heard` are the commands that it was given, repetitions left out."""

    def __init__(self) -> None:
        self.is_silent = False
        self.refusals: dict[str, str] = {}
        """What it says instead of doing a command."""
        self.heard: list[dict[str, Value]] = []
        self.calls: dict[str, dict[str, list[int]]] = {}
        """By ID and tag: the ports to which the phone of that tag is to send."""
        self.told: dict[tuple[str, str], SessionDescription] = {}
        """By ID and tag: what it knows of that phone."""
        self.packets: dict[str, int] = {}
        """By tag, of every stream."""
        self._answers: dict[bytes, bytes] = {}
        self._ports = itertools.count(FIRST_PORT, 2)

    def commands(self) -> list[str]:
        """What it was told to do, pings left out."""
        return [str(each["command"]) for each in self.heard if each["command"] != "ping"]

    def answers(self, effects: Sequence[Effect]) -> list[bytes]:
        """What comes back of these."""
        sent = [effect.data for effect in effects if isinstance(effect, SendToEngine)]
        return [answer for each in sent if (answer := self.answer(each)) is not None]

    def answer(self, datagram: bytes) -> bytes | None:
        """What it says to a datagram; None while it is silent."""
        if self.is_silent:
            return None
        cookie, _, body = datagram.partition(b" ")
        if cookie not in self._answers:
            fields = decode(body)
            assert isinstance(fields, dict), fields
            self.heard.append(fields)
            self._answers[cookie] = cookie + b" " + encode(self._done(fields))
        return self._answers[cookie]

    def restart(self) -> None:
        """All that it knew is gone."""
        self.calls.clear()
        self._answers.clear()

    def _done(self, fields: dict[str, Value]) -> dict[str, Sent]:
        command, call_id = str(fields["command"]), str(fields.get("call-id"))
        if command in self.refusals:
            return {"result": "error", "error-reason": self.refusals[command]}
        match command:
            case "ping":
                return {"result": "pong"}
            case "offer" | "answer":
                call = self.calls.setdefault(call_id, {})
                speaker, other = ("caller", "callee") if command == "offer" else ("callee", "caller")
                assert fields["from-tag"] == "caller"
                assert command == "offer" or fields["to-tag"] == "callee"
                said = SessionDescription.decode(str(fields["sdp"]).encode())
                self.told[call_id, speaker] = said
                ports = call.setdefault(other, [next(self._ports) for _ in said.media])
                host = "192.0.2.77" if fields["address family"] == "IP4" else "2001:db8::77"
                return {"sdp": _description(host, said, ports), "result": "ok"}
            case "query" if call_id in self.calls:
                return {
                    "tags": {tag: self._figures(tag, ports) for tag, ports in self.calls[call_id].items()},
                    "result": "ok",
                }
            case "delete":
                return {"result": "ok"} if self.calls.pop(call_id, None) else {"warning": "not found", "result": "ok"}
        return {"result": "error", "error-reason": "Unknown call-id"}

    def _figures(self, tag: str, ports: list[int]) -> Sent:
        packets = self.packets.get(tag, 0)
        stats: Sent = {"packets": packets, "bytes": 172 * packets, "errors": 0}
        return {"tag": tag, "medias": [{"streams": [{"local port": port, "stats": stats}]} for port in ports]}


def _description(host: str, said: SessionDescription, ports: list[int]) -> str:
    media = tuple(
        MediaDescription(each.kind, port, each.protocol, each.formats, None, (Attribute("sendrecv"),))
        for each, port in zip(said.media, ports, strict=True)
    )
    return SessionDescription(Origin(1, 1, host), media, host).encode().decode()
