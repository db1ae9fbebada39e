"""The directory of an overlay's administrator, small files and addresses."""

from __future__ import annotations

import random
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from accounts import CHEAP

from p2psip.base.errors import LocalMisuse
from p2psip.enrollment.accounts import Account, Issue
from p2psip.enrollment.client import verify_first
from p2psip.enrollment.founding import Terms, found
from p2psip.enrollment.passwords import hash_password
from p2psip.net.disk.files import PRIVATE, read_file, write_file
from p2psip.net.disk.overlay_directory import OverlayDirectory
from p2psip.net.sockets.addresses import ip_port, join_host_port, own_address, server_url, split_host_port
from p2psip.reload.security.certificates import chain_from_pem, chain_to_pem
from p2psip.reload.wire.common import HashAlgorithm, SignatureAlgorithm
from p2psip.sim.membership import DATE, OVERLAY, founding, node_id

ADMIN = Account(f"admin@{OVERLAY}", hash_password("admin's secret", random.Random(1), CHEAP), is_admin=True)


@pytest.fixture
def overlay(tmp_path: Path) -> OverlayDirectory:
    """A new overlay's directory."""
    return OverlayDirectory.create(tmp_path / "club", founding(), ADMIN)


def test_a_new_directory_has_everything(overlay: OverlayDirectory) -> None:
    assert overlay.document().configuration == founding().configuration
    assert overlay.anchor().fingerprint == founding().anchor.fingerprint
    assert overlay.signer().node_id == founding().signer.node_id
    accounts = overlay.accounts()
    assert accounts.accounts() == [ADMIN]
    assert [held.node_id for held in accounts.held(ADMIN.name, DATE)] == [founding().signer.node_id]


def test_keys_are_the_owner_s(overlay: OverlayDirectory) -> None:
    overlay.server_certificate([], random.Random(1), DATE)
    for name in ("anchor.key", "signer.key", "accounts.db", "server.pem"):
        assert stat.S_IMODE((overlay.path / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(overlay.path.stat().st_mode) == 0o700


def test_a_directory_with_something_in_it_is_left_alone(overlay: OverlayDirectory, tmp_path: Path) -> None:
    with pytest.raises(LocalMisuse, match="is not empty"):
        OverlayDirectory.create(overlay.path, founding(), ADMIN)
    (tmp_path / "file").write_text("x")
    with pytest.raises(LocalMisuse, match="is not empty"):
        OverlayDirectory.create(tmp_path / "file", founding(), ADMIN)
    (tmp_path / "empty").mkdir()
    OverlayDirectory.create(tmp_path / "empty", founding(), ADMIN)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["club", "empty", "file"]


def test_a_directory_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(LocalMisuse, match="is not the directory of an overlay"):
        OverlayDirectory(tmp_path)


def test_a_change_is_published_signed(overlay: OverlayDirectory) -> None:
    with overlay.locked():
        overlay.revise(replace(overlay.document().configuration, turn_density=3))
    published = verify_first(overlay.document_path.read_bytes(), founding().anchor.fingerprint, DATE, True)
    assert (published.configuration.turn_density, published.configuration.sequence) == (3, 2)


def test_removing_an_account_revokes_its_certificates(overlay: OverlayDirectory) -> None:
    accounts = overlay.accounts()
    accounts.add(Account(f"alice@{OVERLAY}", "x"))
    alice = f"alice@{OVERLAY}"
    accounts.record(Issue(alice, alice, b"k", (node_id(1), node_id(2)), b"der", DATE + 1))
    removed = overlay.remove_account(alice, DATE)
    assert [held.node_id for held in removed] == [node_id(1), node_id(2)]
    configuration = overlay.document().configuration
    assert configuration.bad_nodes == {node_id(1), node_id(2)}
    assert configuration.sequence == 2
    with pytest.raises(LocalMisuse, match="there is no account"):
        overlay.remove_account(alice, DATE)


def test_the_signer_s_account_stays(overlay: OverlayDirectory) -> None:
    with pytest.raises(LocalMisuse, match="signs this overlay's configuration"):
        overlay.remove_account(ADMIN.name, DATE)


def test_a_damaged_document_is_one_line(overlay: OverlayDirectory) -> None:
    overlay.document_path.write_bytes(b"<x>")
    with pytest.raises(LocalMisuse, match=r"config\.xml: not well-formed"):
        overlay.document()


def test_certificates_survive_pem() -> None:
    chain = [founding().anchor.der, founding().signer.chain[0]]
    assert chain_from_pem(chain_to_pem(chain)) == chain
    with pytest.raises(LocalMisuse, match="no certificate"):
        chain_from_pem(b"nothing")


def test_a_file_is_replaced_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_file(path, b"one")
    write_file(path, b"two", PRIVATE)
    assert read_file(path) == b"two"
    assert stat.S_IMODE(path.stat().st_mode) == PRIVATE
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_files_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(LocalMisuse, match="cannot write"):
        write_file(tmp_path / "no" / "file", b"")
    with pytest.raises(LocalMisuse, match="cannot read"):
        read_file(tmp_path / "missing")
    (tmp_path / "large").write_bytes(bytes(11))
    with pytest.raises(LocalMisuse, match="larger than 10"):
        read_file(tmp_path / "large", 10)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("192.0.2.1", ("192.0.2.1", 7)),
        ("192.0.2.1:80", ("192.0.2.1", 80)),
        ("[2001:db8::1]:80", ("2001:db8::1", 80)),
        ("[2001:db8::1]", ("2001:db8::1", 7)),
        ("2001:db8::1", ("2001:db8::1", 7)),
        ("host:0", ("host", 0)),
    ],
)
def test_addresses_as_people_write_them(text: str, expected: tuple[str, int]) -> None:
    assert split_host_port(text, 7) == expected
    assert split_host_port(join_host_port(*expected), 7) == expected


@pytest.mark.parametrize("text", ["", ":80", "host:x", "host:70000", "[::1", "[::1]80", "host:٣"])
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(LocalMisuse, match="write HOST:PORT"):
        split_host_port(text, 7)


def test_where_only_an_ip_address_will_do() -> None:
    assert ip_port("2001:DB8::1", 6084) == ("2001:db8::1", 6084)
    with pytest.raises(LocalMisuse, match="not a name"):
        ip_port("host:80", 6084)
    with pytest.raises(LocalMisuse, match="1 to 65535"):
        ip_port("192.0.2.1:0", 6084)


@pytest.mark.parametrize(
    ("typed", "url"),
    [
        ("192.168.7.1", "https://192.168.7.1:8443"),
        ("192.168.7.1:9443", "https://192.168.7.1:9443"),
        ("192.168.7.1/", "https://192.168.7.1:8443"),
        ("2001:db8::1", "https://[2001:db8::1]:8443"),
        ("[2001:db8::1]:9443", "https://[2001:db8::1]:9443"),
        ("fe80::7:1%lan0", "https://[fe80::7:1%lan0]:8443"),
        ("hill:8443", "https://hill:8443"),
        ("https://hill", "https://hill"),
        ("club.example", "club.example"),
        ("config.xml", "config.xml"),
        ("hill:port", "hill:port"),
    ],
)
def test_servers_as_people_type_them(typed: str, url: str) -> None:
    assert server_url(typed) == url


def test_a_file_is_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "192.168.7.1").touch()
    monkeypatch.chdir(tmp_path)
    assert server_url("192.168.7.1") == "192.168.7.1"


def test_this_machine_has_an_address() -> None:
    assert ip_port(own_address(), 1)[0] == own_address()


def test_a_server_s_directory_has_neither_the_trust_anchor_s_key_nor_the_signer_s(overlay: OverlayDirectory) -> None:
    """Its authority makes members; whom it removes must have been revoked by who can sign that."""
    server = overlay.delegate(overlay.path.parent / "server", random.Random(2), DATE, 1e6)
    assert server.anchor().key != overlay.anchor().key
    assert server.anchor().is_delegated
    assert server.document().raw == overlay.document().raw
    assert stat.S_IMODE((server.path / "anchor.key").stat().st_mode) == 0o600
    accounts = server.accounts()
    bob = Account(f"bob@{OVERLAY}", ADMIN.password_hash)
    accounts.add(bob)
    assert accounts.record(Issue(bob.name, bob.name, b"key", (node_id(9),), b"certificate", DATE + 10.0))
    accounts.close()
    assert overlay.accounts().account(bob.name) is None
    with pytest.raises(LocalMisuse, match=f"overlay set DIR --sign bad-node.={node_id(9)}`; copy its config.xml"):
        server.remove_account(bob.name, DATE)
    with pytest.raises(LocalMisuse, match="signs no configuration: do it in the directory"):
        server.revoke([node_id(9)])
    overlay.revoke([node_id(9)])
    write_file(server.document_path, overlay.document().raw)
    assert [held.node_id for held in server.remove_account(bob.name, DATE)] == [node_id(9)]
    with pytest.raises(LocalMisuse, match="cannot make"):
        overlay.delegate(server.path, random.Random(2), DATE, 1e6)


def test_a_secret_is_not_shown_but_that_it_is_another(tmp_path: Path) -> None:
    terms = Terms((SignatureAlgorithm.RSA,), HashAlgorithm.SHA256, "first secret")
    made = OverlayDirectory.create(tmp_path / "x", found(OVERLAY, ADMIN.name, terms, random.Random(1), DATE), None)
    old = made.document().configuration
    made.save_draft(replace(old, initial_ttl=50, shared_secret="second secret"))
    said = "\n".join(made.difference())
    assert "-  <shared-secret>(not shown)</shared-secret>" in said
    assert "+  <shared-secret>(another, not shown)</shared-secret>" in said
    made.save_draft(replace(old, initial_ttl=50))
    said += "\n".join(made.difference())
    assert "secret>(not shown)" in said
    assert "first secret" not in said
    assert "second secret" not in said
    assert stat.S_IMODE(made.document_path.stat().st_mode) == 0o600
