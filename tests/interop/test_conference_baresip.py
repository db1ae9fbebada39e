"""Phones that nobody here wrote meet in a room and hear each other, also when its mixer was killed or stopped."""

from __future__ import annotations

import json
import math
import socket
import time
import wave
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from baresip import Baresip, needs_baresip
from free_ports import free_port
from live_overlay import OVERLAY, LiveOverlay, LivePeer, eventually, phone_password

from p2psip.daemon.state.rooms_file import ROOMS_FILE
from p2psip.media.g711 import PCMU, SAMPLE_RATE_HZ
from p2psip.media.rtp import RtpPacket
from p2psip.reload.config.configuration import REDIR_KIND, ServicePermission

pytestmark = [pytest.mark.slow(60), needs_baresip]

TONES = {"alice": 500, "bob": 700, "carol": 900}
SERVICES = (ServicePermission("conference", (f"peer-*@{OVERLAY}",)),)
ROOM = "3001"
GROUP = "239.255.70.1"
MULTICAST_PORT = 2 * ((free_port(together=2) + 1) // 2)
MIXES = 'rooms = ["30XX"]\nparticipants = 10\n'
PAGE = f'[[page]]\nname = "all"\nnumber = "700"\nmembers = ["bob", "carol"]\nmulticast = ["{GROUP}:{MULTICAST_PORT}"]\n'
BACK_S = 5.0
"""The room is to be there again so soon after its mixer was killed; a machine that is busy may take longer."""

BUSY_S = 25.0
TALK_S = 3.0


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveOverlay]:
    """alice at one peer, bob and carol at another; the other two mix."""
    directory = tmp_path_factory.mktemp("conference")
    with LiveOverlay(directory, peers=4, users=tuple(TONES), kinds=(REDIR_KIND,), services=SERVICES) as live:
        here, there, *mixers = live.peers
        live.add_lines([(here, "alice"), (there, "bob"), (there, "carol")])
        for peer, text in ((here, PAGE), *((mixer, MIXES) for mixer in mixers)):
            peer.stop()
            (peer.directory / ROOMS_FILE).write_text(text)
            peer.run()
            peer.wait_joined()
        live.command("line", "calls", "bob", "--intercom", "alice", "--peer", there.directory)
        for mixer in mixers:
            eventually(f"{mixer.name} is found", lambda mixer=mixer: _is_found(live, mixer))  # type: ignore[misc]
        yield live


def _is_found(live: LiveOverlay, mixer: LivePeer) -> bool:
    status, said, _ = live.run("services", "list", "conference", "--peer", live.peers[0].directory)
    return status == 0 and mixer.node_id in said


def rooms(live: LiveOverlay, peer: LivePeer) -> list[Any]:
    """What `p2psip rooms` shows."""
    _, said, _ = live.run("rooms", "--peer", peer.directory, "--json")
    found: list[Any] = json.loads(said)
    return found


def everybody_is_in(live: LiveOverlay, peer: LivePeer, at: str = "") -> bool:
    found = rooms(live, peer)
    return [sorted(room["people"]) for room in found] == [sorted(TONES)] and at in ("", found[0]["mixed_at"])


def heard(phone: Baresip, begin_s: float, end_s: float) -> dict[str, bool]:
    """Whose tone is in a part of the only recording of a phone's call; counted from its end where below zero."""
    (recording,) = phone._all_recordings()
    with wave.open(str(recording)) as file:
        samples = array("h", file.readframes(file.getnframes()))
    part = samples[round(begin_s * SAMPLE_RATE_HZ) : round(end_s * SAMPLE_RATE_HZ) or None]
    return {user: loudness(part, hz) > 0.01 for user, hz in TONES.items()}


def loudness(samples: array[int], hz: float) -> float:
    """The amplitude of a tone, 1.0 being the loudest: the mean of blocks, as phones cut and stretch what they hear."""
    blocks = [samples[at : at + 400] for at in range(0, len(samples) - 400, 400)]
    found = []
    for block in blocks:
        w = 2 * math.cos(2 * math.pi * hz / SAMPLE_RATE_HZ)
        newer = older = 0.0
        for x in block:
            newer, older = x / 32768 + w * newer - older, newer
        found.append(math.sqrt(max(0.0, newer * newer + older * older - w * newer * older)) * 2 / len(block))
    return sum(found) / max(1, len(found))


def test_a_page_is_heard_by_whom_it_may_and_on_the_lan(tmp_path: Path, overlay: LiveOverlay) -> None:
    """bob lets alice speak, at another peer; carol does not. Whoever has joined the group hears it without any call."""
    here, there, *_ = overlay.peers
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as loudspeaker,
        Baresip(tmp_path, "alice", server=here.server, password=phone_password("alice"), plays=TONES["alice"]) as alice,
        Baresip(tmp_path, "bob", server=there.server, password=phone_password("bob"), plays=TONES["bob"]) as bob,
        Baresip(tmp_path, "carol", server=there.server, password=phone_password("carol")) as carol,
    ):
        loudspeaker.bind((GROUP, MULTICAST_PORT))
        member = socket.inet_aton(GROUP) + socket.inet_aton("127.0.0.1")
        loudspeaker.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, member)
        loudspeaker.settimeout(30.0)
        for phone in (alice, bob, carol):
            phone.wait_registered()
        alice.dial(f"sip:700@{here.server}")
        alice.wait("CALL_ESTABLISHED")
        bob.wait("CALL_ESTABLISHED")
        bob.wait_heard(TALK_S)
        samples: array[int] = array("h")
        while len(samples) < 2 * SAMPLE_RATE_HZ:
            samples.extend(PCMU.decode(RtpPacket.decode(loudspeaker.recv(2048)).payload))
        alice.hang_up()
        bob.wait("CALL_CLOSED"), alice.wait("CALL_CLOSED")
        assert loudness(samples[-SAMPLE_RATE_HZ:], TONES["alice"]) > 0.01
        assert heard(bob, 1.0, -0.5) == {"alice": True, "bob": False, "carol": False}
        assert heard(alice, 1.0, -0.5) == {"alice": False, "bob": False, "carol": False}, "who is paged is not heard"
        assert not [event for event in carol.events if event.get("type") == "CALL_INCOMING"]


def test_three_phones_hear_each_other_also_after_their_mixer_was_killed_and_the_next_stopped(
    tmp_path: Path, overlay: LiveOverlay, record_property: Any
) -> None:
    here, there, *mixers = overlay.peers
    places = {"alice": here, "bob": there, "carol": there}
    made = [
        Baresip(tmp_path, u, server=p.server, password=phone_password(u), plays=TONES[u]) for u, p in places.items()
    ]
    with made[0] as alice, made[1] as bob, made[2] as carol:
        for phone in (alice, bob, carol):
            phone.wait_registered()
        for phone in (alice, bob, carol):
            phone.dial(f"sip:{ROOM}@{places[phone.user].server}")
            phone.wait("CALL_ESTABLISHED")
        eventually("all are in the room", lambda: everybody_is_in(overlay, here))
        eventually("the other peer knows it too", lambda: everybody_is_in(overlay, there))
        assert "room 3001" in overlay.command("status", "--peer", here.directory)
        explained = overlay.command("dial", "--explain", ROOM, "--peer", here.directory)
        assert f"room {ROOM}, which " in explained
        time.sleep(TALK_S)
        (room,) = rooms(overlay, here)
        dead = next(mixer for mixer in mixers if mixer.node_id == room["mixed_at"])
        other = next(mixer for mixer in mixers if mixer is not dead)
        before_s = max(path.stat().st_size for path in alice._all_recordings()) / 2 / SAMPLE_RATE_HZ
        dead.kill()
        killed_at = time.monotonic()
        eventually("the room is at the other", lambda: everybody_is_in(overlay, here, other.node_id), BUSY_S)
        record_property("back_after_s", round(time.monotonic() - killed_at, 1))
        dead.run()
        dead.wait_joined()
        eventually("it is found again", lambda: _is_found(overlay, dead))
        # Who is told to stop tells all who are in.
        other.stop()
        eventually("the room is back", lambda: everybody_is_in(overlay, here, dead.node_id), BUSY_S)
        time.sleep(TALK_S + 1.0)
        for phone in (alice, bob, carol):
            assert not any(event.get("type") == "CALL_CLOSED" for event in phone.events), "its call goes on"
            phone.hang_up()
        for phone in (alice, bob, carol):
            phone.wait("CALL_CLOSED")
        for phone in (alice, bob, carol):
            others = {user: user != phone.user for user in TONES}
            assert heard(phone, before_s - TALK_S + 1.0, before_s - 0.5) == others, (phone.user, "before")
            assert heard(phone, -TALK_S + 0.5, 0.0) == others, (phone.user, "after")
    other.run()
    other.wait_joined()
