"""Documents and kind-blocks from anybody: a value or the one error, whatever the bytes."""

from __future__ import annotations

import random
from functools import cache

import pytest
from effort import times
from hypothesis import given, settings
from hypothesis import strategies as st

from p2psip.reload.config.document import parse
from p2psip.reload.config.errors import ConfigurationError
from p2psip.reload.config.kind_blocks import kind_block, parse_kind_block
from p2psip.reload.config.signatures import verify_update
from p2psip.reload.config.write import build, draft
from p2psip.sim.membership import DATE, Club, founding


@cache
def specimens() -> list[bytes]:
    """A document, a draft and a kind-block that are right."""
    raw = build(founding().configuration, founding().signer)
    return [raw, draft(founding().configuration), kind_block(parse(raw).kinds[0])]


def read(raw: bytes) -> None:
    """All that reads such bytes."""
    for reader in (parse, parse_kind_block):
        try:
            reader(raw)
        except ConfigurationError:
            continue


@settings(max_examples=times(100))
@given(st.binary(max_size=300))
def test_any_bytes(raw: bytes) -> None:
    read(raw)


@pytest.mark.parametrize("which", range(3))
def test_damaged_bytes(which: int) -> None:
    raw, rng = specimens()[which], random.Random(which)
    pieces = [b"<", b">", b"</kind>", b"<kind>", b"&", b"]]>", b"<!--", b"<?", b"\x00", b"\xff", b'"', b"xmlns:x="]
    club = Club.of()
    for _ in range(times(200)):
        damaged = bytearray(raw)
        for _ in range(rng.randrange(1, 5)):
            at = rng.randrange(len(damaged))
            what = rng.randrange(3)
            if what == 0:
                damaged[at] = rng.randrange(256)
            elif what == 1:
                damaged[at:at] = rng.choice(pieces)
            else:
                del damaged[at : at + rng.randrange(60)]
        read(bytes(damaged))
        try:
            update = parse(bytes(damaged))
        except ConfigurationError:
            continue
        # Nothing that is damaged is newer, let alone signed.
        with pytest.raises(ConfigurationError):
            verify_update(club.configuration, update, club.verifier, DATE, True)
