"""Small files that must be whole or not there, and private ones that nobody else may read."""

from __future__ import annotations

import codecs
import os
from pathlib import Path

from p2psip.base.errors import LocalMisuse
from p2psip.reload.config.configuration import OverlayConfiguration

PRIVATE = 0o600
PUBLIC = 0o644


def write_file(path: Path, data: bytes, mode: int = PUBLIC) -> None:
    """Replace the file in one step that survives a power cut; LocalMisuse if it cannot be written."""
    partial = path.with_name(f".{path.name}.new")
    try:
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
        _sync_directory(path.parent)
    except OSError as error:
        raise LocalMisuse(f"cannot write {path}: {error.strerror}") from None


def write_document(path: Path, raw: bytes, configuration: OverlayConfiguration) -> None:
    """A configuration document: one with a secret in it is for its owner only."""
    # 14.16: "in the case when the media includes a shared-secret element, the contents of the file MUST be kept
    # confidential or else anyone who can see the shared secret can affect the RELOAD overlay network."
    write_file(path, raw, PUBLIC if configuration.shared_secret is None else PRIVATE)


def read_file(path: Path, size_max: int = 1 << 20) -> bytes:
    """A whole small file; LocalMisuse if it cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(size_max + 1)
    except OSError as error:
        raise LocalMisuse(f"cannot read {path}: {error.strerror}") from None
    if len(data) > size_max:
        raise LocalMisuse(f"{path} is larger than {size_max} bytes")
    return data


def read_text(path: Path) -> str:
    """A small file that somebody may have written with any editor; LocalMisuse if it is no text of Unicode."""
    return text_of(read_file(path), path)


def text_of(data: bytes, name: object) -> str:
    """What is in a file, as UTF-8, or as UTF-16 if it says so (as some editors save it); LocalMisuse for others."""
    is_utf16 = data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        return data.decode("utf-16" if is_utf16 else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise LocalMisuse(f"{name}: line {line} is not UTF-8: save the file as UTF-8, with an editor") from None


def unedited(raw: bytes) -> bytes:
    """A document as it was before an editor elsewhere saved it with other ends of line, or as UTF-16.

    Nothing but the bytes that were signed will do.
    """
    if raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        raw = raw.decode("utf-16", "replace").encode()
    return raw.removeprefix(codecs.BOM_UTF8).replace(b"\r\n", b"\n").lstrip()


def set_aside(path: Path) -> Path:
    """Have a damaged file out of the way, for who wants to look at it; LocalMisuse if that cannot be done."""
    aside = path.with_name(f"{path.name}.damaged")
    try:
        path.replace(aside)
    except OSError as error:
        raise LocalMisuse(f"{path} is damaged, and cannot be moved away: {error.strerror}") from None
    return aside


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
