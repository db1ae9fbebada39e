"""The errors that RELOAD answers requests with, one class for each code (RFC 6940 section 6.3.3.1, 14.9; RFC 7851 4.4).

A core raises one; whoever answers the request sends its `response`. Error_Exp_A and Error_Exp_B are missing:
they "MUST NOT be used for operational deployments".
"""

from __future__ import annotations

from collections.abc import Iterable

from p2psip.base.errors import RequestRejected
from p2psip.reload.wire.contents import ErrorCode, ErrorResponse, UnknownKinds
from p2psip.reload.wire.storage_messages import StoreAns

UNKNOWN_KINDS_MAX = 63
"""As many as fit in KindId unknown_kinds<0..2^8-1>."""


class Rejection(RequestRejected):
    """An Error_Response in the making: the class says the code, the text what was wrong."""

    code: ErrorCode

    @property
    def response(self) -> ErrorResponse:
        """The body to answer with."""
        return ErrorResponse.of(self.code, str(self))


class Forbidden(Rejection):
    """The requesting node does not have permission to make this request."""

    code = ErrorCode.FORBIDDEN


class NotFound(Rejection):
    """The resource or node cannot be found or does not exist."""

    code = ErrorCode.NOT_FOUND


class RequestTimeout(Rejection):
    """There was no time to serve the request: "The requesting node MAY resend the request at a later time"."""

    code = ErrorCode.REQUEST_TIMEOUT


class GenerationCounterTooLow(Rejection):
    """The expected generation counter is not the current one."""

    code = ErrorCode.GENERATION_COUNTER_TOO_LOW

    def __init__(self, current: StoreAns) -> None:
        super().__init__("the generation counter is another")
        self.current = current

    @property
    def response(self) -> ErrorResponse:
        """7.4.1.2: "a StoreAns response containing the correct generation counter for each Kind"."""
        return ErrorResponse(self.code, self.current.encode())


class IncompatibleWithOverlay(Rejection):
    """The request comes from another overlay, or another idea of this one."""

    code = ErrorCode.INCOMPATIBLE_WITH_OVERLAY


class UnsupportedForwardingOption(Rejection):
    """A critical forwarding option is not supported (section 6.3.2.3)."""

    code = ErrorCode.UNSUPPORTED_FORWARDING_OPTION


class DataTooLarge(Rejection):
    """A value, or the number of them, exceeds a limit of its Kind or of this peer."""

    code = ErrorCode.DATA_TOO_LARGE


class DataTooOld(Rejection):
    """The stored value is newer than the one offered, or as new."""

    code = ErrorCode.DATA_TOO_OLD


class UnknownKind(Rejection):
    """The request names Kinds that are not known here."""

    code = ErrorCode.UNKNOWN_KIND

    def __init__(self, kinds: Iterable[int]) -> None:
        self.kinds = tuple(kinds)
        super().__init__("unknown Kind " + ", ".join(f"{kind:#x}" for kind in self.kinds))

    @property
    def response(self) -> ErrorResponse:
        """7.4.1.2: "which lists all the Kinds that were unrecognized", as far as they fit."""
        return ErrorResponse(self.code, UnknownKinds(self.kinds[:UNKNOWN_KINDS_MAX]).encode())


class UnknownExtension(Rejection):
    """The request has a critical extension that is not known here."""

    code = ErrorCode.UNKNOWN_EXTENSION


class ResponseTooLarge(Rejection):
    """The response would exceed the request's max_response_length."""

    code = ErrorCode.RESPONSE_TOO_LARGE


class ConfigTooOld(Rejection):
    """The request was made under an older configuration (section 6.3.2.1)."""

    code = ErrorCode.CONFIG_TOO_OLD


class ConfigTooNew(Rejection):
    """The request was made under a newer configuration (section 6.3.2.1)."""

    code = ErrorCode.CONFIG_TOO_NEW


class InProgress(Rejection):
    """An Attach with this node is already under way (section 6.5.1.2)."""

    code = ErrorCode.IN_PROGRESS


class InvalidMessage(Rejection):
    """Something else is wrong with the request."""

    code = ErrorCode.INVALID_MESSAGE


class MessageExpired(Rejection):
    """The expiration of a diagnostics request lies in the past."""

    code = ErrorCode.MESSAGE_EXPIRED
