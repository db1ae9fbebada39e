"""What is encrypted between two entities, against AES, zlib and RSA used by hand."""

from __future__ import annotations

import os
import random
import zlib

import pytest
from dundi_bench import keys, pair
from fake_asterisk import DPDISCOVER, OAEP, decrypted, encrypted, ie

from p2psip.dundi.elements import CALLED_NUMBER, ENCRYPTED
from p2psip.dundi.message import CommandCode, NotDundi, Said
from p2psip.dundi.session_keys import SessionKey, make_session_key

KEY = SessionKey(bytes(range(16)), b"", b"")


def value(data: bytes) -> bytes:
    """Of an ENCDATA that was written by hand."""
    return encrypted(KEY.key, data)[2:]


def test_what_the_other_side_encrypts_is_read() -> None:
    said = KEY.decrypt(value(bytes((DPDISCOVER, 0)) + ie(3, "4930555")))
    assert (said.command, CALLED_NUMBER.last(said)) == (CommandCode.DPDISCOVER, "4930555")


def test_what_is_encrypted_here_the_other_side_reads() -> None:
    """From the command on, compressed, filled up to whole blocks with zeros, each time with another vector."""
    said = Said(CommandCode.DPRESPONSE, (CALLED_NUMBER.of("4930555"),), is_final=True)
    rng = random.Random(1)
    first, second = KEY.encrypt(said, rng), KEY.encrypt(said, rng)
    assert first != second
    assert decrypted(KEY.key, first) == decrypted(KEY.key, second) == bytes((0xC2, 0)) + ie(3, "4930555")
    assert ENCRYPTED.form.read(first) == first


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (bytes((DPDISCOVER, 0)) + bytes(8191), "too long, or breaks off"),
        (bytes(5_000_000), "too long, or breaks off"),
        (b"\1", "1 bytes from the command on"),
        (b"\1\0\3", "an element that breaks off"),
    ],
)
def test_what_was_encrypted_and_is_no_message_is_one_error(data: bytes, why: str) -> None:
    """However much it would expand to: nobody holds more of it than a message may have."""
    with pytest.raises(NotDundi, match=why):
        KEY.decrypt(value(data))


def test_what_was_encrypted_with_another_key_is_one_error() -> None:
    for number in range(50):
        with pytest.raises(NotDundi):
            KEY.decrypt(bytes((number,)) * 16 + os.urandom(64))


def test_a_key_is_told_as_asterisk_reads_it() -> None:
    own = keys(is_encrypted=True)
    assert own is not None
    made = make_session_key(own, random.Random(1))
    assert pair("theirs").decrypt(made.encrypted, OAEP) == made.key
    assert (len(made.encrypted), len(made.signature)) == (128, 128)
    assert made.crc32 == zlib.crc32(made.encrypted)
    assert "key=" not in repr(made).replace("encrypted=", "")
