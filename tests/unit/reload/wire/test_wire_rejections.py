"""An error code that is raised has one exception class, which makes the answer."""

from __future__ import annotations

import pytest

from p2psip.base.errors import RequestRejected
from p2psip.reload.wire.contents import ErrorResponse, UnknownKinds
from p2psip.reload.wire.rejections import GenerationCounterTooLow, Rejection, UnknownKind
from p2psip.reload.wire.storage_messages import StoreAns, StoreKindResponse


def test_no_code_has_two_classes() -> None:
    codes = [rejection.code for rejection in Rejection.__subclasses__()]
    assert len(set(codes)) == len(codes)
    assert issubclass(Rejection, RequestRejected)


@pytest.mark.parametrize("rejection", Rejection.__subclasses__(), ids=lambda rejection: rejection.__name__)
def test_a_class_is_named_as_its_code(rejection: type[Rejection]) -> None:
    assert rejection.code.rfc_name.replace("_", "").lower() == f"error{rejection.__name__.lower()}"


@pytest.mark.parametrize(
    "rejection",
    [rejection for rejection in Rejection.__subclasses__() if rejection not in (GenerationCounterTooLow, UnknownKind)],
    ids=lambda rejection: rejection.__name__,
)
def test_the_answer_says_what_is_wrong(rejection: type[Rejection]) -> None:
    assert rejection("what is wrong").response == ErrorResponse(rejection.code, b"what is wrong")


def test_error_info_of_unknown_kind_lists_as_many_as_fit() -> None:
    response = UnknownKind(range(1, 100)).response
    assert UnknownKinds.decode(response.error_info).unknown_kinds == tuple(range(1, 64))


def test_error_info_of_generation_counter_too_low_is_a_store_ans() -> None:
    answer = StoreAns((StoreKindResponse(1, 9, ()),))
    assert GenerationCounterTooLow(answer).response.error_info == answer.encode()
