"""Message contents and errors (RFC 6940 section 6.3.3, 14.8 and 14.9)."""

from __future__ import annotations

from typing import Annotated

from p2psip.reload.wire.common import KindId
from p2psip.reload.wire.language.codec import Struct, Vector, structure
from p2psip.reload.wire.language.primitives import Boolean, Opaque16, Opaque32, Rest, WireEnum


class MessageCode(WireEnum, width=2, is_open=True):
    """Message codes (section 14.8): requests are odd, the answer's code is the request's plus one."""

    INVALID_MESSAGE_CODE = 0, "invalidMessageCode"
    PROBE_REQ = 0x1
    PROBE_ANS = 0x2
    ATTACH_REQ = 0x3
    ATTACH_ANS = 0x4
    STORE_REQ = 0x7
    STORE_ANS = 0x8
    FETCH_REQ = 0x9
    FETCH_ANS = 0xA
    FIND_REQ = 0xD
    FIND_ANS = 0xE
    JOIN_REQ = 0xF
    JOIN_ANS = 0x10
    LEAVE_REQ = 0x11
    LEAVE_ANS = 0x12
    UPDATE_REQ = 0x13
    UPDATE_ANS = 0x14
    ROUTE_QUERY_REQ = 0x15
    ROUTE_QUERY_ANS = 0x16
    PING_REQ = 0x17
    PING_ANS = 0x18
    STAT_REQ = 0x19
    STAT_ANS = 0x1A
    APP_ATTACH_REQ = 0x1D
    APP_ATTACH_ANS = 0x1E
    CONFIG_UPDATE_REQ = 0x21
    CONFIG_UPDATE_ANS = 0x22
    EXP_A_REQ = 0x23
    EXP_A_ANS = 0x24
    EXP_B_REQ = 0x25
    EXP_B_ANS = 0x26
    PATH_TRACK_REQ = 0x27
    """RFC 7851 section 9.3."""
    PATH_TRACK_ANS = 0x28
    PRIVATE_REQ = 0x7F01
    """Ours (docs/decisions/private-messages.md)."""
    PRIVATE_ANS = 0x7F02
    ERROR = 0xFFFF

    @property
    def is_request(self) -> bool:
        """True for a code that wants an answer."""
        return self < 0x8000 and self % 2 == 1

    @property
    def answer(self) -> MessageCode:
        """The code of the answer to this request."""
        assert self.is_request, f"{self.rfc_name} is no request"
        return _ANSWERS.get(self) or MessageCode(self + 1)


_ANSWERS = {code: MessageCode(code + 1) for code in MessageCode if code.is_request}


class ErrorCode(WireEnum, width=2, is_open=True):
    """Error codes (section 14.9)."""

    INVALID_ERROR_CODE = 0, "invalidErrorCode"
    FORBIDDEN = 0x2, "Error_Forbidden"
    NOT_FOUND = 0x3, "Error_Not_Found"
    REQUEST_TIMEOUT = 0x4, "Error_Request_Timeout"
    GENERATION_COUNTER_TOO_LOW = 0x5, "Error_Generation_Counter_Too_Low"
    INCOMPATIBLE_WITH_OVERLAY = 0x6, "Error_Incompatible_with_Overlay"
    UNSUPPORTED_FORWARDING_OPTION = 0x7, "Error_Unsupported_Forwarding_Option"
    DATA_TOO_LARGE = 0x8, "Error_Data_Too_Large"
    DATA_TOO_OLD = 0x9, "Error_Data_Too_Old"
    TTL_EXCEEDED = 0xA, "Error_TTL_Exceeded"
    MESSAGE_TOO_LARGE = 0xB, "Error_Message_Too_Large"
    UNKNOWN_KIND = 0xC, "Error_Unknown_Kind"
    UNKNOWN_EXTENSION = 0xD, "Error_Unknown_Extension"
    RESPONSE_TOO_LARGE = 0xE, "Error_Response_Too_Large"
    CONFIG_TOO_OLD = 0xF, "Error_Config_Too_Old"
    CONFIG_TOO_NEW = 0x10, "Error_Config_Too_New"
    IN_PROGRESS = 0x11, "Error_In_Progress"
    EXP_A = 0x12, "Error_Exp_A"
    EXP_B = 0x13, "Error_Exp_B"
    INVALID_MESSAGE = 0x14, "Error_Invalid_Message"
    UNDERLAY_DESTINATION_UNREACHABLE = 0x15, "Error_Underlay_Destination_Unreachable"
    """From here on RFC 7851 section 9.4."""
    UNDERLAY_TIME_EXCEEDED = 0x16, "Error_Underlay_Time_Exceeded"
    MESSAGE_EXPIRED = 0x17, "Error_Message_Expired"
    UPSTREAM_MISROUTING = 0x18, "Error_Upstream_Misrouting"
    LOOP_DETECTED = 0x19, "Error_Loop_Detected"
    TTL_HOPS_EXCEEDED = 0x1A, "Error_TTL_Hops_Exceeded"


class MessageExtensionType(WireEnum, width=2, is_open=True):
    """Types of MessageExtension (section 14.14)."""

    INVALID_MESSAGE_EXTENSION_TYPE = 0, "invalidMessageExtensionType"
    EXP_EXT = 1, "exp-ext"
    DIAGNOSTIC_PING = 2, "Diagnostic_Ping"
    """RFC 7851 section 9.5."""
    KEEPS_ALIVE = 0x7F01, "p2psip_keeps_alive"
    """Of our own, in a Ping over a link and its answer, never critical, without contents: acknowledgements that come
    once more are signs of life to its sender. The number is far from where the next would be assigned.
    """


@structure
class MessageExtension(Struct):
    """An extension of the message contents (section 6.3.3)."""

    type: MessageExtensionType
    critical: Boolean
    extension_contents: Opaque32


@structure
class MessageContents(Struct):
    """The message being delivered (section 6.3.3); `message.body_of` decodes its body."""

    message_code: MessageCode
    message_body: Opaque32
    extensions: Annotated[tuple[MessageExtension, ...], Vector(4)] = ()


ERROR_INFO_MAX = 0xFFFF


@structure
class ErrorResponse(Struct):
    """Body of an error (section 6.3.3.1)."""

    error_code: ErrorCode
    error_info: Opaque16

    @classmethod
    def of(cls, error_code: ErrorCode, text: str) -> ErrorResponse:
        """An error with a text that says what went wrong; the text is cut where it no longer fits."""
        return cls(error_code, text.encode()[:ERROR_INFO_MAX])

    @property
    def text(self) -> str:
        """The error_info as UTF-8 text, which it is unless otherwise specified."""
        return self.error_info.decode(errors="replace")


@structure
class UnknownKinds(Struct):
    """The error_info of Error_Unknown_Kind (section 7.4.1.2)."""

    unknown_kinds: Annotated[tuple[KindId, ...], Vector(1)]


@structure
class UnknownBody(Struct):
    """Body of a message whose code we do not know."""

    body: Annotated[bytes, Rest()]
