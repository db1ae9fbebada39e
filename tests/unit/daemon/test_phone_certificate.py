"""What phones are shown: the peer's own certificate, or the operator's files as they are now."""

from __future__ import annotations

import re
import time
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest
from phone_certificates import DAY_S, Issued, PhoneAuthority

from p2psip.base.errors import LocalMisuse
from p2psip.daemon.phone_certificate import PhoneCertificate, to_trust
from p2psip.daemon.state.settings import make_settings
from p2psip.daemon.state.state import PeerState, load_state, save_document, save_identity, save_key, save_settings
from p2psip.reload.config.document import parse
from p2psip.reload.security.certificates import chain_from_pem, chain_to_pem
from p2psip.sim.membership import OVERLAY, Club, founding, key, node_id

AUTHORITY = PhoneAuthority()


@pytest.fixture
def state(tmp_path: Path) -> PeerState:
    club = Club.of()
    save_settings(tmp_path, make_settings({"name": "garden", "fingerprint": club.anchor.fingerprint}, "test"))
    save_document(tmp_path, parse(founding().document))
    save_key(tmp_path, key())
    save_identity(tmp_path, club.member(f"peer-garden@{OVERLAY}", [node_id(1)]))
    return load_state(tmp_path)


@pytest.fixture
def with_files(state: PeerState) -> PeerState:
    settings = msgspec.structs.replace(state.settings, phone_certificate="phones.pem", phone_key="phones.key")
    write(state, AUTHORITY.issue("pbx.example"))
    return replace(state, settings=settings)


def test_the_files_may_be_in_a_home_directory(with_files: PeerState, monkeypatch: pytest.MonkeyPatch) -> None:
    """No shell has seen what is in peer.toml."""
    monkeypatch.setenv("HOME", str(with_files.directory))
    settings = msgspec.structs.replace(with_files.settings, phone_certificate="~/phones.pem", phone_key="~/phones.key")
    state = replace(with_files, directory=with_files.directory / "elsewhere", settings=settings)
    PhoneCertificate(state).context(state, None)
    with pytest.raises(LocalMisuse, match=f"{with_files.directory}/phones.pem was issued by"):
        to_trust(state)


def write(state: PeerState, issued: Issued) -> None:
    (state.directory / "phones.pem").write_bytes(issued.certificate_pem)
    (state.directory / "phones.key").write_bytes(issued.key_pem)


def test_its_own_certificate_does_not_change_by_itself(state: PeerState) -> None:
    certificate = PhoneCertificate(state)
    certificate.context(state, None)
    assert not certificate.has_changed()


def test_files_that_change_are_taken_when_both_are_written(with_files: PeerState) -> None:
    state = with_files
    certificate = PhoneCertificate(state)
    certificate.context(state, None)
    renewed = AUTHORITY.issue("pbx.example")
    (state.directory / "phones.pem").write_bytes(renewed.certificate_pem)
    assert not certificate.has_changed(), "it may still be written"
    (state.directory / "phones.key").write_bytes(renewed.key_pem)
    assert not certificate.has_changed()
    assert certificate.has_changed()
    certificate.context(state, None)
    assert not certificate.has_changed()


def test_files_that_are_gone_are_not_taken_and_said_once(with_files: PeerState) -> None:
    state = with_files
    certificate = PhoneCertificate(state)
    certificate.context(state, None)
    (state.directory / "phones.key").unlink()
    assert not certificate.has_changed()
    assert certificate.has_changed()
    with pytest.raises(LocalMisuse, match=re.escape(f"phones have no TLS: {state.directory / 'phones.key'}")):
        certificate.context(state, None)
    assert not certificate.has_changed()


def test_a_key_of_another_certificate_is_named(with_files: PeerState) -> None:
    (with_files.directory / "phones.key").write_bytes(AUTHORITY.issue("pbx.example").key_pem)
    with pytest.raises(LocalMisuse, match=r"phones\.pem and .*phones\.key: certificate and key do not go"):
        PhoneCertificate(with_files).context(with_files, None)


def test_a_certificate_that_is_out_of_date_is_said_once(with_files: PeerState) -> None:
    """The peer's own is looked after elsewhere; of files the operator has to know, as phones that refuse say little."""
    certificate, now = PhoneCertificate(with_files), time.time()
    certificate.context(with_files, None)
    assert certificate.out_of_date(now) is None
    assert str(certificate.out_of_date(now + 9 * DAY_S)).startswith("it has ended on 20")
    assert certificate.out_of_date(now + 9 * DAY_S) is None
    write(with_files, AUTHORITY.issue("pbx.example"))
    certificate.context(with_files, None)
    assert str(certificate.out_of_date(now - 900 * DAY_S)).startswith("it begins on 20")


def test_of_a_chain_the_certificate_of_the_host_counts(with_files: PeerState) -> None:
    """An authority's own lives for decades."""
    issued = AUTHORITY.issue("pbx.example")
    (with_files.directory / "phones.pem").write_bytes(chain_to_pem([issued.der, AUTHORITY.der]))
    (with_files.directory / "phones.key").write_bytes(issued.key_pem)
    certificate = PhoneCertificate(with_files)
    certificate.context(with_files, None)
    assert str(certificate.out_of_date(time.time() + 9 * DAY_S)).startswith("it has ended on 20")


def test_without_tls_nobody_looks_at_the_files(with_files: PeerState) -> None:
    """Nor is it said, again and again, that phones are shown others now."""
    state = replace(with_files, settings=msgspec.structs.replace(with_files.settings, phone_tls=False))
    certificate = PhoneCertificate(state)
    write(state, AUTHORITY.issue("pbx.example"))
    assert [certificate.has_changed() for _ in range(4)] == [False] * 4


def test_browsers_alone_are_shown_it_as_well(with_files: PeerState) -> None:
    settings = msgspec.structs.replace(with_files.settings, phone_tls=False, phone_wss=True)
    certificate = PhoneCertificate(replace(with_files, settings=settings))
    write(with_files, AUTHORITY.issue("pbx.example"))
    assert [certificate.has_changed() for _ in range(2)] == [False, True]


def test_the_peer_s_own_certificate_is_not_looked_at(state: PeerState) -> None:
    certificate = PhoneCertificate(state)
    certificate.context(state, None)
    assert certificate.out_of_date(0.0) is None


def test_what_a_phone_has_to_trust(state: PeerState, with_files: PeerState) -> None:
    """The overlay's trust anchor; where everybody makes their own certificate this one; whoever issued the files."""
    assert chain_from_pem(to_trust(state)) == list(state.configuration.root_certs)
    alone = replace(state.configuration, root_certs=())
    without_anchor = replace(state, document=replace(state.document, configuration=alone))
    assert chain_from_pem(to_trust(without_anchor)) == list(state.identity.chain)
    with pytest.raises(LocalMisuse, match=r"phones\.pem was issued by CN=Trust anchor of phones\.example, which"):
        to_trust(with_files)
    whole = chain_to_pem([AUTHORITY.issue("pbx.example").der, AUTHORITY.der])
    (state.directory / "phones.pem").write_bytes(whole)
    assert chain_from_pem(to_trust(with_files)) == [AUTHORITY.der]
