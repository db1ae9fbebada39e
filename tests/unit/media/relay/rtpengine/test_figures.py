"""What an engine has counted: as Debian's 10.5 says it, and as nobody should."""

import pytest

from p2psip.media.relay.rtpengine.bencode import Value
from p2psip.media.relay.rtpengine.figures import Counted, counted

RTCP: Value = {"local port": 40017, "stats": {"packets": 3, "bytes": 200, "errors": 0}}
ANSWER: dict[str, Value] = {
    "created": 1795949499,
    "SSRC": {},
    "tags": {
        "caller": {
            "tag": "caller",
            "medias": [
                {
                    "index": 1,
                    "type": "audio",
                    "streams": [
                        {
                            "local port": 40016,
                            "last packet": 1795949499,
                            "stats": {"packets": 8, "bytes": 1253, "errors": 1},
                        },
                        RTCP,
                    ],
                },
                {"index": 2, "streams": []},
            ],
        },
        "callee": {"tag": "callee", "medias": []},
    },
    "result": "ok",
}


def test_rtp_is_counted_by_phone_and_stream() -> None:
    assert counted(ANSWER) == {("caller", 0): Counted(8, 1253, 1), ("caller", 1): Counted()}


@pytest.mark.parametrize(
    ("fields", "figures"),
    [
        ({}, {}),
        ({"tags": 1}, {}),
        ({"tags": ["caller"]}, {}),
        ({"tags": {"caller": "x"}}, {}),
        ({"tags": {"caller": {"medias": 1}}}, {}),
        ({"tags": {"caller": {"medias": [1]}}}, {("caller", 0): Counted()}),
        ({"tags": {"caller": {"medias": [{"streams": [1]}]}}}, {("caller", 0): Counted()}),
        ({"tags": {"caller": {"medias": [{"streams": [{"stats": []}]}]}}}, {("caller", 0): Counted()}),
        (
            {"tags": {"caller": {"medias": [{"streams": [{"stats": {"packets": -1, "bytes": "x", "errors": 2}}]}]}}},
            {("caller", 0): Counted(0, 0, 2)},
        ),
    ],
)
def test_what_is_not_there_or_no_number_is_nothing(
    fields: dict[str, Value], figures: dict[tuple[str, int], Counted]
) -> None:
    assert counted(fields) == figures
