"""What a peer remembers over a restart."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from p2psip.base.address import Address
from p2psip.base.errors import LocalMisuse
from p2psip.daemon.roles.role_choice import KeptRole
from p2psip.daemon.roles.shedding import KeptShedding
from p2psip.daemon.state import kept
from p2psip.daemon.state.kept import (
    KeptService,
    load_contacts,
    load_phones,
    load_role,
    load_services,
    load_shedding,
    save_contacts,
    save_phones,
    save_role,
    save_services,
    save_shedding,
)
from p2psip.reload.storage.store.continuity import BootClock

DATE = 1_800_000_000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[BootClock]:
    """What the clock of the machine says; the last entry holds."""
    says = [BootClock("first boot", 1000.0)]
    monkeypatch.setattr(kept, "read_boot_clock", lambda: says[-1])
    return says


def test_contacts(tmp_path: Path) -> None:
    assert load_contacts(tmp_path) == []
    contacts = (Address("192.0.2.1", 6084), Address("2001:db8::1", 7000))
    save_contacts(tmp_path, contacts)
    assert load_contacts(tmp_path) == list(contacts)
    assert stat.S_IMODE((tmp_path / "contacts.json").stat().st_mode) == 0o600


@pytest.mark.parametrize("text", [b"", b"{}", b'[["a"]]', b'[[1, "a"]]', b"\0", b'[["\xff",1]]'])
def test_contacts_that_cannot_be_read(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "contacts.json").write_bytes(text)
    with pytest.raises(LocalMisuse, match=r"contacts\.json"):
        load_contacts(tmp_path)


def test_role(tmp_path: Path) -> None:
    assert load_role(tmp_path) is None
    save_role(tmp_path, KeptRole("peer", 7200.0))
    assert load_role(tmp_path) == KeptRole("peer", 7200.0)


@pytest.mark.parametrize("text", [b"", b"[]", b'{"role": "boss"}', b'{"stay_s": "1"}', b'{"stay_s": -1}'])
def test_role_that_cannot_be_read(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "role.json").write_bytes(text)
    with pytest.raises(LocalMisuse, match=r"role\.json.*is .*role\.json.* now"):
        load_role(tmp_path)


def test_shedding(tmp_path: Path) -> None:
    assert load_shedding(tmp_path) is None
    save_shedding(tmp_path, KeptShedding(True, 7200.0, "no room"))
    assert load_shedding(tmp_path) == KeptShedding(True, 7200.0, "no room")


@pytest.mark.parametrize("text", [b"", b"[]", b'{"is_shed": 1}', b'{"stay_s": -1}', b'{"stay_s": 1e9}'])
def test_shedding_that_cannot_be_read(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "shedding.json").write_bytes(text)
    with pytest.raises(LocalMisuse, match=r"shedding\.json.*is .*shedding\.json.* now"):
        load_shedding(tmp_path)


def test_services(tmp_path: Path) -> None:
    assert load_services(tmp_path) == []
    services = [KeptService("turn-server", 20, "members"), KeptService("voice-mail", 0, "")]
    save_services(tmp_path, services)
    assert load_services(tmp_path) == services
    save_services(tmp_path, [])
    assert load_services(tmp_path) == []


@pytest.mark.parametrize("text", [b"", b"{}", b'[{"name": 1}]', b'[{"name": "a", "capacity": 1}]', b"[[]]"])
def test_services_that_cannot_be_read(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "services.json").write_bytes(text)
    with pytest.raises(LocalMisuse, match=r"services\.json"):
        load_services(tmp_path)


def test_phones_within_one_boot_by_its_clock(tmp_path: Path, clock: list[BootClock]) -> None:
    """The date may have jumped by fifty years meanwhile."""
    assert load_phones(tmp_path, DATE) is None
    save_phones(tmp_path, b'[{"a":1}]', None)
    clock.append(BootClock("first boot", 1030.0))
    assert load_phones(tmp_path, DATE) == (b'[{"a":1}]', 30.0)
    assert load_phones(tmp_path, None) == (b'[{"a":1}]', 30.0)


def test_phones_over_a_boot_by_the_date(tmp_path: Path, clock: list[BootClock]) -> None:
    save_phones(tmp_path, b"[]", DATE)
    clock.append(BootClock("second boot", 5.0))
    assert load_phones(tmp_path, DATE + 90.0) == (b"[]", 90.0)
    # Without a date nobody knows whether a phone is still where it was.
    assert load_phones(tmp_path, None) is None
    assert load_phones(tmp_path, DATE - 1.0) is None


def test_phones_of_a_boot_without_a_date(tmp_path: Path, clock: list[BootClock]) -> None:
    save_phones(tmp_path, b"[]", None)
    clock.append(BootClock("second boot", 5.0))
    assert load_phones(tmp_path, DATE) is None


@pytest.mark.parametrize("text", [b"", b"[]", b'{"boot_id": 1}', b"nonsense", b'{"boot_id":"\xff"}'])
def test_phones_that_cannot_be_read(tmp_path: Path, text: bytes) -> None:
    (tmp_path / "phones.json").write_bytes(text)
    with pytest.raises(LocalMisuse, match=r"phones\.json"):
        load_phones(tmp_path, DATE)
