"""The other end of DUNDi as Asterisk is known to be, written from the draft and sharing no code with `src`: it makes
and takes datagrams byte by byte, with libraries for RSA, AES and zlib alone.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC

ACK, DPDISCOVER, DPRESPONSE, EIDQUERY, EIDRESPONSE = 0x40, 1, 0x42, 3, 0x44
PRECACHERQ, PRECACHERP, INVALID, UNKNOWN, NULL = 5, 0x46, 0x47, 0x48, 9
REGREQ, REGRESPONSE, CANCEL, ENCRYPT, ENCREJ = 10, 0x4B, 12, 13, 0x4E
FINAL = 0x80
ENCDATA = 16

OAEP = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)


def ie(kind: int, value: bytes | str = b"") -> bytes:
    """One information element."""
    data = value.encode() if isinstance(value, str) else value
    return bytes((kind, len(data) & 0xFF)) + data


def short(number: int) -> bytes:
    return struct.pack("!H", number)


def packet(source: int, destination: int, expected: int, sequence: int, command: int, ies: bytes = b"") -> bytes:
    """A message: `expected` and `sequence` are ISeqno and OSeqno."""
    return struct.pack("!HHBBBB", source, destination, expected, sequence, command, 0) + ies


def answer_ie(eid: bytes, destination: str, *, flags: int = 1, weight: int = 0, protocol: int = 2) -> bytes:
    return ie(5, eid + struct.pack("!BHH", protocol, flags, weight) + destination.encode())


@dataclass
class Packet:
    """A message that was taken apart."""

    source: int
    destination: int
    expected: int
    sequence: int
    command: int
    ies: list[tuple[int, bytes]]
    clear: Packet | None = None
    """What of it was encrypted."""

    @property
    def said(self) -> int:
        """The command, of what was encrypted if anything was."""
        return (self.clear or self).command

    def all(self, kind: int) -> list[bytes]:
        return [value for each, value in (self.clear or self).ies if each == kind]

    def one(self, kind: int) -> bytes:
        (found,) = self.all(kind)
        return found

    def outside(self, kind: int) -> list[bytes]:
        """Of what is not encrypted."""
        return [value for each, value in self.ies if each == kind]


def taken_apart(data: bytes) -> Packet:
    source, destination, expected, sequence, command, flags = struct.unpack_from("!HHBBBB", data)
    assert flags == 0
    return Packet(source, destination, expected, sequence, command, _ies(data[8:]))


def _ies(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        kind, size = data[0], data[1]
        size = len(data) - 2 if kind == ENCDATA else size
        assert size <= len(data) - 2
        found.append((kind, data[2 : 2 + size]))
        data = data[2 + size :]
    return found


def encrypted(key: bytes, data: bytes, vector: bytes | None = None) -> bytes:
    """An ENCDATA of a message from its command on."""
    vector = os.urandom(16) if vector is None else vector
    plain = zlib.compress(data)
    plain += bytes(-len(plain) % 16)
    cipher = Cipher(AES(key), CBC(vector)).encryptor()
    return ie(ENCDATA, vector + cipher.update(plain) + cipher.finalize())


def decrypted(key: bytes, data: bytes) -> bytes:
    cipher = Cipher(AES(key), CBC(data[:16])).decryptor()
    return zlib.decompressobj().decompress(cipher.update(data[16:]) + cipher.finalize())


@dataclass
class FakeAsterisk:
    """One entity, which answers as its `routes` say and acknowledges as Asterisk does; `send` takes its datagrams.

    `numbers` of a context: what it answers. With `own` and `other` it encrypts. What it hears is in `heard`.
    """

    eid: bytes
    send: Callable[[bytes], None]
    numbers: dict[tuple[str, str], list[bytes]] = field(default_factory=dict)
    own: rsa.RSAPrivateKey | None = None
    other: rsa.RSAPublicKey | None = None
    expiration: int = 3600
    is_there: bool = True
    is_mute: bool = False
    """True to acknowledge, and to answer nothing."""
    heard: list[Packet] = field(default_factory=list)
    last_number: int = 100
    """Which number a transaction has been given last."""
    _key_now: tuple[bytes, bytes] | None = None
    """What it encrypts with, and the same encrypted for the other."""
    _known: dict[int, bytes] = field(default_factory=dict)
    _sessions: dict[int, bytes] = field(default_factory=dict)

    def use_key(self, key: bytes) -> None:
        """Encrypt with this from now on."""
        assert self.other is not None
        self._key_now = key, self.other.encrypt(key, OAEP)

    def ask(self, command: int, ies: bytes, *, is_whole: bool = True) -> int:
        """Begin a transaction; its number."""
        number = self._number()
        if self.own is None:
            self._send(packet(number, 0, 0, 0, command, ies))
            return number
        if self._key_now is None:
            self.use_key(b"\x07" * 16)
        assert self._key_now is not None
        key, sealed = self._key_now
        self._sessions[number] = key
        named = ie(19, struct.pack("!I", zlib.crc32(sealed)))
        if is_whole:
            named = ie(17, sealed) + ie(18, self.own.sign(sealed, padding.PKCS1v15(), hashes.SHA1()))
        inner = bytes((command, 0)) + ies
        self._send(packet(number, 0, 0, 0, ENCRYPT, ie(1, self.eid) + named + encrypted(key, inner)))
        return number

    def discover(self, number: str, context: str | None = None, *, more: bytes = b"", is_whole: bool = True) -> int:
        """DPDISCOVER as Asterisk writes it."""
        ies = ie(10, short(1)) + ie(4, self.eid) + more + ie(3, number)
        ies += b"" if context is None else ie(2, context)
        return self.ask(DPDISCOVER, ies + ie(6, short(32)), is_whole=is_whole)

    def hear(self, data: bytes) -> None:
        """A datagram has come."""
        if not self.is_there:
            return
        came = taken_apart(data)
        if came.command == ENCRYPT:
            if (key := self._key(came)) is None:
                self.heard.append(came)
                self._send(packet(self._number(), came.source, 1, 0, ENCREJ | FINAL))
                return
            inner = decrypted(key, came.outside(ENCDATA)[0])
            came.clear = Packet(came.source, came.destination, came.expected, came.sequence, inner[0], _ies(inner[2:]))
        self.heard.append(came)
        match came.said:
            case 0x89:
                self._send(packet(self._number(), came.source, 1, 0, ACK | FINAL))
            case 1 | 3 if came.destination == 0:
                number = self._number()
                if came.clear is not None:
                    self._sessions[number] = self._sessions[came.source]
                self._send(packet(number, came.source, 1, 0, ACK))
                if not self.is_mute:
                    self._answer(came, number)
            case said if said & FINAL and said & 0x7F not in (ACK, INVALID):
                self._send(packet(came.destination, came.source, came.sequence + 1, came.expected, ACK | FINAL))

    def _answer(self, came: Packet, number: int) -> None:
        asked = (came.one(2).decode(), came.one(3).decode())
        ies = b"".join(self.numbers.get(asked, [])) + ie(20, short(4)) + ie(11, short(self.expiration))
        if came.clear is None:
            self._send(packet(number, came.source, 1, 0, DPRESPONSE | FINAL, ies))
        else:
            inner = bytes((DPRESPONSE | FINAL, 0)) + ies
            self._send(packet(number, came.source, 1, 0, ENCRYPT, encrypted(self._sessions[number], inner)))

    def _key(self, came: Packet) -> bytes | None:
        """With which key it is encrypted; None if that is not known."""
        if came.destination:
            return self._sessions.get(came.destination)
        assert self.own is not None
        assert self.other is not None
        if (crc := came.outside(19)) and (known := self._known.get(int.from_bytes(crc[0], "big"))):
            self._sessions[came.source] = known
            return known
        if not came.outside(17):
            return None
        sealed, signature = came.outside(17)[0], came.outside(18)[0]
        self.other.verify(signature, sealed, padding.PKCS1v15(), hashes.SHA1())
        key = self.own.decrypt(sealed, OAEP)
        self._known[zlib.crc32(sealed)] = self._sessions[came.source] = key
        return key

    def _number(self) -> int:
        self.last_number += 1
        return self.last_number

    def _send(self, data: bytes) -> None:
        self.send(data)
