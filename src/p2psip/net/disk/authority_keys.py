"""Where the key of an enrollment server's authority is: in anchor.key, encrypted there, in a token, or not here.

The public half of what is encrypted or in a token is in anchor.crt, so that nobody is asked for a password, nor is the
token, before something is signed.
"""

from __future__ import annotations

import getpass
import os
import sys
import threading
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from p2psip.base.errors import LocalMisuse
from p2psip.enrollment.passwords import as_made_up
from p2psip.net.disk.enrollment_file import OFFLINE, EnrollmentFile
from p2psip.net.disk.files import PRIVATE, read_file, read_text, write_file
from p2psip.net.disk.pem_files import read_key
from p2psip.net.disk.token_keys import TOKEN_SCHEME, KeyPlace, TokenKey
from p2psip.reload.security.certificates import X509_ERRORS
from p2psip.reload.security.keys import PrivateKey, PublicKey, key_from_pem, sign, usable
from p2psip.reload.security.signing_keys import IssuerKey, SigningFailed

_ENCRYPTED = b"ENCRYPTED"
"""What PEM says of it, in its first lines."""


class LockedKey:
    """A key in an encrypted file, which is opened at its first signature."""

    def __init__(self, path: Path, public: PublicKey, password_file: str) -> None:
        self._path = path
        self._public = public
        self._password_file = password_file
        self._key: PrivateKey | None = None
        self._lock = threading.Lock()

    def public_key(self) -> PublicKey:
        """Its public half."""
        return self._public

    def sign(self, data: bytes) -> bytes:
        """The signature of `data`. Raises LocalMisuse if the file cannot be opened."""
        with self._lock:
            if self._key is None:
                self._key = self._opened()
        return sign(self._key, data)

    def _opened(self) -> PrivateKey:
        password = secret_of(self._password_file, f"Password of {self._path}")
        try:
            key = key_from_pem(read_file(self._path), password.encode())
        except LocalMisuse as error:
            raise LocalMisuse(f"{self._path}: {error}") from None
        if key.public_key() != self._public:
            raise LocalMisuse(f"{self._path} is not the key of anchor.crt")
        return key


class AbsentKey:
    """A key that is kept where no network reaches it: nothing is signed here."""

    def __init__(self, public: PublicKey) -> None:
        self._public = public

    def public_key(self) -> PublicKey:
        """Its public half."""
        return self._public

    def sign(self, data: bytes) -> bytes:
        """Raises SigningFailed."""
        raise SigningFailed("the key is elsewhere: `p2psip enrollment requests` collects what is to be signed")


def authority_key(directory: Path, said: EnrollmentFile, certificate: bytes) -> IssuerKey:
    """The key to the certificate of a directory. Raises LocalMisuse."""
    path = directory / "anchor.key"
    if not said.key:
        pem = read_file(path)
        if _ENCRYPTED not in pem:
            return read_key(path)
        return LockedKey(path, _public(directory, certificate), said.key_password_file)
    public = _public(directory, certificate)
    if said.key == OFFLINE:
        return AbsentKey(public)
    if said.key.startswith(TOKEN_SCHEME):
        return token_key(said.key, public, said.key_password_file)
    raise LocalMisuse(f'{directory}: key = "{said.key}" is neither "{OFFLINE}" nor that of a token, {TOKEN_SCHEME}...')


def token_key(uri: str, public: PublicKey | None, password_file: str) -> TokenKey:
    """The key that an address (RFC 7512) leads to; without `public` it is asked for that. Raises LocalMisuse."""
    place = KeyPlace.parse(uri)
    return TokenKey(place, lambda: secret_of(password_file, f"PIN of the token {place.token}"), public)


def secret_of(file: str, prompt: str) -> str:
    """The first line of a file (with $CREDENTIALS_DIRECTORY and the like in its name), or what somebody types."""
    if file:
        path = Path(os.path.expandvars(file))
        first, *_ = read_text(path).splitlines() or [""]
        if not (secret := first.strip()):
            raise LocalMisuse(f"{path} holds nothing in its first line")
        return as_made_up(secret)
    if not sys.stdin.isatty():
        raise LocalMisuse(f'{prompt}: write it into a file, and key_password_file = "FILE" into enrollment.toml')
    return as_made_up(getpass.getpass(f"{prompt}: "))


def encrypt_key(directory: Path, password: str) -> None:
    """Write anchor.key anew, encrypted (PKCS#8). Raises LocalMisuse if it is already, or is not there."""
    path = directory / "anchor.key"
    if _ENCRYPTED in read_file(path):
        raise LocalMisuse(f"{path} is encrypted already: `openssl pkey -in {path}` decrypts it")
    locked = serialization.BestAvailableEncryption(password.encode())
    pem = read_key(path).private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, locked)
    write_file(path, pem, PRIVATE)


def _public(directory: Path, certificate: bytes) -> PublicKey:
    try:
        key = usable(x509.load_pem_x509_certificate(certificate).public_key())
    except X509_ERRORS:
        key = None
    if key is None:
        raise LocalMisuse(f"{directory / 'anchor.crt'} cannot be read")
    return key
