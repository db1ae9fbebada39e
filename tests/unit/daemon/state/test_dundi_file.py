"""The file of neighbours by DUNDi: what it may say, and for each mistake the line that it is in."""

from __future__ import annotations

import ipaddress
import random
from functools import cache
from pathlib import Path

import pytest
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from dundi_bench import pair

from p2psip.base.address import Address
from p2psip.base.errors import LocalMisuse
from p2psip.daemon.endpoints import doors_of
from p2psip.daemon.state.dundi_file import DUNDI_FILE, load_dundi
from p2psip.daemon.state.settings import make_settings
from p2psip.dundi import session_keys
from p2psip.dundi.session_keys import EntityKeys
from p2psip.dundi.values import EntityTerms, OfferedContext

SMALL = """eid = "00:00:5E:00:53:01"
host = "44.130.60.1"

[[context]]
name = "e164"
numbers = ["4930555"]

[[peer]]
name = "pbx"
eid = "00:00:5e:00:53:02"
host = "44.130.60.2"
include = ["e164"]
permit = ["e164"]
"""

KEYS = 'inkey = "pbx.pub"\noutkey = "ours.key"\n'


def private_pem(key: rsa.RSAPrivateKey) -> bytes:
    kinds = (serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL)
    return key.private_bytes(*kinds, serialization.NoEncryption())


def public_pem(key: rsa.RSAPublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


@cache
def large() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def read(directory: Path, text: str, *, mode: int = 0o600) -> EntityTerms:
    (directory / DUNDI_FILE).write_text(text)
    (directory / "pbx.pub").write_bytes(public_pem(pair("theirs").public_key()))
    (directory / "ours.key").write_bytes(private_pem(pair("ours")))
    (directory / "ours.key").chmod(mode)
    (directory / "large.pub").write_bytes(public_pem(large().public_key()))
    terms = load_dundi(directory)
    assert terms is not None
    return terms


def test_no_file_is_no_entity(tmp_path: Path) -> None:
    assert load_dundi(tmp_path) is None


def test_what_it_may_say(tmp_path: Path) -> None:
    more = 'listen = "44.130.60.1"\nport = 4521\nttl = 4\nexpiration_s = 60\norganization = "The club"\n'
    more += 'reaches = ["+1256"]\npreference = 60\n'
    terms = read(tmp_path, more + SMALL + KEYS + 'calls = ["44.130.60.0/24", "44.130.61.9"]\n')
    assert (str(terms.eid), terms.host, terms.local) == (
        "00:00:5E:00:53:01",
        "44.130.60.1",
        Address("44.130.60.1", 4521),
    )
    assert (terms.ttl, terms.expiration_s, terms.about["organization"]) == (4, 60, "The club")
    assert terms.contexts == (OfferedContext("e164", ("4930555",)),)
    assert (terms.reaches, terms.preference) == (("+1256",), 60)
    (peer,) = terms.neighbours
    assert (peer.name, str(peer.eid), peer.address) == ("pbx", "00:00:5E:00:53:02", Address("44.130.60.2", 4520))
    assert (peer.include, peer.permit) == (("e164",), frozenset({"e164"}))
    assert peer.keys is not None
    assert peer.keys.inkey.public_numbers() == pair("theirs").public_key().public_numbers()
    assert terms.calls == (ipaddress.ip_network("44.130.60.0/24"), ipaddress.ip_network("44.130.61.9"))
    assert "PRIVATE" not in repr(terms)


def test_the_servers_of_neighbours_are_guests(tmp_path: Path) -> None:
    """Calls go to them, and come from them without an account; by default to and from the neighbour itself."""
    terms = read(tmp_path, SMALL)
    doors = doors_of(make_settings({"name": "hill", "fingerprint": "0" * 64}, "here"), terms)
    assert doors.is_guest("44.130.60.2")
    assert not doors.is_guest("44.130.60.3")


def test_servers_may_have_names(tmp_path: Path) -> None:
    """Who calls in from there is known by an address all the same."""
    (peer,) = read(tmp_path, SMALL + 'calls = ["PBX.example.org"]\n').neighbours
    assert (peer.names, peer.calls) == (frozenset({"pbx.example.org"}), (ipaddress.ip_network("44.130.60.2"),))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('eid = "00:00:5E:00:53:01"\n', "", "there is no eid in it: write an entity identifier, as "),
        ('eid = "00:00:5E:00:53:01"', 'eid = "x"', "line 1: eid: write an entity identifier, as "),
        ('host = "44.130.60.1"', 'host = "sip:x@y"', "line 2: host: write an address in quotes, with a port if"),
        ("[[context]]", "colour = 1\n[[context]]", "line 4: there is no setting colour; there are eid, host, listen"),
        ("[[context]]", 'listen = "here"\n[[context]]', "line 4: listen: write an address of this machine"),
        (
            "[[context]]",
            'reaches = ["1x"]\n[[context]]',
            "line 4: reaches: write how numbers begin that are",
        ),
        ("[[context]]", "ttl = 99\n[[context]]", "line 4: ttl: write how many hops a question may go on"),
        ("[[context]]", "[context]", "line 4: context: write a section [[context]], with two brackets"),
        ('["4930555"]', '"4930555"', 'line 6: numbers: write how numbers begin that may be asked for, as ["4930555"]'),
        ('["4930555"]', "[]", "line 6: numbers: write how numbers begin"),
        ('name = "pbx"', 'name = "My PBX"', "line 9: name: write what you call it in quotes: of a peer small letters"),
        ('host = "44.130.60.2"', 'host = "pbx.example"', "line 11: host: 'pbx.example': give the IP address, not a"),
        ('host = "44.130.60.2"', 'host = "fd00::1"', "line 11: fd00::1 is not reached from 0.0.0.0: set listen to"),
        ('eid = "00:00:5e:00:53:02"', 'eid = "00:00:5E:00:53:01"', "line 10: 00:00:5E:00:53:01 is somebody else's"),
        ('permit = ["e164"]', 'permit = ["home"]', "line 13: there is no context home: write a section [[context]]"),
        (
            "permit =",
            'calls = ["44.130.60.1/24"]\npermit =',
            "line 13: 44.130.60.1/24 has host bits set",
        ),
        ("permit =", 'calls = ["here"]\npermit =', "line 13: 'here' does not appear to be an IPv4 or IPv6 network"),
        ("permit =", 'inkey = "pbx.pub"\npermit =', "line 13: inkey and outkey go together: name both files, or"),
        ("permit =", f"{KEYS}permit =".replace("pbx.pub", "none.pub"), "line 13: cannot read "),
        ("permit =", f"{KEYS}permit =".replace("ours.key", "none.key"), "line 14: cannot read "),
        (
            "permit =",
            f"{KEYS}permit =".replace("pbx.pub", "ours.key"),
            "line 13: PATH/ours.key is no public key",
        ),
        ("permit =", f"{KEYS}permit =".replace("pbx.pub", "large.pub"), "line 13: PATH/large.pub is no public key of"),
        (
            "permit =",
            f"{KEYS}permit =".replace("ours.key", "pbx.pub"),
            "line 14: PATH/pbx.pub is no private key",
        ),
        ("permit =", "permit", "line 13: "),
    ],
)
def test_each_mistake_is_one_line_that_says_where(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in SMALL
    with pytest.raises(LocalMisuse) as caught:
        read(tmp_path, SMALL.replace(old, new, 1))
    assert str(caught.value).startswith(f"{tmp_path / DUNDI_FILE}: {says.replace('PATH', str(tmp_path))}")
    assert "\n" not in str(caught.value)


def test_no_two_are_the_same(tmp_path: Path) -> None:
    context, peer = SMALL[SMALL.index("[[context]]") : SMALL.index("[[peer]]")], SMALL[SMALL.index("[[peer]]") :]
    for twice, says in (
        (context, "line 15: e164 is another context as well: leave one out"),
        (peer, "line 15: pbx is the name of another peer as well: change one"),
        (peer.replace("pbx", "b"), "line 16: 00:00:5E:00:53:02 is somebody else's as well: each entity has its own"),
        (
            peer.replace("pbx", "b").replace("53:02", "53:03"),
            "line 17: 44.130.60.2:4520 is another peer's as well: each has an address of its own",
        ),
    ):
        with pytest.raises(LocalMisuse) as caught:
            read(tmp_path, SMALL + twice)
        assert str(caught.value) == f"{tmp_path / DUNDI_FILE}: {says}"


def test_a_private_key_is_its_owners_alone(tmp_path: Path) -> None:
    with pytest.raises(LocalMisuse, match=r"line 15: others may read .*ours\.key: `chmod 600 "):
        read(tmp_path, SMALL + KEYS, mode=0o640)


def test_a_machine_that_does_no_sha_1_is_told_at_the_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And not when the first call is made."""

    def sign(keys: EntityKeys, rng: random.Random) -> None:
        raise UnsupportedAlgorithm("sha1 is not supported")

    monkeypatch.setattr(session_keys, "make_session_key", sign)
    with pytest.raises(LocalMisuse, match="line 15: this machine does no RSA with SHA-1, which DUNDi is signed with"):
        read(tmp_path, SMALL + KEYS)


def test_what_the_page_for_operators_shows_is_taken(tmp_path: Path) -> None:
    page = (Path(__file__).parents[4] / "docs" / "operating.md").read_text()
    shown = page[page.index("## Asterisk by DUNDi") :].partition("```toml\n")[2].partition("```")[0]
    terms = read(tmp_path, shown.replace("dl0abc.pub", "pbx.pub").replace("overlay.key", "ours.key"))
    (peer,) = terms.neighbours
    assert (peer.name, peer.keys is not None, terms.contexts[0].prefixes) == ("dl0abc", True, ("4", "70"))
