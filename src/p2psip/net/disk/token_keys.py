"""Keys in a token that does not give them away (a card, a stick, an HSM): PKCS#11, and addresses as in RFC 7512."""

from __future__ import annotations

import contextlib
import hashlib
import ssl
import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils
from cryptography.hazmat.primitives.serialization import load_der_public_key

from p2psip.base.errors import LocalMisuse
from p2psip.reload.security.keys import RSA_BITS, PublicKey, usable
from p2psip.reload.security.signing_keys import SigningFailed
from p2psip.reload.wire.common import SignatureAlgorithm

TOKEN_SCHEME = "pkcs11:"
_KNOWN = ("token", "object", "module-path")
_EXAMPLE = "pkcs11:token=TOKEN;object=LABEL?module-path=/usr/lib/softhsm/libsofthsm2.so"


@dataclass(frozen=True, slots=True)
class KeyPlace:
    """Which key in which token, and which library leads there."""

    module: str
    token: str
    label: str

    @classmethod
    def parse(cls, uri: str) -> KeyPlace:
        """RFC 7512's `token` and `object`, and `module-path`. Raises LocalMisuse."""
        path, _, query = uri.removeprefix(TOKEN_SCHEME).partition("?")
        pairs = [part.partition("=") for part in [*path.split(";"), *query.split("&")] if part]
        said = {name: unquote(value) for name, _, value in pairs}
        if any(name.startswith("pin-") for name in said):
            raise LocalMisuse("a PIN stands in no address: write it into a file (key_password_file, --password-file)")
        if not uri.startswith(TOKEN_SCHEME) or set(said) != set(_KNOWN) or not all(said.values()):
            raise LocalMisuse(f"{uri!r} is no address of a key in a token: write {_EXAMPLE}")
        return cls(said["module-path"], said["token"], said["object"])


class TokenKey:
    """A key in a token. Its PIN is asked for once; a wrong one is not tried again, for tokens lock themselves."""

    def __init__(self, place: KeyPlace, pin: Callable[[], str], public: PublicKey | None = None) -> None:
        self._place = place
        self._pin = pin
        self._public = public
        self._lock = threading.Lock()
        self._key: Any = None
        self._session: Any = None
        self._secret: str | None = None
        self._refused = ""

    def public_key(self) -> PublicKey:
        """Its public half. Raises SigningFailed if the token has to be asked for it, and does not say."""
        if self._public is None:
            with self._lock:
                self._public = self._try(self._read_public)
        return self._public

    def sign(self, data: bytes) -> bytes:
        """The signature of `data` with SHA-256. Raises SigningFailed."""
        public = self.public_key()
        with self._lock:
            signature: bytes = self._try(lambda pkcs11: self._sign(pkcs11, data, public))
        return signature

    def make(self, algorithm: SignatureAlgorithm) -> bool:
        """Have the token make it, unless it is there; True if it was made. Raises SigningFailed."""
        with self._lock:
            return bool(self._try(lambda pkcs11: self._make(pkcs11, algorithm)))

    def _sign(self, pkcs11: Any, data: bytes, public: PublicKey) -> bytes:
        if self._key is None:
            self._key = self._open(pkcs11).get_key(pkcs11.ObjectClass.PRIVATE_KEY, label=self._place.label)
        if isinstance(public, rsa.RSAPublicKey):
            return bytes(self._key.sign(data, mechanism=pkcs11.Mechanism.SHA256_RSA_PKCS))
        # Every token signs a digest; not every one makes it. PKCS#11 has r and s, one after the other.
        raw = bytes(self._key.sign(hashlib.sha256(data).digest(), mechanism=pkcs11.Mechanism.ECDSA))
        half = len(raw) // 2
        return utils.encode_dss_signature(int.from_bytes(raw[:half], "big"), int.from_bytes(raw[half:], "big"))

    def _read_public(self, pkcs11: Any) -> PublicKey:
        found = self._open(pkcs11).get_key(pkcs11.ObjectClass.PUBLIC_KEY, label=self._place.label)
        is_rsa = found.key_type is pkcs11.KeyType.RSA
        encode = pkcs11.util.rsa.encode_rsa_public_key if is_rsa else pkcs11.util.ec.encode_ec_public_key
        key = usable(load_der_public_key(encode(found)))
        if key is None:
            raise LocalMisuse(f"{self._place.label}: the key must be ECDSA on P-256 or RSA of 2048 to 4096 bits")
        return key

    def _make(self, pkcs11: Any, algorithm: SignatureAlgorithm) -> bool:
        session, label = self._open(pkcs11, is_writer=True), self._place.label
        try:
            session.get_key(pkcs11.ObjectClass.PRIVATE_KEY, label=label)
        except pkcs11.NoSuchKey:
            pass
        else:
            return False
        attribute = pkcs11.Attribute
        options = {
            "label": label,
            "id": hashlib.sha256(label.encode()).digest()[:8],
            "store": True,
            "private_template": {attribute.SENSITIVE: True, attribute.EXTRACTABLE: False},
        }
        if algorithm is SignatureAlgorithm.RSA:
            session.generate_keypair(pkcs11.KeyType.RSA, RSA_BITS, **options)
        else:
            curve = {attribute.EC_PARAMS: pkcs11.util.ec.encode_named_curve_parameters(ec.SECP256R1.name)}
            session.create_domain_parameters(pkcs11.KeyType.EC, curve, local=True).generate_keypair(**options)
        # What was opened to write is not kept.
        self._close()
        return True

    def _open(self, pkcs11: Any, *, is_writer: bool = False) -> Any:
        if self._session is None:
            if self._secret is None:
                self._secret = self._pin()
            token = pkcs11.lib(self._place.module).get_token(token_label=self._place.token)
            try:
                self._session = token.open(rw=is_writer, user_pin=self._secret)
            except pkcs11.UserAlreadyLoggedIn:
                # By another key of the same token: one login is for all that a process does there.
                self._session = token.open(rw=is_writer)
        return self._session

    def _close(self) -> None:
        session, self._session, self._key = self._session, None, None
        if session is not None:
            session.close()

    def _try(self, work: Callable[[Any], Any]) -> Any:
        """Once more with a new session: a token that was pulled out and is back has forgotten the old one."""
        try:
            import pkcs11
        except ImportError:
            raise LocalMisuse("for keys in tokens install p2psip[pkcs11]: pip install 'p2psip[pkcs11]'") from None
        if self._refused:
            raise SigningFailed(self._refused)
        for is_last in (False, True):
            try:
                return work(pkcs11)
            except (pkcs11.PinIncorrect, pkcs11.PinLocked, pkcs11.PinInvalid, pkcs11.PinLenRange) as error:
                self._refused = self._words(error)
                raise SigningFailed(self._refused) from None
            except RuntimeError as error:
                # What PKCS#11 says, and that its library cannot be loaded.
                self._forget(pkcs11)
                if is_last:
                    raise SigningFailed(self._words(error)) from None
            finally:
                _forget_errors_of_openssl()
        raise AssertionError("it has returned or raised")

    def _forget(self, pkcs11: Any) -> None:
        # Nothing of the old session is of use any more, not even its end; and some libraries find a token that is back
        # only when they begin anew.
        with contextlib.suppress(pkcs11.PKCS11Error):
            self._close()
        with contextlib.suppress(RuntimeError):
            pkcs11.lib(self._place.module).reinitialize()

    def _words(self, error: Exception) -> str:
        said = " ".join(str(error).split())
        return f"the token {self._place.token} ({self._place.module}): {type(error).__name__}{said and f', {said}'}"


def _forget_errors_of_openssl() -> None:
    """What a token's library leaves in this thread's queue, as SoftHSM does when it is loaded, the next call of `ssl`
    would take for its own. Of all of `ssl` this empties it, and says so by an error of its own.
    """
    with contextlib.suppress(ssl.SSLError):
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).set_ciphers("none")
