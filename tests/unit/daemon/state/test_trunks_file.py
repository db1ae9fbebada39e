"""The file of trunks: what it may say, and for each mistake the line that it is in."""

from __future__ import annotations

import ipaddress
from pathlib import Path

import pytest

from p2psip.base.errors import LocalMisuse
from p2psip.daemon.state.trunks_file import TRUNKS_FILE, TRUNKS_MAX, load_trunks
from p2psip.sip.entities.gateway.terms import TrunkTerms

SMALL = """[[trunk]]
name = "provider"
server = "sip.example.net"
user = "4930555"
lines = ["alice"]
"""

GOOD = """
[[trunk]]
name = "provider"
server = "sip.example.net:5070"
transport = "TLS"
user = "4930555"
auth_user = "id-7"
password_file = "provider.password"
domain = "example.net"
prefixes = ["+49", "00"]
strip = 2
prepend = "0"
emergency = ["112"]
calls = 4
lines = ["alice", "*"]
preference = 70
show_number = true
incoming = "desk"
caller_prefix = "0"
also_from = ["203.0.113.0/28"]
local_port = 5080

[trunk.numbers]
"+4930555" = "alice"

[[trunk]]
name = "pbx"
server = "[fd00::1]:5060"
register = false
user = "p2p"
lines = ["*"]
"""


def read(directory: Path, text: str, *, password: str | None = "secret\n", mode: int = 0o600) -> tuple[TrunkTerms, ...]:
    (directory / TRUNKS_FILE).write_text(text)
    if password is not None:
        file = directory / "provider.password"
        file.write_text(password)
        file.chmod(mode)
    return load_trunks(directory)


def test_no_file_is_no_trunk(tmp_path: Path) -> None:
    assert load_trunks(tmp_path) == ()


def test_all_that_it_may_say(tmp_path: Path) -> None:
    provider, pbx = read(tmp_path, GOOD)
    assert (provider.host, provider.port, provider.realm, provider.transport) == (
        "sip.example.net",
        5070,
        "example.net",
        "TLS",
    )
    assert (provider.password, provider.auth_user) == ("secret", "id-7")
    assert provider.reach("0033") == 2
    assert provider.outgoing("0033") == "033"
    assert (provider.reach("112"), provider.outgoing("112"), provider.reach("42")) == (3, "112", None)
    assert provider.line_of("+4930555") == "alice"
    assert provider.line_of("+49") == "desk"
    assert provider.number_of("alice") == "+4930555"
    assert provider.also_from == (ipaddress.ip_network("203.0.113.0/28"),)
    assert provider.may_call("carol", is_member=True, number="0033")
    assert (pbx.host, pbx.registers, pbx.password) == ("[fd00::1]", False, "")


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ('user = "4930555"\n', "", "line 1: there is no user in it: write your user name there, in quotes"),
        ('lines = ["alice"]\n', "", 'line 1: there is no lines in it: write who may call out, as ["alice", "bob"], or'),
        ('"alice"', '"Alice B"', "line 5: 'Alice B' is no user's name: write "),
        ('server = "sip.example.net"', 'server = "sip:x@y"', "line 3: server: write the host of the provider"),
        ('server = "sip.example.net"', 'server = "x:99999"', "line 3: server: write the host of the provider"),
        ('server = "sip.example.net"', "server = 5", "line 3: server: write the host of the provider"),
        ('name = "provider"', 'name = "My Provider"', "line 2: name: write what you call it: small letters"),
        ("lines =", "prefix = 1\nlines =", "line 5: there is no setting prefix; there are name, server, user"),
        ("lines =", 'prefixes = ["49x"]\nlines =', "line 5: '49x' is no number as phones dial it: write how numbers"),
        ("lines =", 'prefixes = ["0"]\nstrip = 2\nlines =', "line 6: strip is 2, and the shortest of prefixes has 1"),
        ("lines =", "calls = 0\nlines =", "line 5: calls: write how many at once, a number from 1 to 1000"),
        ("lines =", 'transport = "SCTP"\nlines =', 'line 5: transport: write "UDP", "TCP" or "TLS"'),
        ("lines =", 'ca_file = "x.pem"\nlines =', 'line 5: ca_file is for TLS, and transport is "UDP": change one'),
        ("lines =", 'also_from = ["here"]\nlines =', "line 5: 'here' does not appear to be an IPv4 or IPv6 network"),
        ("lines =", "show_number = true\nlines =", "line 5: show_number, and no line has a number: write a section"),
        ("lines =", 'password_file = "none"\nlines =', "line 5: cannot read "),
        ("[[trunk]]", "[[trunks]]", "line 1: there is no setting trunks; there are trunk"),
        ("[[trunk]]", "[trunk]", "line 1: trunk: write a section [[trunk]], with two brackets, for each trunk"),
        ("user =", "user", "line 4: "),
    ],
)
def test_each_mistake_is_one_line_that_says_where(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in SMALL
    with pytest.raises(LocalMisuse) as caught:
        read(tmp_path, SMALL.replace(old, new))
    assert str(caught.value).startswith(f"{tmp_path / TRUNKS_FILE}: {says}")
    assert "\n" not in str(caught.value)


def test_numbers_and_names_of_trunks(tmp_path: Path) -> None:
    with pytest.raises(LocalMisuse, match=r'line 7: write a user\'s name in quotes, as "\+49" = "alice"'):
        read(tmp_path, f'{SMALL}[trunk.numbers]\n"+49" = 5\n')
    with pytest.raises(LocalMisuse, match="line 7: provider is the name of another trunk as well: change one"):
        read(tmp_path, SMALL + SMALL)
    many = "".join(SMALL.replace("provider", f"p{number}") for number in range(TRUNKS_MAX + 1))
    with pytest.raises(LocalMisuse, match=f"there are more than {TRUNKS_MAX} trunks: leave some out"):
        read(tmp_path, many)


def test_a_password_is_its_owners_alone(tmp_path: Path) -> None:
    text = SMALL.replace("lines =", 'password_file = "provider.password"\nlines =')
    assert read(tmp_path, text)[0].password == "secret"
    with pytest.raises(LocalMisuse, match=r"line 5: others may read .*provider\.password: `chmod 600 "):
        read(tmp_path, text, mode=0o640)
    with pytest.raises(LocalMisuse, match="is empty: write the password into it, in one line"):
        read(tmp_path, text, password="\n")
    assert "secret" not in repr(read(tmp_path, text))
