"""Keys and certificates in files: what is wrong with one is said with its name."""

from __future__ import annotations

import codecs
from pathlib import Path

from p2psip.base.errors import LocalMisuse
from p2psip.net.disk.files import read_file, text_of
from p2psip.reload.security.certificates import chain_from_pem
from p2psip.reload.security.keys import PrivateKey, key_from_pem


def read_key(path: Path) -> PrivateKey:
    """The private key in a file. Raises LocalMisuse."""
    try:
        return key_from_pem(_pem(path))
    except LocalMisuse as error:
        raise LocalMisuse(f"{path}: {error}") from None


def read_chain(path: Path) -> list[bytes]:
    """The certificates in a file, in DER. Raises LocalMisuse."""
    try:
        return chain_from_pem(_pem(path))
    except LocalMisuse as error:
        raise LocalMisuse(f"{path}: {error}") from None


def _pem(path: Path) -> bytes:
    """In whatever an editor saved it; what is no text is for who reads PEM to refuse."""
    data = read_file(path)
    return text_of(data, path).encode() if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else data
