"""Calls between a peer's phones and another domain that was not made here: Kamailio, found by a real DNS server.

The names are published as docs/operating.md says, in knot; each side seeks the other by them and knows nothing else.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from knot import Knot, needs_knot
from live_overlay import OVERLAY, LiveOverlay, phone_password
from neighbour_domain import DOMAIN, HOST, PASSWORD, NeighbourDomain, needs_neighbour
from phone_certificates import PhoneAuthority
from sipp import Account, answering, calling, needs_sipp, registering

pytestmark = [pytest.mark.slow, needs_sipp, needs_knot, needs_neighbour]

AT_PORT_53 = f"127.{os.getpid() // 250 % 250 + 1}.{os.getpid() % 250 + 1}.53"


@dataclass
class Site:
    """The overlay with its one peer, and the other domain."""

    overlay: LiveOverlay
    neighbour: NeighbourDomain
    knot: Knot

    @property
    def bob(self) -> Account:
        """Bob's, at the other domain."""
        return Account(self.neighbour.server, "bob", PASSWORD)

    @property
    def account(self) -> Account:
        """Alice's, at the peer."""
        return Account(self.overlay.peers[0].server, "alice", phone_password("alice"))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    directory = tmp_path_factory.mktemp("neighbour")
    authority = PhoneAuthority("authority.example")
    with (
        NeighbourDomain(directory, authority.issue(DOMAIN)) as neighbour,
        LiveOverlay(directory / "overlay", peers=1, users=("alice",)) as overlay,
    ):
        (peer,) = overlay.peers
        zones = {
            DOMAIN: [
                '@ NAPTR 10 10 "s" "SIPS+D2T" "" _sips._tcp',
                '@ NAPTR 20 10 "s" "SIP+D2U" "" _sip._udp',
                f"_sips._tcp SRV 0 1 {neighbour.tls_port} proxy",
                f"_sip._udp SRV 0 1 {neighbour.port} proxy",
                f"proxy A {HOST}",
            ],
            # Another name that says nothing of TLS, at the same server.
            f"plain.{DOMAIN}": [f"@ A {HOST}", f"_sip._udp SRV 0 1 {neighbour.port} proxy", f"proxy A {HOST}"],
            OVERLAY: [f"_sip._udp SRV 0 1 {peer.phone_port} peer", f"peer A {HOST}"],
        }
        peer.add_line("alice")
        with Knot(directory, zones, AT_PORT_53) as knot:
            neighbour.start(AT_PORT_53)
            peer.stop()
            (peer.directory / "anchors.pem").write_bytes(authority.pem)
            peer.run(
                *("--other-domains", "both", "--guests", "127.0.0.0/8"),
                *("--name-server", str(knot.address), "--domain-anchors", "anchors.pem"),
            )
            peer.wait_joined()
            yield Site(overlay, neighbour, knot)


def test_a_phone_calls_a_user_of_the_other_domain(site: Site, tmp_path: Path) -> None:
    """NAPTR says TLS first: the certificate is for the domain, from an authority that the operator has named."""
    with answering(tmp_path, "bob", calls=3) as bob:
        registering(tmp_path, site.bob, bob.address).run()
        calling(tmp_path, site.account, f"sip:bob@{DOMAIN}", calls=3).run()
        bob.wait()
    heard = site.neighbour.heard()
    assert heard.count(f"INVITE tls from sip:alice@{OVERLAY} for sip:bob@{DOMAIN}") == 3
    assert sum(line.startswith("BYE tls") for line in heard) == 3


def test_a_user_of_the_other_domain_calls_a_phone(site: Site, tmp_path: Path) -> None:
    """Kamailio finds the peer by SRV; alice's phone is shown who claims to call, and nothing as proved."""
    with answering(tmp_path, "alice", calls=3) as alice:
        registering(tmp_path, site.account, alice.address).run()
        # SIPp's INVITE is asked for no password there: it may have any From.
        calling(tmp_path, Account(site.neighbour.server, "bob"), f"sip:alice@{OVERLAY}", calls=3).run()
        alice.wait()


def test_explain_says_what_dns_said(site: Site) -> None:
    (peer,) = site.overlay.peers
    explained = site.overlay.command("dial", "--explain", f"sip:bob@{DOMAIN}", "--peer", peer.directory)
    assert f"SIPS+D2T at _sips._tcp.{DOMAIN} (10 10)" in explained
    assert f"SRV _sips._tcp.{DOMAIN}: proxy.{DOMAIN}:{site.neighbour.tls_port} (0 1)" in explained
    assert f"tries tls {HOST}:{site.neighbour.tls_port}" in explained
    assert f"tries udp {HOST}:{site.neighbour.port}" in explained
    status, output, _ = site.overlay.run("dial", "--explain", f"sip:bob@nowhere.{DOMAIN}", "--peer", peer.directory)
    assert status == 1
    assert "nowhere to go: DNS knows no address" in output


def test_who_is_not_of_that_domain_is_not_believed(site: Site, tmp_path: Path) -> None:
    """The same server by another name shows a certificate that is not for it: nothing is said to it."""
    before = len(site.neighbour.heard())
    with calling(tmp_path, site.account, f"sip:bob@plain.{DOMAIN}:{site.neighbour.tls_port};transport=tls") as caller:
        caller.wait_failed()
    assert f"its certificate is not for plain.{DOMAIN}" in caller.log
    assert len(site.neighbour.heard()) == before


def test_without_tls_in_dns_it_goes_in_clear(site: Site, tmp_path: Path) -> None:
    with answering(tmp_path, "bob") as bob:
        registering(tmp_path, site.bob, bob.address).run()
        calling(tmp_path, site.account, f"sip:bob@plain.{DOMAIN}").run()
        bob.wait()
    assert f"INVITE udp from sip:alice@{OVERLAY} for sip:bob@plain.{DOMAIN}" in site.neighbour.heard()


def test_who_has_no_phone_there_is_like_nobody(site: Site, tmp_path: Path) -> None:
    """Kamailio's caller hears the same of a name that is nobody's as of one whose phone is off."""
    with calling(tmp_path, Account(site.neighbour.server, "bob"), f"sip:nobody@{OVERLAY}") as caller:
        caller.wait_failed()
    assert "SIP/2.0 480" in caller.log
