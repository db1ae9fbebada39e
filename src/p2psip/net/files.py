"""Small files that must be whole or not there, and private ones that nobody else may read."""

from __future__ import annotations

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


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
