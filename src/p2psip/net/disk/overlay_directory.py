"""The directory of an overlay's administrator: trust anchor, configuration signer, document, accounts.

anchor.key  anchor.crt   the trust anchor; who has the key can make members. It may be encrypted, or in a token
signer.key  signer.crt   the first administrator as configuration signer
config.xml               the signed configuration document
draft.xml                the next one, not signed yet, if there is one
accounts.db              accounts, and which Node-IDs are whose; not where members make their own certificates
enrollment.toml          where accounts and key are, if not there (`enrollment_file`)
enrollment.lock          is held by an enrollment server that runs
server.pem               key and certificate of the HTTPS server, made anew at each start
"""

from __future__ import annotations

import contextlib
import difflib
import fcntl
import os
import random
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId
from p2psip.enrollment.accounts import Account, HeldNode, Issue, StoreFailed
from p2psip.enrollment.admission import Revocation
from p2psip.enrollment.asked.offline import (
    CertificatesFile,
    F,
    RequestsFile,
    check_returned,
    read_carried,
    sign_collected,
)
from p2psip.enrollment.founding import Founding, revised
from p2psip.net.disk.authority_keys import authority_key, encrypt_key, token_key
from p2psip.net.disk.enrollment_file import OFFLINE, EnrollmentFile, read_enrollment, write_enrollment
from p2psip.net.disk.files import PRIVATE, read_file, write_document, write_file
from p2psip.net.disk.pem_files import read_chain, read_key
from p2psip.net.disk.token_keys import TokenKey
from p2psip.reload.config.configuration import Kind, OverlayConfiguration
from p2psip.reload.config.document import Document, parse
from p2psip.reload.config.errors import ConfigurationError
from p2psip.reload.config.kind_blocks import kind_block
from p2psip.reload.config.sequence import next_sequence
from p2psip.reload.config.write import draft, kind_document
from p2psip.reload.security.authority import ANCHOR_LIFETIME_S, TrustAnchor, Validity
from p2psip.reload.security.certificates import chain_to_pem
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.reload.security.keys import PrivateKey, algorithm_of, generate_key, key_to_pem, public_key_hash
from p2psip.reload.wire.common import SignatureAlgorithm

if TYPE_CHECKING:
    from p2psip.net.accounts.account_database import AccountDatabase

DOCUMENT = "config.xml"
DRAFT = "draft.xml"
ACCOUNTS = "accounts.db"
ANCHOR = "anchor.crt"
ANCHOR_KEY = "anchor.key"
SIGNER_KEY = "signer.key"
SERVER = "server.pem"
SERVING = "enrollment.lock"
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "::1")
BACKUP_MAX = 1 << 30
CARRIED_MAX = 64 << 20
"""Of a file with requests or certificates: some ten thousand."""


class OverlayDirectory:
    """One such directory."""

    def __init__(self, path: Path) -> None:
        # A peer's state directory has a configuration document as well, and no trust anchor.
        if not ((path / DOCUMENT).is_file() and (path / ANCHOR).is_file()):
            raise LocalMisuse(
                f"{path.absolute()} is not the directory of an overlay: name the one that `p2psip overlay create` or"
                " `p2psip up` made"
            )
        self.path = path
        self._bad_nodes: tuple[tuple[int, int, int], frozenset[NodeId]] | None = None

    @classmethod
    def create(cls, path: Path, founding: Founding, admin: Account | None) -> OverlayDirectory:
        """A new one, all or nothing; without `admin` it has no accounts. LocalMisuse if there is something already."""
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            raise LocalMisuse(f"{path} is not empty: give a new directory")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        except OSError as error:
            raise LocalMisuse(f"cannot make {path}: {error.strerror}") from None
        try:
            _fill(partial, founding, admin)
            partial.rename(path)
        except BaseException:
            shutil.rmtree(partial, ignore_errors=True)
            raise
        return cls(path)

    @property
    def document_path(self) -> Path:
        """Where the configuration document is."""
        return self.path / DOCUMENT

    def document(self) -> Document:
        """The configuration document as it is now."""
        try:
            return parse(read_file(self.document_path))
        except ConfigurationError as error:
            raise LocalMisuse(f"{self.document_path}: {error}") from None

    def anchor(self) -> TrustAnchor:
        """The trust anchor, or an authority below it, with its key.

        To sign may raise LocalMisuse or SigningFailed: an encrypted key's password, or the token, is needed then first.
        """
        certificate = read_file(self.path / ANCHOR)
        key = authority_key(self.path, read_enrollment(self.path), certificate)
        return TrustAnchor.load(self.document().configuration.instance_name, key, certificate)

    def protect(self, password: str) -> None:
        """Encrypt the key of the authority. Raises LocalMisuse if it is not in anchor.key, or encrypted already."""
        if (key := read_enrollment(self.path).key) != "":
            raise LocalMisuse(f"the key of {self.path} is not in a file: {key}")
        encrypt_key(self.path, password)

    def signer(self) -> CertifiedIdentity:
        """Who signs the configuration. Raises LocalMisuse where an enrollment server has the directory."""
        if self.is_server_s:
            raise LocalMisuse(
                f"{self.path} is an enrollment server's and signs no configuration: do it in the directory that it was"
                " made from, and copy its config.xml here"
            )
        key = read_key(self.path / SIGNER_KEY)
        return CertifiedIdentity(key, read_chain(self.path / "signer.crt"))

    @property
    def is_server_s(self) -> bool:
        """True if an enrollment server has it, which signs no configuration."""
        return not (self.path / SIGNER_KEY).exists()

    @property
    def is_offline(self) -> bool:
        """True if what it issues is signed elsewhere."""
        return read_enrollment(self.path).key == OFFLINE

    @property
    def has_accounts(self) -> bool:
        """False where members make their own certificates."""
        return bool(read_enrollment(self.path).database) or (self.path / ACCOUNTS).exists()

    def accounts(self) -> AccountDatabase:
        """The accounts; whoever asks closes them."""
        # Not even its libraries are loaded by who does without.
        from p2psip.net.accounts.account_database import AccountDatabase

        if database := read_enrollment(self.path).database:
            return AccountDatabase.connect(database, self._revoked)
        if not self.has_accounts:
            raise LocalMisuse(f"{self.path} has no accounts: members of this overlay make their own certificates")
        return AccountDatabase.open(self.path / ACCOUNTS, self._revoked)

    def back_up(self, path: Path) -> None:
        """All that the store has into a new file, as of this moment; a server may run meanwhile."""
        from p2psip.net.accounts.account_engine import AccountEngine

        accounts = self.accounts()
        with contextlib.closing(accounts), contextlib.closing(AccountEngine.create(path)) as there:
            accounts.copy_to(there)

    def restore(self, path: Path, database: str | None) -> None:
        """What `back_up` has written becomes the accounts: in an empty PostgreSQL database, in the directory (""), or
        wherever they were (None). Raises LocalMisuse, also while a server runs.
        """
        from p2psip.net.accounts.account_database import AccountDatabase

        # What is restored may be of an older release, on a medium that is not to be written.
        copied = self.path / f".{ACCOUNTS}.restored"
        try:
            write_file(copied, read_file(path, BACKUP_MAX), PRIVATE)
            self._replace_accounts(AccountDatabase.open(copied), database)
        finally:
            copied.unlink(missing_ok=True)

    def move(self, database: str) -> None:
        """The accounts get into an empty PostgreSQL database, or back into the directory (""). Raises LocalMisuse."""
        if database == read_enrollment(self.path).database:
            raise LocalMisuse("the accounts are there already")
        self._replace_accounts(self.accounts(), database)

    def _replace_accounts(self, found: AccountDatabase, database: str | None) -> None:
        """By those that were `found`, which are closed; what was in the directory stays, as accounts.db.before."""
        from p2psip.net.accounts.account_engine import AccountEngine

        said = read_enrollment(self.path)
        where = said.database if database is None else database
        partial = self.path / f".{ACCOUNTS}.new"
        with contextlib.closing(found), self.locked(), self._no_server():
            partial.unlink(missing_ok=True)
            made = AccountEngine.connect(where, is_new=True) if where else AccountEngine.create(partial)
            with contextlib.closing(made):
                found.copy_to(made)
        if (self.path / ACCOUNTS).exists():
            (self.path / ACCOUNTS).replace(self.path / f"{ACCOUNTS}.before")
        if not where:
            partial.replace(self.path / ACCOUNTS)
        write_enrollment(self.path, msgspec.structs.replace(said, database=where))

    @contextmanager
    def serving(self) -> Iterator[None]:
        """An enrollment server runs on it; there may be several."""
        with self._flocked(fcntl.LOCK_SH | fcntl.LOCK_NB):
            yield

    @contextmanager
    def _no_server(self) -> Iterator[None]:
        with self._flocked(fcntl.LOCK_EX | fcntl.LOCK_NB):
            yield

    @contextmanager
    def _flocked(self, how: int) -> Iterator[None]:
        descriptor = os.open(self.path / SERVING, os.O_RDWR | os.O_CREAT, PRIVATE)
        try:
            fcntl.flock(descriptor, how)
            yield
        except BlockingIOError:
            raise LocalMisuse(
                f"an enrollment server runs on {self.path}, or its accounts are being moved: stop that first"
            ) from None
        finally:
            os.close(descriptor)

    def _revoked(self) -> frozenset[NodeId]:
        """What the configuration revokes at this moment; an enrollment server asks at each request."""
        try:
            seen = self.document_path.stat()
            mark = (seen.st_mtime_ns, seen.st_ino, seen.st_size)
            if self._bad_nodes is None or self._bad_nodes[0] != mark:
                self._bad_nodes = (mark, self.document().configuration.bad_nodes)
        except (OSError, LocalMisuse) as error:
            raise StoreFailed(f"what is revoked cannot be read: {error}") from None
        return self._bad_nodes[1]

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One administrator's command at a time."""
        descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def draft(self) -> OverlayConfiguration:
        """The configuration as it is to be: the draft that there is, or else the one that is signed."""
        path = self.path / DRAFT
        if not path.exists():
            return self.document().configuration
        try:
            return parse(read_file(path)).configuration
        except ConfigurationError as error:
            raise LocalMisuse(f"{path}: {error}; delete it to begin the draft anew") from None

    def save_draft(self, configuration: OverlayConfiguration) -> None:
        """Keep what is to be, unsigned; nothing if it is what there is."""
        if configuration == self.document().configuration:
            (self.path / DRAFT).unlink(missing_ok=True)
        else:
            write_document(self.path / DRAFT, draft(configuration), configuration)

    def difference(self) -> list[str]:
        """What the draft changes, as a unified diff of the documents; nothing if there is no draft."""
        old, new = self.document().configuration, self.draft()
        if old == new:
            return []
        new = replace(new, sequence=next_sequence(old.sequence))
        # A secret is not for the screen, nor for whoever the difference is shown to; that it is another one is.
        words = {new.shared_secret: "(another, not shown)", old.shared_secret: "(not shown)"}
        secrets = (None if each.shared_secret is None else words[each.shared_secret] for each in (old, new))
        shown = [replace(each, shared_secret=word) for each, word in zip((old, new), secrets, strict=True)]
        before, after = (draft(each).decode().splitlines() for each in shown)
        names = (f"configuration {old.sequence}", f"configuration {new.sequence}")
        return list(difflib.unified_diff(before, after, *names, lineterm=""))

    def sign_draft(self) -> OverlayConfiguration:
        """Make the draft the configuration; call it with the directory locked."""
        configuration = self.revise(replace(self.draft(), sequence=self.document().configuration.sequence))
        (self.path / DRAFT).unlink(missing_ok=True)
        return configuration

    def kind_blocks(self, kinds: Sequence[Kind]) -> list[bytes]:
        """Kinds, each signed, to go round without a new configuration."""
        configuration = replace(self.document().configuration, required_kinds=tuple(kinds))
        return [kind_block(entry) for entry in parse(kind_document(configuration, self.signer())).kinds]

    def revise(self, configuration: OverlayConfiguration) -> OverlayConfiguration:
        """The next configuration, signed and published; call it with the directory locked."""
        configuration, document = revised(configuration, self.signer())
        write_document(self.document_path, document, configuration)
        return configuration

    def revoke(self, nodes: Iterable[NodeId]) -> OverlayConfiguration:
        """A configuration in which certificates with these Node-IDs are not valid (bad-node)."""
        return self._revise_bad_nodes(frozenset(nodes), frozenset())

    def _revise_bad_nodes(self, more: frozenset[NodeId], less: frozenset[NodeId]) -> OverlayConfiguration:
        """Others are revoked; and so it stays when a draft of before is signed."""
        configuration = self.document().configuration
        draft = self.draft() if (self.path / DRAFT).exists() else None
        new = self.revise(replace(configuration, bad_nodes=(configuration.bad_nodes | more) - less))
        if draft is not None:
            self.save_draft(replace(draft, bad_nodes=(draft.bad_nodes | more) - less, sequence=new.sequence))
        return new

    def remove_account(self, name: str, date: float) -> list[HeldNode]:
        """No more account, and its valid certificates revoked; returns what it held, as it was before."""
        accounts = self.accounts()
        try:
            with self.locked():
                signers = self.document().configuration.configuration_signers
                held = accounts.held(name, date)
                if any(entry.node_id in signers for entry in held):
                    raise LocalMisuse(f"{name} signs this overlay's configuration and cannot be removed")
                # In this order: what is revoked and still there can be removed again, the reverse cannot.
                self._revoke_held(held)
                known = {entry.node_id for entry in held}
                since = [entry for entry in accounts.remove(name, date) if entry.node_id not in known]
                self._revoke_held(since)
        finally:
            accounts.close()
        return held + since

    def revoke_member(self, name: str, date: float, until: float) -> Revocation:
        """No more certificates for a member, or for a whole account, and those that it has revoked; until a date that
        can be taken back. May be repeated after a failure. Raises LocalMisuse.
        """
        accounts = self.accounts()
        try:
            with self.locked():
                signers = self.document().configuration.configuration_signers
                if any(entry.node_id in signers for entry in accounts.held_as(name, date)):
                    raise LocalMisuse(f"{name} signs this overlay's configuration and cannot be revoked")
                if self.is_server_s:
                    # There it is said what to do elsewhere, before anything is done here.
                    self._revoke_held(accounts.held_as(name, date))
                revoked = accounts.revoke(name, date, until)
                valid = set(revoked.node_ids) - self.document().configuration.bad_nodes
                if valid:
                    self.revoke(valid)
        finally:
            accounts.close()
        return revoked

    def reinstate_member(self, name: str, date: float) -> Revocation:
        """Take a revocation back, while there is time. Raises LocalMisuse."""
        accounts = self.accounts()
        try:
            with self.locked():
                revoked = accounts.revocation(name)
                if revoked is None:
                    raise LocalMisuse(f"{name} was not revoked: `p2psip members list` shows who was")
                if date > revoked.until:
                    raise LocalMisuse(f"the time in which {name} could be taken back is over: invite it anew")
                if again := self.document().configuration.bad_nodes & frozenset(revoked.node_ids):
                    self._revise_bad_nodes(frozenset(), again)
                accounts.reinstate(name)
        finally:
            accounts.close()
        return revoked

    def _revoke_held(self, held: list[HeldNode]) -> None:
        valid = {entry.node_id for entry in held} - self.document().configuration.bad_nodes
        if not valid:
            return
        if self.is_server_s:
            changes = " ".join(f"bad-node+={node_id}" for node_id in sorted(valid))
            raise LocalMisuse(
                f"revoke it first, in the directory that {self.path} was made from: `p2psip overlay set DIR --sign"
                f" {changes}`; copy its config.xml into {self.path}, then repeat this"
            )
        self.revoke(valid)

    def delegate(
        self, path: Path, rng: random.Random, date: float, lifetime_s: float, *, key: str = "", password_file: str = ""
    ) -> OverlayDirectory:
        """A directory for an enrollment server elsewhere: an authority of its own below the trust anchor.

        The trust anchor's key, and that of the configuration signer, stay here. The accounts go along; those in
        PostgreSQL stay where they are, and both have them. The authority's `key` is made in a token, if it says which;
        with OFFLINE there is no such authority, and this directory signs what is carried here.
        """
        if self.is_server_s:
            raise LocalMisuse(f"{self.path} is of an enrollment server itself: use the directory with the trust anchor")
        if path.exists():
            raise LocalMisuse(f"cannot make {path}: File exists")
        authority = anchor = self.anchor()
        if key != OFFLINE:
            made = _key_in_token(key, password_file, algorithm_of(anchor.key.public_key())) if key else None
            authority = anchor.delegate("Enrollment", rng, Validity.at(date, lifetime_s), key=made)
        try:
            path.mkdir(mode=0o700, parents=True)
        except OSError as error:
            raise LocalMisuse(f"cannot make {path}: {error.strerror}") from None
        database = read_enrollment(self.path).database
        write_enrollment(path, EnrollmentFile(database, key, password_file))
        if not database:
            with contextlib.closing(self.accounts()) as accounts:
                accounts.copy(path / ACCOUNTS)
        if isinstance(authority.key, PrivateKey) and not key:
            write_file(path / ANCHOR_KEY, key_to_pem(authority.key), PRIVATE)
        write_file(path / ANCHOR, chain_to_pem([authority.der]))
        document = self.document()
        write_document(path / DOCUMENT, document.raw, document.configuration)
        made_directory = OverlayDirectory(path)
        if key == OFFLINE:
            named = [urlsplit(url).hostname for url in document.configuration.enrollment_servers]
            hosts = [host for host in (*named, *LOOPBACK_HOSTS) if host]
            made_directory._write_server_certificate(anchor, hosts, rng, date)
        return made_directory

    def write_requests(self, path: Path) -> RequestsFile:
        """What is to be signed elsewhere, into a file. Raises LocalMisuse where nothing is collected."""
        if not self.is_offline:
            raise LocalMisuse(
                f"{self.path} signs at once: `p2psip enrollment delegate --offline` makes one that does not"
            )
        anchor = self.anchor()
        with contextlib.closing(self.accounts()) as accounts:
            found = RequestsFile(anchor.overlay, anchor.fingerprint, tuple(accounts.collected()))
        write_file(path, msgspec.json.encode(found))
        return found

    def read_requests(self, path: Path) -> RequestsFile:
        """Those that were carried here. Raises LocalMisuse."""
        return _carried(path, RequestsFile, self.anchor())

    def sign_requests(
        self, asked: RequestsFile, path: Path, rng: random.Random, validity: Validity
    ) -> CertificatesFile:
        """Their certificates, into a file. Raises LocalMisuse if one is not to be signed; then none is."""
        made = sign_collected(self.anchor(), self.document().configuration, asked, rng, validity)
        write_file(path, msgspec.json.encode(made))
        return made

    def take_certificates(self, path: Path) -> list[str]:
        """What was signed elsewhere; for which user names. Raises LocalMisuse if one is not what was asked for."""
        anchor, length = self.anchor(), self.document().configuration.node_id_length
        file = _carried(path, CertificatesFile, anchor)
        with contextlib.closing(self.accounts()) as accounts:
            waiting = {asked.number: asked for asked in accounts.collected()}
            found = list(check_returned(file, waiting, anchor, length))
            return [leaf.user for number, leaf, der in found if accounts.deliver(number, der, leaf.not_after)]

    def server_certificate(self, hosts: Iterable[str], rng: random.Random, date: float) -> Path:
        """A new key and certificate for the HTTPS server at these hosts, in one PEM file; or those that came along,
        where nothing is signed.
        """
        if self.is_offline:
            if not (self.path / SERVER).exists():
                raise LocalMisuse(f"{self.path / SERVER} is not there: `p2psip enrollment delegate --offline` makes it")
            return self.path / SERVER
        return self._write_server_certificate(self.anchor(), hosts, rng, date)

    def _write_server_certificate(
        self, anchor: TrustAnchor, hosts: Iterable[str], rng: random.Random, date: float
    ) -> Path:
        key = generate_key(next(iter(self.document().configuration.signature_algorithms)))
        certificate = anchor.issue_server(key.public_key(), hosts, rng, Validity.at(date, ANCHOR_LIFETIME_S))
        chain = [certificate, anchor.der] if anchor.is_delegated else [certificate]
        path = self.path / SERVER
        write_file(path, key_to_pem(key) + chain_to_pem(chain), PRIVATE)
        return path


def _carried(path: Path, kind: type[F], anchor: TrustAnchor) -> F:
    try:
        return read_carried(read_file(path, CARRIED_MAX), kind, anchor)
    except LocalMisuse as error:
        raise LocalMisuse(f"{path}: {error}") from None


def _key_in_token(uri: str, password_file: str, algorithm: SignatureAlgorithm) -> TokenKey:
    """The token's key, made there if it has none of that name."""
    key = token_key(uri, None, password_file)
    key.make(algorithm)
    return key


def _fill(path: Path, founding: Founding, admin: Account | None) -> None:
    anchor, signer = founding.anchor, founding.signer
    assert isinstance(anchor.key, PrivateKey), "it was made a moment ago"
    write_file(path / ANCHOR_KEY, key_to_pem(anchor.key), PRIVATE)
    write_file(path / ANCHOR, chain_to_pem([anchor.der]))
    write_file(path / SIGNER_KEY, key_to_pem(signer.key), PRIVATE)
    write_file(path / "signer.crt", chain_to_pem(signer.chain))
    write_document(path / DOCUMENT, founding.document, founding.configuration)
    if admin is None:
        return
    from p2psip.net.accounts.account_database import AccountDatabase

    accounts = AccountDatabase.create(path / ACCOUNTS)
    accounts.add(admin)
    key_hash = public_key_hash(signer.key.public_key())
    issue = Issue(admin.name, signer.user, key_hash, (signer.node_id,), signer.chain[0], signer.not_after)
    assert accounts.record(issue), "a new database has nobody else"
    accounts.close()
