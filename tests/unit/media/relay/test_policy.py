"""When media is anchored, and where."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psip.media.relay.policy import CallEnd, MediaSetting, MediaWay, way_of

HILL, VALLEY = "hill", "valley"
SITE = "203.0.113.5"


def phone(named: str | None, seen: str | None = None, peer: str = HILL, site: str | None = None) -> CallEnd:
    return CallEnd(named, seen or named or "", peer, site)


NEAR = [
    ("two on one LAN", phone("192.168.1.20"), phone("192.168.1.21")),
    ("one whose SDP is not there yet", phone(None, "192.168.1.20"), phone("192.168.1.21")),
    ("both behind one NAT within the site", phone("10.0.0.7", "192.168.1.50"), phone("10.0.0.8", "192.168.1.50")),
    (
        "at two peers of one site",
        phone("192.168.1.20", site=SITE),
        phone("192.168.1.21", peer=VALLEY, site=SITE),
    ),
    ("both in the open", phone("198.18.0.1"), phone("198.18.0.9")),
    ("both in the open, far away", phone("8.8.8.8"), phone("9.9.9.9", peer=VALLEY)),
    ("IPv6 at two sites", phone("2a00::1"), phone("2a01::1", peer=VALLEY)),
]
FAR = [
    ("two networks of one site", phone("192.168.1.20"), phone("192.168.2.20")),
    ("IPv4 and IPv6", phone("192.168.1.20"), phone("2a00::1")),
    ("the same private network at two sites", phone("192.168.1.20"), phone("192.168.1.21", peer=VALLEY)),
    (
        "the same, as both are known",
        phone("192.168.1.20", site=SITE),
        phone("192.168.1.21", peer=VALLEY, site="8.8.8.8"),
    ),
    ("one behind a NAT within the site", phone("10.0.0.7", "192.168.1.50"), phone("192.168.1.21")),
    ("behind two NATs of one site", phone("10.0.0.7", "192.168.1.50"), phone("10.0.0.8", "192.168.1.51")),
    ("a public address behind a NAT", phone("8.8.8.8", "192.168.1.50"), phone("9.9.9.9", peer=VALLEY)),
    ("link-local at two sites", phone("fe80::1", "fe80::1%eth0"), phone("fe80::2", "fe80::2%eth0", VALLEY)),
    ("one on hold from the beginning", phone("0.0.0.0", "8.8.8.8"), phone("9.9.9.9")),
]


@pytest.mark.parametrize(("one", "other"), [pytest.param(*case[1:], id=case[0]) for case in NEAR])
def test_who_reaches_each_other_is_left_alone(one: CallEnd, other: CallEnd) -> None:
    assert way_of("auto", one, other).way is MediaWay.DIRECT
    assert way_of("auto", other, one).way is MediaWay.DIRECT


@pytest.mark.parametrize(("one", "other"), [pytest.param(*case[1:], id=case[0]) for case in FAR])
def test_who_does_not_is_anchored_at_one_peer_or_at_both(one: CallEnd, other: CallEnd) -> None:
    expected = MediaWay.HERE if one.peer == other.peer else MediaWay.PATH
    assert way_of("auto", one, other).way is expected
    assert way_of("auto", other, one).way is expected


def test_the_reason_is_in_words() -> None:
    assert way_of("auto", phone("192.168.1.20"), phone("2a00::1")).reason == "one has IPv4, the other IPv6"
    verdict = way_of("auto", phone("8.8.8.8", "192.168.1.50"), phone("9.9.9.9"))
    assert verdict.reason == "8.8.8.8 is behind a NAT, and comes from 192.168.1.50"


hosts = st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)).map(str)
ends = st.builds(CallEnd, st.none() | hosts, hosts, st.sampled_from([HILL, VALLEY]), st.none() | hosts, st.booleans())


@given(st.sampled_from(["direct", "anchor", "auto"]), ends, ends)
def test_both_see_it_alike_and_the_settings_hold(setting: MediaSetting, one: CallEnd, other: CallEnd) -> None:
    verdict = way_of(setting, one, other)
    assert verdict.way is way_of(setting, other, one).way
    if one.is_agent or other.is_agent or setting == "direct":
        assert verdict.way is MediaWay.DIRECT
    elif setting == "anchor":
        assert verdict.way is (MediaWay.HERE if one.peer == other.peer else MediaWay.PATH)
    assert (verdict.way is MediaWay.PATH) <= (one.peer != other.peer)
    assert verdict.reason
