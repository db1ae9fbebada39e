"""Message contents, codes and errors (p2psip.reload.wire.contents)."""

from __future__ import annotations

import pytest

from p2psip.reload.wire.contents import (
    ErrorCode,
    ErrorResponse,
    MessageCode,
    MessageContents,
    MessageExtension,
    MessageExtensionType,
)


def test_byte_for_byte() -> None:
    """Code, body with four length bytes, extensions with four."""
    extension = MessageExtension(MessageExtensionType.EXP_EXT, True, b"ab")
    contents = MessageContents(MessageCode.PING_REQ, b"\0\0", (extension,))
    assert contents.encode() == bytes.fromhex("0017 00000002 0000 00000009 0001 01 00000002 6162")


@pytest.mark.parametrize("code", [code for code in MessageCode if code not in (0, 0xFFFF)])
def test_every_request_has_its_answer(code: MessageCode) -> None:
    """Codes are paired, and the names say so."""
    if code.is_request:
        assert code.rfc_name.endswith("_req")
        assert code.answer.rfc_name == code.rfc_name.removesuffix("_req") + "_ans"
    else:
        assert code.rfc_name.endswith("_ans")


def test_neither_error_nor_reserved_codes_are_requests() -> None:
    """0xFFFF and 0x8001 are odd as well."""
    assert not MessageCode.ERROR.is_request
    assert not MessageCode(0x8001).is_request
    with pytest.raises(AssertionError, match="ping_ans is no request"):
        _ = MessageCode.PING_ANS.answer


def test_error_with_text() -> None:
    """The text is UTF-8 and may be longer than fits."""
    error = ErrorResponse.of(ErrorCode.FORBIDDEN, "für dich nicht")
    assert error.encode() == bytes.fromhex("0002 000f") + "für dich nicht".encode()
    assert error.text == "für dich nicht"
    assert len(ErrorResponse.of(ErrorCode.FORBIDDEN, "x" * 70000).error_info) == 65535
    assert ErrorResponse(ErrorCode.FORBIDDEN, b"\xff").text == "�"
