"""peer.toml."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2psip.base.errors import LocalMisuse
from p2psip.daemon.state.settings import PeerSettings, load_settings, make_settings, write_settings

MINIMUM = {"name": "garden", "fingerprint": "a" * 64}


def written(directory: Path, text: str) -> Path:
    """A state directory with this peer.toml."""
    (directory / "peer.toml").write_text(text)
    return directory


@pytest.mark.must("3261 18.2.1/1")
def test_the_defaults_are_what_the_readme_says() -> None:
    settings = make_settings(MINIMUM, "test")
    assert (settings.overlay_port, settings.sip_port, settings.phone_port) == (6084, 5062, 5060)
    assert settings.phone_udp
    assert settings.phone_tcp
    assert settings.phone_digest == ("MD5",)


def test_what_is_written_is_read(tmp_path: Path) -> None:
    settings = make_settings(
        MINIMUM
        | {"listen": ["127.0.0.1"], "advertise": ["2001:db8::1"], "domains": ['odd "näme"\\'], "phone_udp": False},
        "test",
    )
    assert load_settings(written(tmp_path, write_settings(settings))) == settings


def test_every_setting_is_written_with_a_comment_above_its_group() -> None:
    text = write_settings(make_settings(MINIMUM, "test"))
    for field in PeerSettings.__struct_fields__:
        assert f"\n{field} = " in text
    for block in text.strip().split("\n\n")[1:]:
        assert block.startswith("# ")


def test_flags_go_before_the_file(tmp_path: Path) -> None:
    directory = written(tmp_path, 'name = "garden"\noverlay_port = 7000\nfingerprint = "' + "a" * 64 + '"\n')
    assert load_settings(directory).overlay_port == 7000
    settings = load_settings(directory, {"overlay_port": 7001, "sip_port": None, "listen": ["::1"]})
    assert (settings.overlay_port, settings.sip_port, settings.listen) == (7001, 5062, ("::1",))


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("overlay_port = 70000", "overlay_port: write a number from 1 to 65535"),
        ("sip_port = 0", "sip_port: write a number from 1 to 65535"),
        ("sip_port = 6084", "overlay_port and sip_port are both 6084"),
        ("phone_port = 5061", "phones have TLS on the port after phone_port, and 5062 is overlay_port or sip_port"),
        ("phone_port = 65535", "phones have TLS on the port after phone_port, which is none"),
        ('relay = "maybe"', "relay: write "),
        ("relay_allocations = 0", "relay_allocations: write a number from 1 to 4096"),
        ("relay_kbit_s = 1", "relay_kbit_s: write a number from 64 to 10000000"),
        ("relay_member_kbit_s = 20000", "relay_member_kbit_s 20000 is more than relay_kbit_s 10000"),
        ('role = "boss"', "role: write auto or client or peer or router"),
        *((f'role = "{role}"\nfirst = true', "a client never begins an overlay") for role in ("client", "auto")),
        ('role = "router"\nfirst = true', "a router never begins an overlay"),
        ("shed_disk_percent = 41", "shed_disk_percent: write a number from 0 to 40"),
        ('role = "client"\nlend_storage = "64 M"', "lend_storage: '64 M' is no size: write one as \"64MB\""),
        ('borrow_storage = "64 bytes"', "borrow_storage: '64 bytes' is no size"),
        ('lend_storage = "64MB"', 'lend_storage is for a client, which lends its peer room, and role is "peer"'),
        ('role = "router"\nlend_storage = "1GB"', "lend_storage is for a client"),
        ("shed_load_percent = -1", "shed_load_percent: write a number from 0 to 10000"),
        ('relay = "yes"\nlinks = ["TLS"]', 'relay is "yes", which takes links over DTLS'),
        (
            'media_engine = "2223"',
            "media_engine: '2223' is no IP address and port: write what rtpengine has as its listen",
        ),
        ('media_engine = "localhost:2223"', 'as "127.0.0.1:2223"'),
        ('media_engine = "127.0.0.1:222x"', "media_engine: '127.0.0.1:222x' is no IP address and port"),
        ('media_engine = "127.0.0.1:0"', "media_engine: '127.0.0.1:0' is no IP address and port"),
        ("media_engine = 2223", "media_engine: write "),
        ('other_domains = "yes"', "other_domains: write both or closed or in or out"),
        ("other_domains = true", "other_domains: write both or closed or in or out"),
        ('shared_domains = ["example.org"]', 'set other_domains to "out" or "both"'),
        ('guests = "192.168.7.0/24"', "guests: write a list of networks"),
        ('guests = ["phones"]', "guests: 'phones' is no network: write one as 192.168.7.0/24, or an address"),
        ('guests = ["192.168.7.1/24"]', "is an address within 192.168.7.0/24: write that, or the address alone"),
        ('neighbours = ["club-c.example"]', "is no domain with its server: write DOMAIN=ADDRESS"),
        ('neighbours = ["club-c.example=hill"]', "is no domain with its server: write DOMAIN=ADDRESS"),
        ('neighbours = ["=10.0.0.1"]', "is no domain with its server: write DOMAIN=ADDRESS"),
        ('name_server = "dns.example"', "name_server: 'dns.example': give the IP address, not a name"),
        ("name_server = 1", 'name_server: write an IP address, as "192.168.7.1"'),
        ("domain_anchors = 1", "domain_anchors: write the name of a file, in quotes"),
        ('media_engine = "127.0.0.1"\nmedia = "direct"', 'calls that go through this peer, and media is "direct"'),
        ('phone_key = "x.key"', "phone_certificate and phone_key go together"),
        ("phone_digest = []", 'phone_digest needs "MD5", "SHA-256", or both'),
        ('phone_digest = ["MD5", "MD5"]', "each once and the preferred one first"),
        ('phone_digest = ["SHA-1"]', "phone_digest"),
        ('phone_digest = "SHA-256"', r'phone_digest: write a list of MD5 or SHA-256: phone_digest = \["SHA-256"\]'),
        ("phone_port = 5062", "phone_port 5062 is overlay_port or sip_port as well"),
        ('overlay_port = "6084"', "overlay_port: write a number from 1 to 65535"),
        ("overlay_prot = 1", "there is no setting overlay_prot"),
        ('listen = ["here"]', "'here' is not an IP address"),
        ("listen = []", "at least one address"),
        (
            "phone_ws = true\nphone_port = 6000\noverlay_port = 6006",
            "phone_ws is on the port 6 after phone_port, and 6006 is overlay_port or sip_port",
        ),
        (
            "phone_wss = true\nphone_port = 5055",
            "phone_wss is on the port 7 after phone_port, and 5062 is overlay_port",
        ),
        (
            "phone_wss = true\nphone_tls = false\nphone_port = 65530",
            "phone_wss is on the port 7 after phone_port, which is none: change one of them, or set phone_wss to false",
        ),
        ('phone_web_origins = ["phone.example"]', "phone_web_origins: 'phone.example' is not what a browser calls"),
        ('phone_web_origins = ["https://phone.example/"]', 'as "https://phone.example" or'),
        ('phone_web_origins = ["null"]', "'null' is not what a browser calls a page's origin, but what it says of any"),
        ('phone_web_origins = ["wss://phone.example"]', "since pages come by https or http"),
        ('phone_web_origins = ["https://phone.example:443"]', "which leaves out the port that https has anyway"),
        ('phone_web_origins = ["HTTP://phone.example:80"]', "which leaves out the port that http has anyway"),
        ('phone_web_origins = ["https://phone.example:65536"]', "since there is no such port"),
        ('phone_web_origins = "https://phone.example"', "phone_web_origins: write a list of addresses of web pages"),
        ("phone_udp = false\nphone_tcp = false\nphone_tls = false", "phone_udp, phone_tcp or phone_tls"),
        ('log_level = "loud"', "log_level: write debug or error or info or warning"),
        ('watchers = ["bob@club.example"]', "watchers: 'bob@club.example' says not who may watch: write a user name"),
        ('watchers = "bob"', 'watchers: write a list of who may watch, as "reception"'),
        ('watchers = ["carol>"]', "watchers: 'carol>' says not who may watch"),
        ('watchers = ["carol->bob"]', "watchers: 'carol->bob' says not who may watch"),
        ('watchers = ["carol, dora"]', "watchers: 'carol, dora' says not who may watch"),
        ('links = "UDP"', "links: write a list of DTLS or TLS"),
        ("first = 1", "first: write true or false"),
        ("listen", "Expected '=' after a key"),
    ],
)
def test_mistakes_are_named_in_one_line(tmp_path: Path, line: str, what: str) -> None:
    directory = written(tmp_path, f'name = "garden"\nfingerprint = "{"a" * 64}"\n{line}\n')
    with pytest.raises(LocalMisuse, match=what) as caught:
        load_settings(directory)
    assert "peer.toml" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("lines", "what"),
    [
        ("phone_tls = yes", "line 3 has 'phone_tls = yes'; phone_tls: write true or false: phone_tls = true"),
        ("first = No  # not me", "line 3 has 'first = No  # not me'; first: write true or false: first = false"),
        ("first = maybe", "line 3 has 'first = maybe'; first: write true or false"),
        ("first = 'true'", """line 3 has "first = 'true'"; first: write true or false"""),
        ("phone_key = /etc/p2psip.key", """phone_key: write text in quotes: phone_key = "/etc/p2psip.key\""""),
        ("phone_key = \u201c/a b\u201d", """phone_key: write text in quotes: phone_key = "/a b\""""),
        ('phone_key = "/a', """phone_key: write text in quotes: phone_key = "/a\""""),
        ("log_level = debug", """log_level: write debug or error or info or warning: log_level = "debug\""""),
        ("listen = 127.0.0.1", """listen: write a list of IP addresses: listen = ["127.0.0.1"]"""),
        ("links = TLS, DTLS", """links: write a list of DTLS or TLS: links = ["TLS", "DTLS"]"""),
        ("overlay_port = 6084 tcp", "overlay_port: write a number from 1 to 65535"),
        ("first = true\n\nfirst = false", "line 5 has 'first = false', and first is in line 3 already: leave one"),
        (
            "phone-port = 5070",
            "line 3 has 'phone-port = 5070'; there is no setting phone-port; did you mean phone_port?",
        ),
        ("phone_tsl = yes", "there is no setting phone_tsl; did you mean phone_tls?"),
        ("colour = 1", "there is no setting colour"),
        ("[phones]\nphone_port = 5070", "there is no section phones: leave it out, all settings stand without one"),
        ("first", "line 3 has 'first': Expected '=' after a key in a key/value pair; write first = "),
        ("first: true", "line 3 has 'first: true': Expected '=' after a key"),
        ('listen = [\n"::1"\n"127.0.0.1"]', "line 5 has '\"127.0.0.1\"\\]': Unclosed array"),
    ],
)
def test_a_mistake_is_shown_and_so_is_what_to_write(tmp_path: Path, lines: str, what: str) -> None:
    """In the terms of this file, not of TOML, of which whoever edits it need not have heard."""
    directory = written(tmp_path, f'name = "garden"\nfingerprint = "{"a" * 64}"\n{lines}\n')
    with pytest.raises(LocalMisuse) as caught:
        load_settings(directory)
    assert what.replace("\\]", "]") in str(caught.value)
    assert str(caught.value).startswith(f"{directory}/peer.toml: ")
    assert "\n" not in str(caught.value)


def test_what_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(LocalMisuse, match="there is no fingerprint in it: write fingerprint = the 64 hex digits"):
        load_settings(written(tmp_path, 'name = "garden"\n'))


@pytest.mark.parametrize("name", ["", "Garden", "a b", "x" * 57, "-x"])
def test_names_that_a_peer_cannot_have(name: str) -> None:
    with pytest.raises(LocalMisuse, match="name"):
        make_settings(MINIMUM | {"name": name}, "test")


def test_other_directories(tmp_path: Path) -> None:
    with pytest.raises(LocalMisuse, match="is not the state directory of a peer"):
        load_settings(tmp_path)
    (tmp_path / "peer.toml").write_bytes(b"\xff")
    with pytest.raises(LocalMisuse, match=r"peer\.toml"):
        load_settings(tmp_path)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("", None),
        ("127.0.0.1", ("127.0.0.1", 2223)),
        ("192.0.2.7:22222", ("192.0.2.7", 22222)),
        ("[::1]:2224", ("::1", 2224)),
        ("::1", ("::1", 2223)),
    ],
)
def test_a_media_engine_is_an_address_and_a_port(text: str, address: tuple[str, int] | None) -> None:
    assert make_settings(MINIMUM | {"media_engine": text}, "test").media_engine_address == address
