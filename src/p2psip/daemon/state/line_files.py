"""The lines of a peer on disk: `lines/USER.key`, `.crt`, `.json` with hashes of the phone password, `.calls` with what
its owner wants of the calls to it, if that is anything, and `.card` with what the directory says of it. Of a line that
was removed key and certificate are in `lines/removed` until its record is known to be out of the overlay.

The phone password itself is not kept, and neither is the account password, ever.
"""

from __future__ import annotations

import contextlib
import json
import secrets
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote, unquote

import msgspec

from p2psip.base.errors import LocalMisuse
from p2psip.base.ids import NodeId
from p2psip.base.user_keys import key_of
from p2psip.coupling.line import Line
from p2psip.daemon.state.state import PeerState, load_identity
from p2psip.directory.listing import Card
from p2psip.enrollment.user_names import account_name
from p2psip.net.disk.files import PRIVATE, read_file, write_file
from p2psip.net.disk.pem_files import read_key
from p2psip.reload.config.configuration import OverlayConfiguration
from p2psip.reload.security.certificates import chain_to_pem
from p2psip.reload.security.identity import CertifiedIdentity
from p2psip.reload.security.keys import PrivateKey, key_to_pem
from p2psip.sip.entities.handling.call_handling import CallHandling, QuietHours
from p2psip.sip.message.digest import Logins

DIRECTORY = "lines"
REMOVED = "removed"


class _Phone(msgspec.Struct, forbid_unknown_fields=True):
    """What is in the .json: who, and what is kept of the phone password for the realm, which is the overlay's name.

    `ha1s` is what release 0.1 kept: H(A1) by algorithm for the user's name and the password as they are.
    """

    user: str
    logins: dict[str, tuple[dict[str, str], ...]] = {}
    ha1s: dict[str, str] = {}


class _Calls(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """What is in the .calls: a CallHandling, its hours as people write them."""

    always: str = ""
    busy: str = ""
    no_answer: str = ""
    ring_s: int = 0
    do_not_disturb: bool = False
    allow: tuple[str, ...] = ()
    only_allowed: bool = False
    deny: tuple[str, ...] = ()
    quiet: tuple[str, ...] = ()
    homes: tuple[str, ...] = ()
    pick_up: tuple[str, ...] = ()
    intercom: tuple[str, ...] = ()
    mailbox: bool | None = None


@dataclass(frozen=True, slots=True)
class LineFiles:
    """The files of one line."""

    directory: Path
    name: str

    def path(self, ending: str) -> Path:
        """One of them; a user name may hold what a file name may not."""
        return self.directory / DIRECTORY / f"{quote(self.name, safe='+@')}.{ending}"

    @property
    def exists(self) -> bool:
        """True if the line is complete."""
        return self.path("json").exists()

    def key(self) -> PrivateKey | None:
        """The key of an earlier attempt, if there is one: it leads to the same Node-ID."""
        path = self.path("key")
        return read_key(path) if path.exists() else None

    def save_key(self, key: PrivateKey) -> None:
        """Before it is enrolled, so that a second attempt has the same."""
        try:
            self.path("key").parent.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise LocalMisuse(f"cannot make {self.path('key').parent}: {error.strerror}") from None
        write_file(self.path("key"), key_to_pem(key), PRIVATE)

    def save(self, identity: CertifiedIdentity, logins: Logins) -> None:
        """The certificate, then what makes the line complete."""
        self.save_certificate(identity)
        data = json.dumps({"user": identity.user, "logins": logins}, indent=1).encode()
        write_file(self.path("json"), data, PRIVATE)

    def save_certificate(self, identity: CertifiedIdentity) -> None:
        """A new or renewed certificate."""
        write_file(self.path("crt"), chain_to_pem(identity.chain))

    def remove(self) -> None:
        """Forget the line; the .json first, so that half a line is none. What takes its record out of the overlay is
        put aside, for `RemovedLines`.
        """
        for ending in ("json", "card", "calls"):
            self.path(ending).unlink(missing_ok=True)
        aside = self.directory / DIRECTORY / REMOVED / secrets.token_hex(8)
        # On a disk that is full or broken the record is left to die by itself.
        with contextlib.suppress(OSError):
            aside.parent.mkdir(mode=0o700, exist_ok=True)
            for ending in ("key", "crt"):
                self.path(ending).rename(aside.with_suffix(f".{ending}"))
        for ending in ("crt", "key"):
            self.path(ending).unlink(missing_ok=True)

    def save_handling(self, handling: CallHandling) -> None:
        """What its owner wants of the calls to it from now on. Raises LocalMisuse if it cannot be written."""
        said = {name: getattr(handling, name) for name in _Calls.__struct_fields__ if name != "quiet"}
        calls = _Calls(**said, quiet=tuple(map(str, handling.quiet)))
        write_file(self.path("calls"), msgspec.json.format(msgspec.json.encode(calls), indent=1), PRIVATE)

    def save_card(self, card: Card) -> None:
        """What the directory is to say of it from now on. Raises LocalMisuse if it cannot be written."""
        words = {name: word for name, word in asdict(card).items() if word}
        write_file(self.path("card"), msgspec.json.format(msgspec.json.encode(words), indent=1), PRIVATE)

    def load_card(self) -> Card:
        """The same, read. Raises LocalMisuse, in one line, if it cannot be."""
        path = self.path("card")
        if not path.exists():
            return Card()
        try:
            return Card(**msgspec.json.decode(read_file(path), type=dict[str, str]))
        except (ValueError, TypeError) as error:
            raise LocalMisuse(f"{path}: {error}; `p2psip directory card {self.name}` writes it anew") from None

    def load_handling(self) -> CallHandling:
        """The same, read. Raises LocalMisuse, in one line, if it cannot be."""
        path = self.path("calls")
        if not path.exists():
            return CallHandling()
        try:
            calls = msgspec.json.decode(read_file(path), type=_Calls)
            said = {name: getattr(calls, name) for name in _Calls.__struct_fields__ if name != "quiet"}
            for home in calls.homes:
                NodeId.fromhex(home)
            return CallHandling(**said, quiet=tuple(map(QuietHours.parse, calls.quiet)))
        except (ValueError, UnicodeDecodeError) as error:
            raise LocalMisuse(f"{path}: {error}; `p2psip line calls {self.name} --reset` begins anew") from None

    def load(self, configuration: OverlayConfiguration) -> Line:
        """The line; LocalMisuse, in one line, if its files do not fit together."""
        path = self.path("json")
        try:
            phone = msgspec.json.decode(read_file(path), type=_Phone)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise LocalMisuse(f"{path}: {error}") from None
        if not (phone.logins or phone.ha1s):
            raise LocalMisuse(f"{path} holds no password: `p2psip line add {self.name}` sets one")
        key = self.key()
        if key is None:
            raise LocalMisuse(f"{self.path('key')} is missing: `p2psip line add {self.name}` makes it anew")
        logins: Logins = phone.logins or {self.name: (phone.ha1s,)}
        return Line(load_identity(self.path("crt"), key, configuration), configuration.instance_name, logins)


class RemovedLines:
    """Lines that are no more, and whose records may be in the overlay still."""

    def __init__(self, directory: Path) -> None:
        """`directory` is the peer's."""
        self._directory = directory / DIRECTORY / REMOVED
        self._known: dict[NodeId, Path] = {}

    def load(self, configuration: OverlayConfiguration) -> list[CertifiedIdentity]:
        """As whom their records are removed. One that cannot be read, or that no peer would believe, is forgotten."""
        found: list[CertifiedIdentity] = []
        for path in sorted(self._directory.glob("*.key")):
            try:
                identity = load_identity(path.with_suffix(".crt"), read_key(path), configuration)
            except LocalMisuse:
                _forget(path)
                continue
            self._known[identity.node_id] = path
            found.append(identity)
        return found

    def forget(self, node: NodeId) -> None:
        """The record is gone."""
        if (path := self._known.pop(node, None)) is not None:
            _forget(path)


def _forget(key: Path) -> None:
    # What cannot be deleted is removed once more with the next start.
    with contextlib.suppress(OSError):
        key.with_suffix(".crt").unlink(missing_ok=True)
        key.unlink(missing_ok=True)


def files_of(state: PeerState, user: str) -> tuple[str, LineFiles]:
    """The AoR that people mean by `alice`, or `alice@` a domain of the overlay, and the files of its line. Raises
    LocalMisuse.
    """
    configuration = state.configuration
    aor = account_name(user, configuration.instance_name, configuration.hosted_domains)
    return aor, LineFiles(state.directory, key_of(aor, configuration.instance_name))


def line_names(directory: Path) -> list[str]:
    """The users that have a line in this state directory."""
    return sorted(unquote(path.stem) for path in (directory / DIRECTORY).glob("*.json"))
