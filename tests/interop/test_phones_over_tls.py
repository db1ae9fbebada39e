"""Phones that nobody here wrote register over TLS, call each other, and a phone on UDP at another site."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from baresip import Baresip, hears, needs_baresip, talk
from linphone import Linphone, needs_linphone
from live_overlay import LiveOverlay, LivePeer, phone_password
from our_phone import OurPhone
from phone_certificates import PhoneAuthority

pytestmark = pytest.mark.slow

HERE = "127.0.0.1"


@dataclass(frozen=True)
class Sites:
    """Two: alice and carol have phones with TLS at one, bob has his on UDP at the other.

    `own` is the file with what a phone has to trust where it is shown the peer's own certificate.
    """

    hill: LivePeer
    valley: LivePeer
    own: Path


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sites]:
    directory = tmp_path_factory.mktemp("tls")
    with LiveOverlay(directory, peers=2, users=("alice", "bob", "carol")) as overlay:
        hill, valley = overlay.peers
        overlay.add_lines([(hill, "alice"), (hill, "carol"), (valley, "bob")])
        own = directory / "own.pem"
        overlay.command("peer", "trust", hill.directory, "--out", own)
        yield Sites(hill, valley, own)


def over_tls(directory: Path, sites: Sites, user: str, plays: int) -> Baresip:
    return Baresip(
        directory,
        user,
        server=sites.hill.tls_server,
        password=phone_password(user),
        transport="tls",
        plays=plays,
    )


@needs_baresip
def test_two_phones_on_tls_and_one_on_udp_at_another_site(tmp_path: Path, sites: Sites) -> None:
    bobs = Baresip(tmp_path, "bob", server=sites.valley.server, password=phone_password("bob"), plays=700)
    with (
        bobs as bob,
        over_tls(tmp_path, sites, "alice", 500) as alice,
        over_tls(tmp_path, sites, "carol", 900) as carol,
    ):
        bob.wait_registered(), alice.wait_registered(), carol.wait_registered()
        (phone,) = sites.hill.line("alice")["phones"]
        assert "transport=tls" in str(phone)
        talk(alice, carol, sites.hill.tls_server)
        assert hears(alice, 900)
        assert hears(carol, 500)
        talk(alice, bob, sites.hill.tls_server)
        assert hears(alice, 700)
        assert hears(bob, 500)
        talk(bob, carol, sites.valley.server)
        assert hears(bob, 900)
        assert hears(carol, 700)


@needs_baresip
@needs_linphone
def test_linphone_on_tls(tmp_path: Path, sites: Sites) -> None:
    """It calls, and is called, by a phone on TLS at its own peer and by one on UDP at another."""
    account = {"password": phone_password("alice"), "transport": "tls", "looks_at_name": False}
    bobs = Baresip(tmp_path, "bob", server=sites.valley.server, password=phone_password("bob"))
    with (
        bobs as bob,
        over_tls(tmp_path, sites, "carol", 900) as carol,
        Linphone(tmp_path, "alice", server=sites.hill.tls_server, trusts=sites.own, **account) as alice,  # type: ignore[arg-type]
    ):
        bob.wait_registered(), carol.wait_registered()
        alice.wait_registered()
        for other in (bob, carol):
            alice.dial(f"sip:{other.user}@{sites.hill.tls_server}")
            other.wait("CALL_ESTABLISHED")
            alice.wait_connected()
            alice.hang_up()
            other.wait("CALL_CLOSED")
            alice.wait_ended()
        for other, server in ((bob, sites.valley.server), (carol, sites.hill.tls_server)):
            other.dial(f"sip:alice@{server}")
            alice.wait_incoming()
            alice.command("answer")
            alice.wait_connected()
            other.wait("CALL_ESTABLISHED")
            other.hang_up()
            alice.wait_ended()
            other.wait("CALL_CLOSED")


def test_our_own_phone_on_tls_and_who_dials_sips(tmp_path: Path, sites: Sites) -> None:
    """It trusts what `peer trust` prints, and nobody else; a call to sips: is over TLS on both sides, or is none."""
    alices = OurPhone("alice", server=sites.hill.tls_server, password=phone_password("alice"), trusts=sites.own)
    carols = OurPhone(
        "carol",
        server=sites.hill.tls_server,
        password=phone_password("carol"),
        trusts=sites.own,
        plays=900,
        answer_ms=0,
    )
    with alices as alice, carols as carol:
        for phone in (alice, carol):
            phone.wait("registered")
        alice.command(f"call sips:carol@{sites.hill.tls_server}")
        carol.wait("answered")
        alice.wait("answered")
        alice.command("hangup")
        carol.wait("ended"), alice.wait("ended")
        bobs = OurPhone("bob", server=sites.valley.server, password=phone_password("bob"), answer_ms=0)
        with bobs as bob:
            bob.wait("registered")
            alice.command("call bob")
            bob.wait("answered")
            alice.command("hangup")
            bob.wait("ended"), alice.wait("ended")
            alice.command(f"call sips:bob@{sites.hill.tls_server}")
            assert "asks for TLS" in str(alice.wait("ended"))
    other = tmp_path / "other.pem"
    other.write_bytes(PhoneAuthority().pem)
    secret = tmp_path / "secret"
    secret.write_text(phone_password("alice"))
    options = [
        "--server",
        sites.hill.tls_server,
        "--user",
        "alice",
        "--password-file",
        str(secret),
        "--tls",
        str(other),
    ]
    command = [sys.executable, "-c", "from p2psip.cli.main import main; main()", "phone", *options, "register"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1
    assert "certificate verify failed" in done.stderr


@needs_linphone
def test_a_certificate_of_the_operators_own_and_its_renewal(tmp_path: Path, sites: Sites) -> None:
    """A phone that looks at the name as well is content; one that trusts somebody else is not, and the log says so."""
    first, second = PhoneAuthority("first.example"), PhoneAuthority("second.example")
    chain, key = tmp_path / "phones.pem", tmp_path / "phones.key"
    trusts = {authority: tmp_path / f"{number}.pem" for number, authority in enumerate((first, second))}
    for authority, path in trusts.items():
        path.write_bytes(authority.pem)

    def show(authority: PhoneAuthority) -> None:
        issued = authority.issue("localhost")
        chain.write_bytes(issued.certificate_pem)
        key.write_bytes(issued.key_pem)

    def linphone(authority: PhoneAuthority) -> Linphone:
        directory = Path(tempfile.mkdtemp(dir=tmp_path))
        # It compares names of hosts alone, no addresses.
        server, password = sites.valley.tls_server.replace(HERE, "localhost"), phone_password("bob")
        return Linphone(directory, "bob", server=server, password=password, transport="tls", trusts=trusts[authority])

    show(first)
    sites.valley.stop()
    sites.valley.run("--phone-certificate", str(chain), "--phone-key", str(key))
    with linphone(first) as bob:
        sites.valley.wait_phones("bob", 1)
        # The routes of the call have the peer's address; what is in it goes over the connection that there is.
        bob.dial(f"sip:*43@{sites.valley.tls_server.replace(HERE, 'localhost')}")
        bob.wait_connected()
        bob.hang_up()
        assert bob.wait_ended() == "No error"
    sites.valley.wait_phones("bob", 0)
    show(second)
    sites.valley.daemon.wait_log("phones are shown another certificate now")
    with linphone(second):
        sites.valley.wait_phones("bob", 1)
    sites.valley.wait_phones("bob", 0)
    with linphone(first):
        refused = sites.valley.daemon.wait_log("no TLS with a phone")
    assert "unknown ca" in refused["reason"]
    assert not sites.valley.line("bob")["phones"]
