"""Bencoding, both ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psip.media.relay.rtpengine.bencode import DEPTH_MAX, MalformedBencode, decode, encode

TEXTS = st.text() | st.binary().map(lambda data: data.decode(errors="surrogateescape"))
VALUES = st.recursive(
    st.integers(-(10**18), 10**18) | TEXTS,
    lambda inner: st.lists(inner) | st.dictionaries(TEXTS, inner),
    max_leaves=20,
)


@pytest.mark.long
@given(VALUES)
def test_what_is_written_is_read(value: object) -> None:
    if _depth(value) <= DEPTH_MAX:
        assert decode(encode(value)) == value  # type: ignore[arg-type]


def _depth(value: object) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else None
    return 0 if inner is None else 1 + max(map(_depth, inner), default=0)


def test_the_bytes_are_those_of_the_page_on_bittorrent() -> None:
    assert (
        encode({"command": "ping", "list": [1, -2, "x"], "empty": {}})
        == b"d7:command4:ping4:listli1ei-2e1:xe5:emptydee"
    )


@pytest.mark.parametrize(
    ("data", "what"),
    [
        (b"", "neither a value nor its end at byte 0"),
        (b"e", "neither a value"),
        (b"x", "neither a value"),
        (b"i12", "no number at byte 0"),
        (b"ie", "no number"),
        (b"i-0e", "no number"),
        (b"i012e", "no number"),
        (b"i" + b"9" * 20 + b"e", "no number"),
        (b"5:four", "a string at byte 0 is longer than what is left"),
        (b"99999999999:x", "neither a value"),
        (b"05:fours", "neither a value"),
        (b"4:four5", "1 bytes follow the value"),
        (b"l4:four", "neither a value"),
        (b"d4:foure", "neither a value"),
        (b"di1e4:foure", "neither a value"),
        (b"l" * (DEPTH_MAX + 1), f"more than {DEPTH_MAX} deep at byte {DEPTH_MAX}"),
        (b"l" * 60_000, f"more than {DEPTH_MAX} deep"),
    ],
)
def test_what_is_none_is_refused(data: bytes, what: str) -> None:
    with pytest.raises(MalformedBencode, match=what):
        decode(data)
