"""A telephone provider made elsewhere behind a peer: Kamailio as the far end of a trunk (docs/decisions/gateways.md).

The reference model's "peer coupled to a PSTN or PBX gateway" (section 3 of the concepts draft).
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from baresip import Baresip, needs_baresip
from kamailio import ACCOUNT, DID, DOMAIN, HOST, PASSWORD, Kamailio, needs_kamailio
from live_overlay import OVERLAY, LiveOverlay, LivePeer, eventually, phone_password
from our_phone import OurPhone

from p2psip.daemon.control_client import ask_peer
from p2psip.reload.config.configuration import REDIR_KIND, ServicePermission

pytestmark = [pytest.mark.slow, needs_kamailio]

TALK_S = 1.5
OUTSIDE = "0012345"
SERVICES = (ServicePermission("gateway", (f"peer-*@{OVERLAY}",)),)

TRUNK = """\
[[trunk]]
name = "{name}"
server = "{server}"
domain = "{domain}"
user = "{account}"
password_file = "{name}.password"
transport = "{transport}"
prefixes = ["00"]
emergency = ["112"]
lines = ["alice"]
preference = {preference}
keep_alive_s = 300

[trunk.numbers]
"{did}" = "alice"
"""


def with_trunk(peer: LivePeer, name: str, server: Kamailio, *, preference: int = 50, transport: str = "UDP") -> None:
    """Set a trunk up at a peer, and start it anew."""
    password = peer.directory / f"{name}.password"
    password.write_text(f"{PASSWORD}\n")
    password.chmod(0o600)
    (peer.directory / "trunks.toml").write_text(
        TRUNK.format(
            name=name,
            server=server.server,
            domain=DOMAIN,
            account=ACCOUNT,
            did=DID,
            preference=preference,
            transport=transport,
        )
    )
    peer.stop()
    peer.run()
    peer.wait_joined()
    peer.daemon.wait_log("trunk up", trunk=name)


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Kamailio, Kamailio]]:
    directory = tmp_path_factory.mktemp("kamailio")
    with Kamailio(directory) as first, Kamailio(directory, tcp=True) as second:
        yield first, second


@pytest.fixture(scope="module")
def overlay(tmp_path_factory: pytest.TempPathFactory, servers: tuple[Kamailio, Kamailio]) -> Iterator[LiveOverlay]:
    """alice at one peer; the trunk of the first server at another, that of the second, over TCP, at a third."""
    directory = tmp_path_factory.mktemp("gateway")
    users = ("alice", "bob")
    with LiveOverlay(directory, peers=3, users=users, kinds=(REDIR_KIND,), services=SERVICES) as live:
        site, first, second = live.peers
        live.add_lines([(site, "alice"), (site, "bob")])
        with_trunk(first, "main", servers[0], preference=90)
        with_trunk(second, "spare", servers[1], transport="TCP")
        live.wait_whole()
        eventually("both announce", lambda: len(_providers(site)) == 2)
        yield live


def _providers(peer: LivePeer) -> list[str]:
    found = ask_peer(peer.directory, "services-find", name="gateway", want=10)
    assert isinstance(found, dict)
    return [provider["user"] for provider in found["providers"]]


def phone(peer: LivePeer, user: str, **options: object) -> OurPhone:
    return OurPhone(user, server=peer.server, password=phone_password(user), **options)  # type: ignore[arg-type]


def outside(server: Kamailio, number: str = OUTSIDE, **options: object) -> OurPhone:
    """A phone behind the provider."""
    return OurPhone(number, server=server.server, password=PASSWORD, **options)  # type: ignore[arg-type]


def hears(who: OurPhone, frequency_hz: float) -> None:
    heard = who.wait("heard")
    assert heard["duration_ms"] > TALK_S * 1000 / 2
    assert heard["frequency_hz"] == pytest.approx(frequency_hz, abs=5)


def test_out_through_the_preferred_gateway_with_voice_both_ways(
    overlay: LiveOverlay, servers: tuple[Kamailio, Kamailio]
) -> None:
    site, first, _ = overlay.peers
    with (
        outside(servers[0], plays=550, answer_ms=300) as callee,
        phone(site, "alice", plays=440) as alice,
    ):
        callee.wait("registered"), alice.wait("registered")
        alice.command(f"call sip:{OUTSIDE}@{HOST}")
        alice.wait("ringing")
        alice.wait("answered")
        ringing = callee.wait("incoming")
        assert ACCOUNT in str(ringing)
        eventually("one call", lambda: _trunk(first)["calls"] == 1)
        time.sleep(TALK_S)
        alice.command("hangup")
        hears(alice, 550)
        hears(callee, 440)
    eventually("no call", lambda: _trunk(first)["calls"] == 0)
    # The provider has heard nobody but the gateway's peer.
    carried = first.daemon.wait_log("media carried")
    assert "the trunk" in carried["media"]
    assert first.daemon.wait_log("trunk call over")["answered"]


def test_in_by_one_of_our_numbers_and_ended_by_the_other_side(
    overlay: LiveOverlay, servers: tuple[Kamailio, Kamailio]
) -> None:
    site = overlay.peers[0]
    with (
        outside(servers[0], plays=550) as caller,
        phone(site, "alice", plays=440, answer_ms=300) as alice,
    ):
        caller.wait("registered"), alice.wait("registered")
        caller.command(f"call sip:{DID}@{HOST}")
        caller.wait("answered")
        # No certificate is of a number outside: at another peer the caller is not proved, and shown as that.
        assert "sip:not-verified@" in str(alice.wait("incoming"))
        time.sleep(TALK_S)
        caller.command("hangup")
        hears(alice, 550)
        hears(caller, 440)
        assert alice.wait("ended")["by"] == "them"


@needs_baresip
def test_baresip_hands_a_telephone_on_to_a_third_phone(
    tmp_path: Path, overlay: LiveOverlay, servers: tuple[Kamailio, Kamailio]
) -> None:
    """RFC 5359 2.4, by the gateway: the provider is asked to go on with another phone, which both hear."""
    site, first, _ = overlay.peers
    with (
        outside(servers[0], plays=550, answer_ms=300) as callee,
        phone(site, "bob", plays=440, answer_ms=300) as bob,
        Baresip(tmp_path, "alice", server=site.server, password=phone_password("alice")) as alice,
    ):
        callee.wait("registered"), bob.wait("registered"), alice.wait_registered()
        alice.dial(f"sip:{OUTSIDE}@{site.server}")
        alice.wait("CALL_ESTABLISHED")
        assert alice.command("transfer", f"sip:bob@{site.server}")["ok"]
        bob.wait("answered")
        alice.wait("CALL_CLOSED")
        eventually("one call", lambda: _trunk(first)["calls"] == 1)
        time.sleep(TALK_S)
        bob.command("hangup")
        hears(bob, 550)
        # First alice's tone, then bob's.
        callee.wait("ended")
    assert first.daemon.wait_log("trunk call over", transfers=1)["answered"]


def test_a_number_of_ours_that_is_nobodys_is_refused(overlay: LiveOverlay, servers: tuple[Kamailio, Kamailio]) -> None:
    with outside(servers[0]) as caller:
        caller.wait("registered")
        caller.command(f"call sip:{ACCOUNT}@{HOST}")
        assert "404" in str(caller.wait("ended"))


def test_who_may_not_is_told(overlay: LiveOverlay) -> None:
    with phone(overlay.peers[0], "bob") as bob:
        bob.wait("registered")
        bob.command(f"call sip:{OUTSIDE}@{HOST}")
        assert "is not for bob" in str(bob.wait("ended"))


def test_a_number_that_the_provider_does_not_know_is_not_tried_elsewhere(overlay: LiveOverlay) -> None:
    site, _, second = overlay.peers
    before = _trunk(second)["served"]
    with phone(site, "alice") as alice:
        alice.wait("registered")
        alice.command(f"call sip:0099@{HOST}")
        assert "404" in str(alice.wait("ended"))
    assert _trunk(second)["served"] == before


def test_what_would_become_of_a_call(overlay: LiveOverlay) -> None:
    site, first, _ = overlay.peers
    explained = overlay.command_json("dial", "--explain", OUTSIDE, "--as", "alice", "--peer", site.directory)
    places = explained["places"]
    assert places[0].startswith("nobody in the overlay is")
    assert places[1].startswith(f"gateway peer-{first.name}: 2 digits of it, preference 90")
    assert places[2].startswith("else gateway peer-peer2")
    assert not explained["refused"]
    listed = overlay.command("trunk", "list", "--peer", first.directory)
    assert listed.split()[:2] == ["main", "registered"]
    assert "registered for" in overlay.command("trunk", "status", "main", "--peer", first.directory)


def test_zz_the_first_gateways_provider_dies_and_the_second_takes_the_call(
    overlay: LiveOverlay, servers: tuple[Kamailio, Kamailio]
) -> None:
    """The last one, as the first server does not come back."""
    site, first, second = overlay.peers
    with (
        outside(servers[1], plays=550, answer_ms=300) as callee,
        phone(site, "alice", plays=440) as alice,
    ):
        callee.wait("registered"), alice.wait("registered")
        servers[0].kill()
        began = time.monotonic()
        alice.command(f"call sip:{OUTSIDE}@{HOST}")
        alice.wait("answered")
        assert time.monotonic() - began < 20
        eventually("one call", lambda: _trunk(second)["calls"] == 1)
        time.sleep(TALK_S)
        alice.command("hangup")
        hears(alice, 550)
        hears(callee, 440)
    # It says itself that it is gone, and is not asked again.
    first.daemon.wait_log("trunk down", trunk="main")
    eventually("only the second announces", lambda: _providers(site) == [f"peer-{second.name}@{OVERLAY}"])
    assert "not answered" in overlay.command("trunk", "status", "main", "--peer", first.directory, status=1)


def _trunk(peer: LivePeer) -> dict[str, int]:
    trunks = ask_peer(peer.directory, "trunks")
    assert isinstance(trunks, list)
    return trunks[0]  # type: ignore[no-any-return]
