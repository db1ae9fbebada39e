"""Where an offer wants its media, before anybody has answered it."""

from __future__ import annotations

import pytest

from p2psip.media.negotiation import offered_host

HEAD = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\n"


@pytest.mark.parametrize(
    ("description", "host"),
    [
        (HEAD + "c=IN IP4 192.0.2.5\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n", "192.0.2.5"),
        (HEAD + "c=IN IP4 192.0.2.5\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\nc=IN IP4 192.0.2.6\r\n", "192.0.2.6"),
        (HEAD + "t=0 0\r\nm=video 0 RTP/AVP 31\r\nm=audio 4000 RTP/AVP 0\r\nc=IN IP6 2001:db8::6\r\n", "2001:db8::6"),
        (HEAD + "c=IN IP4 0.0.0.0\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n", None),
        (HEAD + "c=IN IP4 224.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n", None),
        (HEAD + "c=IN IP4 phone.example\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n", None),
        (HEAD + "t=0 0\r\n", None),
        ("", None),
        ("nonsense", None),
    ],
)
def test_the_host_of_the_first_stream(description: str, host: str | None) -> None:
    assert offered_host(description.encode()) == host
