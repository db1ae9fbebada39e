"""What a peer writes into its log."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from p2psip.base.address import Address
from p2psip.base.effects import Note
from p2psip.base.errors import Cause
from p2psip.base.ids import NodeId
from p2psip.daemon.log.journal import Journal
from p2psip.daemon.log.log import log_to_stderr
from p2psip.media.relay.relay import RelayEnded
from p2psip.media.relay.sides import SideReport
from p2psip.sip.entities.registrar.bindings import Binding
from p2psip.sip.entities.reports import RequestCarried
from p2psip.sip.message.uri import parse_sip_uri
from p2psip.sip.transports.hops import UdpHop

Read = Callable[[], list[dict[str, object]]]


@pytest.fixture
def read(capsys: pytest.CaptureFixture[str]) -> Read:
    """What has been logged since the last look."""

    def since() -> list[dict[str, object]]:
        lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
        return [{name: value for name, value in line.items() if name != "timestamp"} for line in lines]

    return since


def new_journal() -> Journal:
    log_to_stderr("json")
    return Journal()


def binding(number: int) -> Binding:
    address = Address(f"192.168.7.{number}", 5060)
    return Binding(
        parse_sip_uri(f"sip:bob@{address}"), (UdpHop(address),), "call", 1, 0.0, 60.0, user_agent="Phone 1.0"
    )


def test_that_a_phone_registers_again_is_no_news(read: Read) -> None:
    journal = new_journal()
    one, two = binding(1), binding(2)
    journal.phones("bob", (one,))
    journal.phones("bob", (one,))
    journal.phones("bob", (one, two))
    journal.phones("bob", (two,))
    journal.phones("bob", ())
    journal.phones("bob", ())
    assert [(line["event"], line["contact"], line["phones"]) for line in read()] == [
        ("phone registered", "sip:bob@192.168.7.1:5060", 1),
        ("phone registered", "sip:bob@192.168.7.2:5060", 2),
        ("phone gone", "sip:bob@192.168.7.1:5060", 1),
        ("phone gone", "sip:bob@192.168.7.2:5060", 0),
    ]


def test_notes_of_the_core_in_plain_values(read: Read) -> None:
    journal = new_journal()
    facts = {
        "node": NodeId(bytes(range(16))),
        "causes": (Cause("peer aa", "said no", 0.0), Cause("this peer", "gave up", 0.0)),
        "count": 3,
        "address": Address("::1", 5060),
        "nothing": None,
    }
    journal.effect(Note("link up", facts))
    journal.effect(Note("commit failed", {}, is_warning=True))
    assert read() == [
        {
            "event": "link up",
            "level": "info",
            "node": "000102030405060708090a0b0c0d0e0f",
            "causes": "peer aa: said no; this peer: gave up",
            "count": 3,
            "address": "::1; 5060",
            "nothing": None,
        },
        {"event": "commit failed", "level": "warning"},
    ]


def test_a_request_that_was_carried(read: Read) -> None:
    journal = new_journal()
    report = RequestCarried("INVITE", "id", "alice", "sip:bob@x", 200, "OK", "peer ab", 0.1234, 1.5, ())
    journal.effect(report)
    (line,) = read()
    assert line == {
        "event": "request carried", "level": "info", "method": "INVITE", "from": "alice", "to": "sip:bob@x",
        "answered_by": "peer ab", "status": 200, "ms": 1500.0, "rang_after_ms": 123.4,
    }  # fmt: skip
    failed = RequestCarried(
        "INVITE", "id", "alice", "sip:bob@x", 480, "x", "this peer", None, 1.0, (Cause("peer ab", "no answer", 0.0),)
    )
    journal.effect(failed)
    (line,) = read()
    assert line["causes"] == "peer ab: no answer"
    assert "rang_after_ms" not in line


def test_the_end_of_a_call_says_what_came_and_through_what(read: Read) -> None:
    journal = new_journal()
    ours = SideReport("alice", "audio", 150, 25800, 2, 1.25, 0)
    journal.effect(RelayEnded("call", "hung up", (ours,)))
    theirs = SideReport("alice", "audio", 150, 25800, None, None, 1)
    journal.effect(RelayEnded("call", "hung up", (theirs,), "rtpengine at 127.0.0.1:2223"))
    journal.effect(RelayEnded("call", "hung up", (ours,), lacks="no path for audio between these sites: no relay"))
    first, second, third = read()
    assert third["why_none"] == "no path for audio between these sites: no relay"
    assert "why_none" not in first
    assert first["media"] == "audio of alice: 150 packets, 2 lost, jitter 1.2 ms, 0 dropped"
    assert "by" not in first
    assert second["media"] == "audio of alice: 150 packets, 1 dropped"
    assert second["by"] == "rtpengine at 127.0.0.1:2223"
