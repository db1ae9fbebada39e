"""Who is heard in an engine, and who is not while the other one sends."""

import math

from p2psip.media.relay.description import read
from p2psip.media.relay.engine_stream import EngineSide, EngineStream
from p2psip.media.relay.limits import RelayLimits
from p2psip.media.relay.relayed_stream import SideHeard, SideSilent
from p2psip.media.relay.rtpengine.figures import Counted

LIMITS = RelayLimits()


def stream(direction: str = "sendrecv") -> EngineStream:
    """One that has just been answered."""
    made = EngineStream(
        "call", (EngineSide("alice", ("192.0.2.77", 4000)), EngineSide("bob", ("192.0.2.77", 4002))), LIMITS
    )
    text = f"v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\nc=IN IP4 192.0.2.1\r\nm=audio 4 RTP/AVP 0\r\na={direction}\r\n"
    (described,) = read(text.encode())
    for which in (0, 1):
        made.describe(which, described, 0.0)
    made.expect(0.0)
    return made


def test_both_are_heard_and_counted() -> None:
    made = stream()
    assert made.take((Counted(150, 25800, 1), Counted(149, 25628)), 3.0) == []
    assert made.heard_at == 3.0
    alice, bob = (side.report(made.kind) for side in made.sides)
    assert str(alice) == "audio of alice: 150 packets, 1 dropped"
    assert (bob.packets, bob.octets, bob.lost, bob.jitter_ms) == (149, 25628, None, None)


def test_one_who_is_not_heard_is_told_once_and_so_is_that_he_is() -> None:
    made = stream()
    (silent,) = made.take((Counted(150), Counted()), 3.0)
    assert isinstance(silent, SideSilent)
    assert silent.words == (
        "no audio from bob: nothing has come to UDP port 4002 of the media engine at 192.0.2.77 yet, while alice "
        "sends; it does not send, sends elsewhere, or a firewall between it and the media engine at 192.0.2.77 lets "
        "UDP not through"
    )
    assert made.take((Counted(300), Counted()), 6.0) == []
    assert made.take((Counted(450), Counted(10)), 9.0) == [SideHeard("call", "bob")]
    (again,) = made.take((Counted(600), Counted(10)), 12.0)
    assert isinstance(again, SideSilent)
    assert "has stopped to send" in again.words


def test_nobody_is_silent_where_both_are_or_nothing_is_to_come() -> None:
    made = stream()
    assert made.take((Counted(), Counted()), 3.0) == []
    assert made.heard_at == -math.inf
    assert stream("sendonly").take((Counted(150), Counted()), 3.0) == []
