"""The directory of an overlay's administrator: trust anchor, configuration signer, document, accounts.

anchor.key  anchor.crt   the trust anchor; who has the key can make members
signer.key  signer.crt   the first administrator as configuration signer
config.xml               the signed configuration document
draft.xml                the next one, not signed yet, if there is one
accounts.db              accounts, and which Node-IDs are whose; not where members make their own certificates
server.pem               key and certificate of the HTTPS server, made anew at each start
"""

from __future__ import annotations

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

from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId
from p2psip.enrollment.accounts import Account, Issue, StoreFailed
from p2psip.enrollment.admission import Revocation
from p2psip.enrollment.founding import Founding, revised
from p2psip.net.disk.account_database import AccountDatabase
from p2psip.net.disk.admission_tables import HeldNode
from p2psip.net.disk.files import PRIVATE, read_file, write_document, write_file
from p2psip.net.disk.pem_files import read_chain, read_key
from p2psip.reload.config.configuration import Kind, OverlayConfiguration
from p2psip.reload.config.document import Document, parse
from p2psip.reload.config.errors import ConfigurationError
from p2psip.reload.config.kind_blocks import kind_block
from p2psip.reload.config.sequence import next_sequence
from p2psip.reload.config.write import draft, kind_document
from p2psip.reload.security.authority import ANCHOR_LIFETIME_S, TrustAnchor, Validity
from p2psip.reload.security.certificates import chain_to_pem
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.reload.security.keys import generate_key, key_to_pem, public_key_hash

DOCUMENT = "config.xml"
DRAFT = "draft.xml"
ACCOUNTS = "accounts.db"
ANCHOR_KEY = "anchor.key"


class OverlayDirectory:
    """One such directory."""

    def __init__(self, path: Path) -> None:
        # A peer's state directory has a configuration document as well, and no trust anchor's key.
        if not ((path / DOCUMENT).is_file() and (path / ANCHOR_KEY).is_file()):
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
        """The trust anchor with its key."""
        key = read_key(self.path / ANCHOR_KEY)
        overlay = self.document().configuration.instance_name
        return TrustAnchor.load(overlay, key, read_file(self.path / "anchor.crt"))

    def signer(self) -> CertifiedIdentity:
        """Who signs the configuration. Raises LocalMisuse where an enrollment server has the directory."""
        if self.anchor().is_delegated:
            raise LocalMisuse(
                f"{self.path} is an enrollment server's and signs no configuration: do it in the directory that it was"
                " made from, and copy its config.xml here"
            )
        key = read_key(self.path / "signer.key")
        return CertifiedIdentity(key, read_chain(self.path / "signer.crt"))

    @property
    def has_accounts(self) -> bool:
        """False where members make their own certificates."""
        return (self.path / ACCOUNTS).exists()

    def accounts(self) -> AccountDatabase:
        """The accounts; whoever asks closes them."""
        if not self.has_accounts:
            raise LocalMisuse(f"{self.path} has no accounts: members of this overlay make their own certificates")
        return AccountDatabase.open(self.path / ACCOUNTS, self._revoked)

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
                if self.anchor().is_delegated:
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
        if self.anchor().is_delegated:
            changes = " ".join(f"bad-node+={node_id}" for node_id in sorted(valid))
            raise LocalMisuse(
                f"revoke it first, in the directory that {self.path} was made from: `p2psip overlay set DIR --sign"
                f" {changes}`; copy its config.xml into {self.path}, then repeat this"
            )
        self.revoke(valid)

    def delegate(self, path: Path, rng: random.Random, date: float, lifetime_s: float) -> OverlayDirectory:
        """A directory for an enrollment server elsewhere: an authority of its own below the trust anchor.

        The trust anchor's key, and that of the configuration signer, stay here. The accounts go along.
        """
        anchor = self.anchor()
        if anchor.is_delegated:
            raise LocalMisuse(f"{self.path} is of an enrollment server itself: use the directory with the trust anchor")
        accounts = self.accounts()
        try:
            path.mkdir(mode=0o700, parents=True)
            accounts.copy(path / ACCOUNTS)
        except OSError as error:
            raise LocalMisuse(f"cannot make {path}: {error.strerror}") from None
        finally:
            accounts.close()
        authority = anchor.delegate("Enrollment", rng, Validity.at(date, lifetime_s))
        write_file(path / ANCHOR_KEY, key_to_pem(authority.key), PRIVATE)
        write_file(path / "anchor.crt", chain_to_pem([authority.der]))
        document = self.document()
        write_document(path / DOCUMENT, document.raw, document.configuration)
        return OverlayDirectory(path)

    def server_certificate(self, hosts: Iterable[str], rng: random.Random, date: float) -> Path:
        """A new key and certificate for the HTTPS server at these hosts, in one PEM file."""
        anchor = self.anchor()
        key = generate_key(next(iter(self.document().configuration.signature_algorithms)))
        certificate = anchor.issue_server(key.public_key(), hosts, rng, Validity.at(date, ANCHOR_LIFETIME_S))
        chain = [certificate, anchor.der] if anchor.is_delegated else [certificate]
        path = self.path / "server.pem"
        write_file(path, key_to_pem(key) + chain_to_pem(chain), PRIVATE)
        return path


def _fill(path: Path, founding: Founding, admin: Account | None) -> None:
    anchor, signer = founding.anchor, founding.signer
    write_file(path / ANCHOR_KEY, key_to_pem(anchor.key), PRIVATE)
    write_file(path / "anchor.crt", chain_to_pem([anchor.der]))
    write_file(path / "signer.key", key_to_pem(signer.key), PRIVATE)
    write_file(path / "signer.crt", chain_to_pem(signer.chain))
    write_document(path / DOCUMENT, founding.document, founding.configuration)
    if admin is None:
        return
    accounts = AccountDatabase.create(path / ACCOUNTS)
    accounts.add(admin)
    key_hash = public_key_hash(signer.key.public_key())
    issue = Issue(admin.name, signer.user, key_hash, (signer.node_id,), signer.chain[0], signer.not_after)
    assert accounts.record(issue), "a new database has nobody else"
    accounts.close()
