"""Keys and certificates in files."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2psip.base.errors import LocalMisuse
from p2psip.net.disk.pem_files import read_chain, read_key
from p2psip.reload.security.certificates import chain_to_pem
from p2psip.reload.security.keys import key_to_pem
from p2psip.sim.membership import founding


def test_what_is_wrong_is_said_with_the_name_of_the_file(tmp_path: Path) -> None:
    signer, path = founding().signer, tmp_path / "file"
    path.write_bytes(key_to_pem(signer.key))
    assert read_key(path).public_key() == signer.key.public_key()
    with pytest.raises(LocalMisuse, match="file: the certificate file holds no certificate"):
        read_chain(path)
    path.write_bytes(chain_to_pem(signer.chain))
    assert tuple(read_chain(path)) == tuple(signer.chain)
    with pytest.raises(LocalMisuse, match="file: the key file holds no unencrypted private key"):
        read_key(path)
    path.unlink()
    with pytest.raises(LocalMisuse, match="cannot read "):
        read_key(path)
