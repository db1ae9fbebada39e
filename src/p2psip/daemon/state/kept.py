"""What a running peer writes down beside its records, to begin better the next time. None of it is indispensable.

kinds.json      Kinds of the overlay that came beside its configuration document (section 6.5.4)
contacts.json   where peers that it was linked with can be dialled (RFC 6940 section 11.4)
phones.json     which phones are registered: until they register again, a restart does not cut them off
services.json   which services it announces (RFC 7374): a restart announces them again
directory.bin   what it has of the directory (daemon/directory)
role.json       whether it is a peer or a client, where it finds that out
shedding.json   whether it is a client for as long as its disk is full, or its load high
joining.json    what it was told when it joined, as long as it waits to be approved (daemon/joining)
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

import msgspec

from p2psip.base.address import Address
from p2psip.base.errors import LocalMisuse
from p2psip.daemon.roles.role_choice import KeptRole
from p2psip.daemon.roles.shedding import KeptShedding
from p2psip.net.disk.files import PRIVATE, read_file, set_aside, write_file
from p2psip.net.disk.record_file import read_boot_clock

CONTACTS_FILE = "contacts.json"
PHONES_FILE = "phones.json"
KINDS_FILE = "kinds.json"
SERVICES_FILE = "services.json"
ROLE_FILE = "role.json"
SHEDDING_FILE = "shedding.json"
JOINING_FILE = "joining.json"
CONTACTS_MAX = 100

T = TypeVar("T")


class _Phones(msgspec.Struct, forbid_unknown_fields=True):
    """A snapshot of the registrations, and when it was made: by the clock of this boot, and by the date if known."""

    boot_id: str
    boot_s: float
    date: float | None
    phones: msgspec.Raw


class KeptService(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A service that the operator announced, in the operator's words."""

    name: str
    capacity: int
    policy: str


def save_contacts(directory: Path, contacts: tuple[Address, ...]) -> None:
    """Raises LocalMisuse if it cannot be written."""
    write_file(directory / CONTACTS_FILE, msgspec.json.encode(contacts), PRIVATE)


def load_contacts(directory: Path) -> list[Address]:
    """Those of the last run, none if there are none. Raises LocalMisuse if they cannot be read."""
    contacts = _load(directory / CONTACTS_FILE, list[tuple[str, int]]) or []
    return [Address(*contact) for contact in contacts[:CONTACTS_MAX]]


def save_kinds(directory: Path, kind_blocks: Sequence[bytes]) -> None:
    """Raises LocalMisuse if it cannot be written."""
    if kind_blocks or (directory / KINDS_FILE).exists():
        write_file(directory / KINDS_FILE, msgspec.json.encode([block.decode() for block in kind_blocks]), PRIVATE)


def load_kinds(directory: Path) -> list[bytes]:
    """The kind-blocks of the last run, none if there are none. Raises LocalMisuse if they cannot be read."""
    return [block.encode() for block in _load(directory / KINDS_FILE, list[str]) or []]


def save_services(directory: Path, services: Sequence[KeptService]) -> None:
    """Raises LocalMisuse if it cannot be written."""
    write_file(directory / SERVICES_FILE, msgspec.json.encode(services), PRIVATE)


def load_services(directory: Path) -> list[KeptService]:
    """The services of the last run, none if there are none. Raises LocalMisuse if they cannot be read."""
    return _load(directory / SERVICES_FILE, list[KeptService]) or []


def save_role(directory: Path, role: KeptRole) -> None:
    """Raises LocalMisuse if it cannot be written."""
    write_file(directory / ROLE_FILE, msgspec.json.encode(role), PRIVATE)


def load_role(directory: Path) -> KeptRole | None:
    """That of the last run, None if there is none. Raises LocalMisuse if it cannot be read."""
    return _load(directory / ROLE_FILE, KeptRole)


def save_shedding(directory: Path, shedding: KeptShedding) -> None:
    """Raises LocalMisuse if it cannot be written."""
    write_file(directory / SHEDDING_FILE, msgspec.json.encode(shedding), PRIVATE)


def load_shedding(directory: Path) -> KeptShedding | None:
    """That of the last run, None if there is none. Raises LocalMisuse if it cannot be read."""
    return _load(directory / SHEDDING_FILE, KeptShedding)


def save_phones(directory: Path, snapshot: bytes, date: float | None) -> None:
    """Raises LocalMisuse if it cannot be written. `date` is None if it is not to be trusted."""
    clock = read_boot_clock()
    saved = _Phones(clock.boot_id, clock.seconds, date, msgspec.Raw(snapshot))
    write_file(directory / PHONES_FILE, msgspec.json.encode(saved), PRIVATE)


def load_phones(directory: Path, date: float | None) -> tuple[bytes, float] | None:
    """The snapshot of the last run and how many seconds ago that was; None if there is none, or nobody knows when.

    Raises LocalMisuse if it cannot be read.
    """
    saved = _load(directory / PHONES_FILE, _Phones, size_max=1 << 26)
    if saved is None:
        return None
    elapsed_s = seconds_ago(saved.boot_id, saved.boot_s, saved.date, date)
    return None if elapsed_s is None else (bytes(saved.phones), elapsed_s)


def seconds_ago(boot_id: str, boot_s: float, saved_date: float | None, date: float | None) -> float | None:
    """How long ago something was written down: by the clock of this boot, or by two dates; None if nobody knows."""
    clock = read_boot_clock()
    if boot_id == clock.boot_id:
        return max(0.0, clock.seconds - boot_s)
    if saved_date is None or date is None or date < saved_date:
        # The machine was started anew, and whether that took a minute or a month nothing here tells.
        return None
    return date - saved_date


def _load(path: Path, kind: type[T], size_max: int = 1 << 20) -> T | None:
    """What is in a file; None if there is none. Raises LocalMisuse if it cannot be read."""
    if not path.exists():
        return None
    try:
        return msgspec.json.decode(read_file(path, size_max), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise LocalMisuse(f"{path}: {error}; it is {set_aside(path)} now") from None
