"""Keys and certificates in files: what is wrong with one is said with its name."""

from __future__ import annotations

from pathlib import Path

from p2psip.base.errors import LocalMisuse
from p2psip.net.files import read_file
from p2psip.reload.security.certificates import chain_from_pem
from p2psip.reload.security.keys import PrivateKey, key_from_pem


def read_key(path: Path) -> PrivateKey:
    """The private key in a file. Raises LocalMisuse."""
    pem = read_file(path)
    try:
        return key_from_pem(pem)
    except LocalMisuse as error:
        raise LocalMisuse(f"{path}: {error}") from None


def read_chain(path: Path) -> list[bytes]:
    """The certificates in a file, in DER. Raises LocalMisuse."""
    pem = read_file(path)
    try:
        return chain_from_pem(pem)
    except LocalMisuse as error:
        raise LocalMisuse(f"{path}: {error}") from None
