"""Phones of three makes through one SIP server on loopback: what each sets is server, user and password, no more."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from baresip import Baresip, needs_baresip
from loopback_server import ECHO, REALM, LoopbackServer
from our_phone import OurPhone
from sipp import Account, answering, calling, needs_sipp, registering

pytestmark = pytest.mark.slow

PASSWORDS = {"alice": "sesame", "bob": "open"}
TALK_S = 1.0

udp_and_tcp = pytest.mark.parametrize("transport", ["udp", "tcp"])


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer(PASSWORDS) as running:
        yield running


def our_phone(server: LoopbackServer, user: str, **options: object) -> OurPhone:
    return OurPhone(user, server=server.address, password=PASSWORDS[user], **options)  # type: ignore[arg-type]


def baresip(directory: Path, server: LoopbackServer, user: str, **options: object) -> Baresip:
    return Baresip(directory, user, server=server.address, password=PASSWORDS[user], **options)  # type: ignore[arg-type]


def hears(phone: OurPhone, frequency_hz: float) -> bool:
    heard = phone.wait("heard")
    assert heard["duration_ms"] > TALK_S * 1000 / 2
    return heard["frequency_hz"] == pytest.approx(frequency_hz, abs=5)


@udp_and_tcp
def test_two_of_ours(server: LoopbackServer, transport: str) -> None:
    with (
        our_phone(server, "bob", plays=550, answer_ms=100, transport=transport) as bob,
        our_phone(server, "alice", plays=440, transport=transport) as alice,
    ):
        bob.wait("registered"), alice.wait("registered")
        alice.command(f"call sip:bob@{REALM}")
        alice.wait("ringing")
        alice.wait("answered")
        time.sleep(TALK_S)
        alice.command("hangup")
        assert hears(alice, 550)
        assert hears(bob, 440)
        assert bob.wait("ended")["by"] == "them"


@needs_baresip
@udp_and_tcp
def test_baresip_with_two_flows_is_one_phone(server: LoopbackServer, tmp_path: Path, transport: str) -> None:
    """RFC 5626: both flows are kept, told apart by reg-id, and a call rings once."""
    way = f"sip:{server.address};transport={transport}"
    account = f';sipnat=outbound;outbound="{way}";outbound2="{way}"'
    with (
        baresip(tmp_path, server, "bob", plays=550, transport=transport, account=account) as bob,
        our_phone(server, "alice", plays=440, transport=transport) as alice,
    ):
        bob.wait_registered(), alice.wait("registered")
        deadline = time.monotonic() + 10
        while len(server.bindings("bob")) < 2:
            assert time.monotonic() < deadline, bob.log
            time.sleep(0.05)
        flows = server.bindings("bob")
        assert sorted(flow.reg_id for flow in flows) == [1, 2]
        assert len({flow.instance for flow in flows}) == 1
        assert flows[0].instance.startswith("<urn:uuid:")
        alice.command(f"call sip:bob@{REALM}")
        alice.wait("answered")
        time.sleep(TALK_S)
        alice.command("hangup")
        assert hears(alice, 550)
        bob.wait("CALL_ESTABLISHED"), bob.wait("CALL_CLOSED")
        assert bob.log.count("INVITE sip:") == 1, "it rang once"


@needs_baresip
def test_baresip_started_anew_again_and_again(server: LoopbackServer, tmp_path: Path) -> None:
    """Each time it calls itself otherwise, and says that it is the same: it rings once, and its word is the last."""
    bob = baresip(tmp_path, server, "bob", answers=False)
    for _ in range(3):
        with bob:
            bob.wait_registered()
            bob.kill()
    with bob, our_phone(server, "alice", plays=440) as alice:
        bob.wait_registered(), alice.wait("registered")
        assert len(server.bindings("bob")) > 1
        alice.command(f"call sip:bob@{REALM}")
        alice.wait("ringing")
        time.sleep(2 * TALK_S)
        bob.hang_up()
        assert alice.wait("ended")["status"] == 486
        assert bob.log.count("INVITE sip:") == 1


@udp_and_tcp
def test_one_phone_alone_hears_its_echo(server: LoopbackServer, transport: str) -> None:
    with our_phone(server, "alice", plays=440, transport=transport) as alice:
        alice.wait("registered")
        alice.command(f"call {ECHO}")
        alice.wait("answered")
        time.sleep(TALK_S)
        alice.command("hangup")
        assert hears(alice, 440)


def test_hold_through_the_server(server: LoopbackServer) -> None:
    with our_phone(server, "bob", answer_ms=0) as bob, our_phone(server, "alice") as alice:
        bob.wait("registered"), alice.wait("registered")
        alice.command("call bob")
        alice.wait("answered")
        alice.command("hold 1")
        assert alice.wait("media_changed")["direction"] == "sendonly"
        assert bob.wait("media_changed")["direction"] == "recvonly"
        bob.command("hangup")
        assert alice.wait("ended")["by"] == "them"


def test_why_a_call_or_a_registration_fails_is_told(server: LoopbackServer) -> None:
    with OurPhone("alice", server=server.address, password="wrong") as alice:
        assert alice.wait("registration_failed")["status"] in (401, 403)
    with OurPhone("carol", server=server.address, password="x") as carol:
        assert "carol has no line on this peer" in carol.wait("registration_failed")["reason"]
    with our_phone(server, "alice") as alice:
        alice.wait("registered")
        alice.command("call bob")
        ended = alice.wait("ended")
        assert (ended["status"], "bob has no phone here" in ended["reason"]) == (480, True)


def test_who_unregisters_is_not_found_any_more(server: LoopbackServer) -> None:
    with our_phone(server, "bob", answer_ms=0) as bob, our_phone(server, "alice") as alice:
        bob.wait("registered"), alice.wait("registered")
        bob.command("unregister")
        bob.wait("unregistered")
        alice.command("call bob")
        assert alice.wait("ended")["status"] == 480


@needs_baresip
@udp_and_tcp
def test_baresip_calls_baresip(tmp_path: Path, server: LoopbackServer, transport: str) -> None:
    with (
        baresip(tmp_path, server, "bob", plays=700, transport=transport) as bob,
        baresip(tmp_path, server, "alice", plays=500, answers=False, transport=transport) as alice,
    ):
        bob.wait_registered(), alice.wait_registered()
        alice.dial(f"sip:bob@{server.address}")
        alice.wait("CALL_ESTABLISHED")
        alice.wait_heard(TALK_S), bob.wait_heard(TALK_S)
        alice.hang_up()
        bob.wait("CALL_CLOSED")
        for phone, frequency_hz in ((alice, 700), (bob, 500)):
            tone = phone.heard()
            assert tone
            assert tone.frequency_hz == pytest.approx(frequency_hz, abs=5)


@needs_baresip
def test_baresip_hears_the_echo(tmp_path: Path, server: LoopbackServer) -> None:
    with baresip(tmp_path, server, "alice", plays=500, answers=False) as alice:
        alice.wait_registered()
        alice.dial(f"sip:{ECHO}@{server.address}")
        alice.wait("CALL_ESTABLISHED")
        alice.wait_heard(TALK_S)
        alice.hang_up()
        alice.wait("CALL_CLOSED")
        tone = alice.heard()
        assert tone
        assert tone.frequency_hz == pytest.approx(500, abs=5)


@needs_sipp
@udp_and_tcp
def test_sipp_registers_and_calls(tmp_path: Path, server: LoopbackServer, transport: str) -> None:
    with answering(tmp_path, "bob", calls=10, transport=transport) as bob:
        registering(tmp_path, Account(server.address, "bob", "open"), bob.address, transport=transport).run()
        account = Account(server.address, "alice", "sesame")
        caller = calling(
            tmp_path, account, f"sip:bob@{server.address}", calls=10, rate=5, talk_ms=200, transport=transport
        )
        assert len(caller.run().setup_ms()) == 10
        bob.wait()
