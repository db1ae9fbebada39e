"""enrollment.toml in the directory of an overlay: where an enrollment server has its accounts, and its key.

Without it they are in the directory.
"""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from p2psip.base.errors import LocalMisuse
from p2psip.net.disk.files import PRIVATE, read_text, write_file

FILE = "enrollment.toml"
OFFLINE = "offline"


class EnrollmentFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is in it."""

    database: str = ""
    """PostgreSQL, as libpq calls it: postgresql://USER@HOST/NAME; "" for accounts.db in the directory."""
    key: str = ""
    """Of the authority: "" for anchor.key in the directory; pkcs11:... for one in a token; OFFLINE: not here."""
    key_password_file: str = ""
    """The file whose first line is the password of an encrypted anchor.key, or the token's PIN."""


def read_enrollment(directory: Path) -> EnrollmentFile:
    """What the file says, or that there is none. Raises LocalMisuse."""
    path = directory / FILE
    if not path.exists():
        return EnrollmentFile()
    try:
        return msgspec.toml.decode(read_text(path), type=EnrollmentFile)
    except msgspec.MsgspecError as error:
        raise LocalMisuse(f"{path}: {error}") from None


def write_enrollment(directory: Path, said: EnrollmentFile) -> None:
    """Write it, or take it away if it says nothing. It may have a password in it, so it is its owner's only."""
    lines = [f"{name} = {json.dumps(value)}" for name, value in msgspec.structs.asdict(said).items() if value]
    path = directory / FILE
    if lines:
        write_file(path, "\n".join([*lines, ""]).encode(), PRIVATE)
    else:
        path.unlink(missing_ok=True)
