"""Reading certificates (p2psip.reload.security.certificates)."""

from __future__ import annotations

import warnings

import pytest
from cryptography import x509

from p2psip.base.errors import LocalMisuse
from p2psip.reload.security.certificates import chain_from_pem, chain_to_pem, load_certificate
from p2psip.reload.security.errors import UntrustedCertificate
from p2psip.sim.membership import Club


def test_a_serial_number_that_is_not_positive_is_refused_in_silence() -> None:
    """RFC 5280 section 4.1.2.2; `cryptography` warns on stderr, which is not for strangers to fill."""
    der = Club.of().certificate()
    serial = x509.load_der_x509_certificate(der).serial_number.to_bytes(20, "big")
    negative = der.replace(serial, bytes([serial[0] | 0x80]) + serial[1:], 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(UntrustedCertificate, match="serial number is not positive"):
            load_certificate(negative)


def test_a_chain_in_pem_comes_back() -> None:
    chain = [Club.of().certificate(), Club.of().anchor.der]
    assert chain_from_pem(chain_to_pem(chain)) == chain


@pytest.mark.parametrize(
    "pem",
    [
        b"",
        b"-----BEGIN CERTIFICATE-----\n!!\n-----END CERTIFICATE-----\n",
        # A version that X.509 does not have: no ValueError to `cryptography`.
        chain_to_pem([Club.of().certificate()]).replace(b"AwIBAgIU", b"AwIBEgIU", 1),
    ],
)
def test_a_file_that_is_no_chain(pem: bytes) -> None:
    with pytest.raises(LocalMisuse, match="no certificate in PEM"):
        chain_from_pem(pem)
