"""What phones are shown over TLS, what they have to trust for it, and whom we trust (RFC 3261 section 26.2.1)."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from OpenSSL import SSL

from p2psip.base.errors import LocalMisuse
from p2psip.daemon.state.state import PeerState
from p2psip.net.disk.home import in_home
from p2psip.net.disk.pem_files import read_chain, read_key
from p2psip.net.sockets.phone_tls import CertificateAndKey, domain_context, server_context
from p2psip.reload.security.certificates import chain_to_pem


class PhoneCertificate:
    """The peer's own certificate, or the one in the operator's files, which others renew."""

    def __init__(self, state: PeerState) -> None:
        self._files = _files_of(state) if state.settings.shows_phones_certificate else ()
        self._used = self._seen = self._look()
        self._valid: tuple[datetime, datetime] | None = None

    def context(self, state: PeerState, keylog: Callable[[bytes], None] | None) -> SSL.Context:
        """To show phones what there is now. Raises LocalMisuse, in one line that names the file."""
        self._used = self._seen = self._look()
        if not self._files:
            return server_context(state.identity.chain, state.identity.key, keylog)
        chain, key = self._files
        try:
            certificates = read_chain(chain)
            context = server_context(certificates, read_key(key), keylog)
        except CertificateAndKey as error:
            raise LocalMisuse(f"phones have no TLS: {chain} and {key}: {error}") from None
        except LocalMisuse as error:
            raise LocalMisuse(f"phones have no TLS: {error}") from None
        shown = x509.load_der_x509_certificate(certificates[0])
        self._valid = shown.not_valid_before_utc, shown.not_valid_after_utc
        return context

    def out_of_date(self, date: float) -> str | None:
        """What phones will not like on this day about the operator's certificate; said once of each."""
        if self._valid is None:
            return None
        begins, ends = self._valid
        at = datetime.fromtimestamp(date, UTC)
        if begins <= at <= ends:
            return None
        self._valid = None
        return f"it has ended on {ends:%Y-%m-%d}" if at > ends else f"it begins on {begins:%Y-%m-%d}"

    def has_changed(self) -> bool:
        """True if the files are others than those last used, and the same as at the last look: both are written."""
        before, self._seen = self._seen, self._look()
        return self._seen != self._used and self._seen == before

    def _look(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_signature(path) for path in self._files)


def to_trust(state: PeerState) -> bytes:
    """The certificates, in PEM, of which a phone has to trust one. Raises LocalMisuse if they are not here."""
    if not (files := _files_of(state)):
        # Where members make their own certificates, nobody vouches for this one but itself.
        return chain_to_pem(state.configuration.root_certs or state.identity.chain)
    path, _ = files
    der = read_chain(path)[-1]
    last = x509.load_der_x509_certificate(der)
    if last.subject != last.issuer:
        issuer = last.issuer.rfc4514_string()
        raise LocalMisuse(f"{path} was issued by {issuer}, which phones have to trust, and which is not in there")
    return chain_to_pem([der])


def domains_trusted(state: PeerState) -> SSL.Context:
    """To connect to other domains: whom this machine trusts, and whom the operator has named. Raises LocalMisuse."""
    file = state.settings.domain_anchors
    return domain_context(read_chain(state.directory / in_home(file)) if file else [])


def _files_of(state: PeerState) -> tuple[Path, ...]:
    """The operator's certificate and key, if there are any: as an operator names files, from the state directory."""
    settings = state.settings
    named = (settings.phone_certificate, settings.phone_key) if settings.phone_certificate else ()
    return tuple(state.directory / in_home(name) for name in named)


def _signature(path: Path) -> tuple[int, int, int] | None:
    """Of a file as it is now; None while there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
