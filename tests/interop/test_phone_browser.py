"""Phones in web browsers (JsSIP in Chromium, RFC 7118): two tabs at two peers call each other, with sound."""

from __future__ import annotations

import base64
import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from browser import Browser, Tab, needs_browser
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from live_overlay import LiveOverlay, LivePeer, eventually, phone_password
from our_phone import OurPhone
from phone_certificates import PhoneAuthority

pytestmark = [pytest.mark.slow, needs_browser]

HERE = "127.0.0.1"


@dataclass(frozen=True)
class Sites:
    """Two, with phones over WebSocket: alice's peer has secure WebSocket, bob's that in clear."""

    hill: LivePeer
    valley: LivePeer
    browser: Browser


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    directory = tmp_path_factory.mktemp("browser")
    issued = PhoneAuthority().issue(HERE)
    chain, key = directory / "phones.pem", directory / "phones.key"
    chain.write_bytes(issued.certificate_pem)
    key.write_bytes(issued.key_pem)
    with LiveOverlay(directory, peers=2, users=("alice", "bob", "carol")) as overlay:
        hill, valley = overlay.peers
        overlay.add_lines([(hill, "alice"), (valley, "bob"), (valley, "carol"), (hill, "carol")])
        for peer, flags in (
            (hill, ("--phone-wss", "--phone-certificate", str(chain), "--phone-key", str(key))),
            (valley, ("--phone-ws", "--media", "anchor")),
        ):
            peer.stop()
            peer.run(*flags)
        overlay.wait_whole()
        with Browser(f"--ignore-certificate-errors-spki-list={_spki(issued.der)}") as browser:
            yield Sites(hill, valley, browser)


def _spki(der: bytes) -> str:
    """By what Chromium knows the one certificate whose issuer it need not know."""
    key = x509.load_der_x509_certificate(der).public_key()
    info = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(info).digest()).decode()


def registered(sites: Sites, user: str, peer: LivePeer, url: str | list[str]) -> Tab:
    """A new tab, with the phone of a user."""
    tab = sites.browser.open()
    tab.do("register", {"url": url, "uri": f"sip:{user}@{HERE}", "password": phone_password(user)})
    tab.wait("registered")
    peer.wait_phones(user, 1)
    return tab


def hears(tab: Tab) -> None:
    """Until sound has come, and not only silence."""
    eventually("a second of sound has come", lambda: _has_heard(tab.do("media")))


def _has_heard(media: dict[str, object]) -> bool:
    packets, energy = media["packets"], media["energy"]
    assert isinstance(packets, int)
    assert isinstance(energy, int | float)
    return packets > 50 and energy > 0.0 and media["dtls"] == "connected"


def test_two_tabs_at_two_peers_hold_a_call(sites: Sites, tmp_path: Path) -> None:
    """What they say of their media goes through as it is, also where a peer is to carry all (`media = "anchor"`)."""
    alice = registered(sites, "alice", sites.hill, sites.hill.wss_url)
    bob = registered(sites, "bob", sites.valley, sites.valley.ws_url)
    alice.do("message", f"sip:bob@{HERE}", "are you there?")
    assert bob.wait("message")["text"] == "are you there?"
    alice.wait("delivered")

    alice.do("call", f"sip:bob@{HERE}")
    came_from = bob.wait("incoming")["from"]
    for tab in (alice, bob):
        tab.wait("confirmed")
    for tab in (alice, bob):
        hears(tab)
    alice.do("hold")
    assert bob.wait("held")["by"] == "remote"
    alice.do("unhold")
    assert bob.wait("resumed")["by"] == "remote"
    alice.do("dtmf", "5")
    assert bob.wait("dtmf")["tone"] == "5"
    alice.screenshot(tmp_path / "alice.png")
    bob.screenshot(tmp_path / "bob.png")
    alice.do("hangUp")
    bob.wait("ended")
    alice.wait("ended")

    # Bob calls back whom he sees in his list; this time the one who was called hangs up.
    bob.do("call", came_from)
    alice.wait("incoming")
    for tab in (alice, bob):
        tab.wait("confirmed", 2)
    hears(bob)
    alice.do("hangUp")
    bob.wait("ended", 2)
    for tab in (alice, bob):
        assert tab.told("failed") == []
        assert tab.told("disconnected") == []
    note = sites.valley.daemon.wait_log("media not carried")
    assert "web browser" in note["why"]
    # Whoever closes a tab is away at once.
    bob.evaluate("window.close()")
    sites.valley.wait_phones("bob", 0)
    alice.evaluate("window.close()")
    sites.hill.wait_phones("alice", 0)


def test_one_tab_hands_another_on_to_a_third(sites: Sites) -> None:
    """Blind transfer (RFC 5359 2.4), between peers."""
    alice = registered(sites, "alice", sites.hill, sites.hill.wss_url)
    bob = registered(sites, "bob", sites.valley, sites.valley.ws_url)
    carol = registered(sites, "carol", sites.valley, sites.valley.ws_url)
    alice.do("call", f"sip:bob@{HERE}")
    for tab in (alice, bob):
        tab.wait("confirmed")
    alice.do("refer", f"sip:carol@{HERE}")
    assert carol.wait("incoming")["from"].startswith("sip:bob@")
    alice.wait("transferred")
    carol.wait("confirmed")
    hears(carol)
    for user, peer, tab in (("alice", sites.hill, alice), ("bob", sites.valley, bob), ("carol", sites.valley, carol)):
        tab.evaluate("window.close()")
        peer.wait_phones(user, 0)


def test_a_page_from_elsewhere_is_refused_and_the_log_says_so(sites: Sites) -> None:
    with Browser("--host-resolver-rules=MAP evil.example 127.0.0.1") as browser:
        tab = browser.open(origin=browser.origin.replace(HERE, "evil.example"))
        tab.do("register", {"url": sites.valley.ws_url, "uri": f"sip:bob@{HERE}", "password": phone_password("bob")})
        tab.wait("disconnected")
        refused = sites.valley.daemon.wait_log("no WebSocket with a phone")
        assert "pages from http://evil.example" in refused["reason"]
        assert tab.told("registered") == []


def test_a_telephone_and_a_page_send_each_other_messages_and_have_no_common_voice(sites: Sites) -> None:
    """A browser takes encrypted media alone, and says 488 to whoever offers other."""
    bob = registered(sites, "bob", sites.valley, sites.valley.ws_url)
    with OurPhone("carol", server=sites.valley.server, password=phone_password("carol")) as carol:
        carol.wait("registered")
        carol.command("call bob")
        assert "488" in str(carol.wait("ended"))
    bob.evaluate("window.close()")
    sites.valley.wait_phones("bob", 0)


def test_zz_a_tab_turns_to_its_other_peer(sites: Sites, record_property: Callable[[str, object], None]) -> None:
    """The last one, as one of the peers dies."""
    alice = registered(sites, "alice", sites.hill, sites.hill.wss_url)
    carol = registered(sites, "carol", sites.valley, [sites.valley.ws_url, sites.hill.wss_url])
    sites.valley.kill()
    died_at = time.monotonic()
    # Until then nobody can call it: it has one connection at a time.
    sites.hill.wait_phones("carol", 1)
    alice.do("call", f"sip:carol@{HERE}")
    carol.wait("incoming")
    record_property("gap_s", round(time.monotonic() - died_at, 1))
    alice.wait("confirmed")
    sites.valley.run("--phone-ws", "--media", "anchor")
    sites.valley.wait_joined()
