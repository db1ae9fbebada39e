"""Calls through a trunk that are transferred by who is in the overlay (RFC 3515, RFC 3891)."""

from __future__ import annotations

import pytest
from trunk_bench import ANSWER, REALM, SDP, TrunkBench

from p2psip.sip.entities.gateway.limits import CONNECTS_MAX, HANDED_MAX, RING_S_MAX
from p2psip.sip.message.message import Request, Response

BOBS = SDP.replace(b"192.0.2.9", b"192.0.2.22")
TO_BOB = f"Refer-To: <sip:bob@{REALM}>\r\n"
HAS_SDP = "Content-Type: application/sdp\r\n"


def side_of_callee(invite: Request, tag: str = "ov") -> Request:
    """What a request of the callee's is within."""
    return invite.replace(fields=invite.fields.with_only("To", invite.to.with_tag(tag)))


class Transferring(TrunkBench):
    """alice talks with a number, and has the gateway call somebody else."""

    def start(self, refer_to: str = TO_BOB) -> Request:
        """The REFER is accepted; whom it has the gateway call."""
        self.up().talking()
        self.alices = self.response("overlay", "200 INVITE")
        self.refer(refer_to)
        assert "202 REFER" in self.lines("overlay"), self.lines("overlay")[-1]
        return self.request("overlay", "INVITE")

    def refer(self, refer_to: str = TO_BOB, cseq: int = 8) -> None:
        self.within("REFER", self.alices, cseq, extra=f"Contact: <sip:alice@{REALM};gr=y>\r\n{refer_to}")

    @property
    def told(self) -> list[tuple[str, str]]:
        """What alice was told, and whether it was the last word."""
        notifies = [each.message for each in self.overlay if each.line == "NOTIFY"]
        return [
            (each.body.decode().strip(), (each.fields.first("subscription-state") or "").partition(";")[0])
            for each in notifies
        ]

    def connect(self, invite: Request) -> Request:
        """bob answers; what the provider is asked then."""
        self.provider.clear()
        self.reply(invite, 200, body=BOBS)
        return self.request("provider", "INVITE")


def test_whom_a_refer_names_takes_the_place_of_who_has_sent_it() -> None:
    bench = Transferring()
    invite = bench.start()
    # He is called in the name of who is at the other end, and by whom.
    assert invite.uri_text == f"sip:bob@{REALM}"
    assert str(invite.from_.uri) == f"sip:+4912345@{REALM};gw=main"
    assert invite.fields.first("referred-by") == f"<sip:alice@{REALM}>"
    assert invite.body == b""
    assert bench.told == [("SIP/2.0 100 Trying", "active")]
    asked = bench.connect(invite)
    assert asked.body == BOBS
    assert asked.to.tag == "p"
    # Until that has worked, alice has her caller.
    assert "BYE" not in bench.lines("overlay")
    bench.answer(asked, 200, body=ANSWER)
    assert bench.lines("provider")[-1] == "ACK"
    ack = bench.request("overlay", "ACK")
    assert (ack.to.tag, ack.body, ack.content_type) == ("ov", ANSWER, "application/sdp")
    assert bench.told[1:] == [("SIP/2.0 200 OK", "terminated")]
    notify = bench.request("overlay", "NOTIFY")
    assert notify.fields.first("event") == "refer;id=8"
    assert notify.fields.first("subscription-state") == "terminated;reason=noresource"
    assert notify.content_type == "message/sipfrag"
    bench.reply(notify, 200)
    bye = bench.request("overlay", "BYE")
    assert bye.to.tag == bench.alices.from_.tag
    assert bench.trunk.calls == 1


def test_what_bob_and_the_trunk_say_then_passes_between_them() -> None:
    bench = Transferring()
    invite = bench.start()
    bench.answer(bench.connect(invite), 200, body=ANSWER)
    bench.reply(bench.request("overlay", "NOTIFY"), 200)
    bobs = side_of_callee(invite)
    bench.within("INVITE", bobs, 1, extra=f"Contact: <sip:bob@{REALM};gr=z>\r\n{HAS_SDP}", body=SDP)
    again = bench.request("provider", "INVITE")
    assert again.body == SDP
    bench.answer(again, 200, body=ANSWER)
    bench.within("ACK", bobs, 1)
    assert bench.request("provider", "ACK").cseq.number == again.cseq.number
    bench.within("BYE", bobs, 2)
    assert bench.lines("overlay")[-1] == "200 BYE"
    assert bench.request("provider", "BYE").to.tag == "p"
    assert bench.trunk.calls == 0
    over = next(note for note in bench.notes if note.event == "trunk call over")
    assert over.facts["transfers"] == 1


def test_a_bye_of_the_trunk_is_for_who_talks_with_it_then() -> None:
    bench = Transferring()
    asked = bench.connect(bench.start())
    bench.answer(asked, 200, body=ANSWER)
    bench.reply(bench.request("overlay", "NOTIFY"), 200)
    bench.overlay.clear()
    bench.within("BYE", side_of_callee(asked, "p"), 1, by="provider")
    byes = [each.message for each in bench.overlay if each.line == "BYE"]
    assert [bye.to.tag for bye in byes] == ["ov"]


def test_a_call_that_has_come_in_is_transferred_as_well() -> None:
    bench = Transferring().up()
    came = bench.ring()
    bench.reply(bench.request("overlay", "INVITE"), 200, body=SDP)
    alices = side_of_callee(bench.request("overlay", "INVITE"))
    answered = bench.response("provider", "200 INVITE")
    bench.within("ACK", answered, 1, by="provider")
    bench.within("REFER", alices, 1, extra=f"Contact: <sip:alice@{REALM};gr=y>\r\n{TO_BOB}")
    invite = bench.request("overlay", "INVITE")
    # The number of who calls, as alice was shown it.
    assert str(invite.from_.uri) == f"sip:+49777@{REALM};gw=main"
    assert invite.from_.display_name == "Mum"
    asked = bench.connect(invite)
    assert (asked.call_id, asked.body) == (came.call_id, BOBS)
    bench.answer(asked, 200, body=ANSWER, tag="i1")
    assert bench.told[-1] == ("SIP/2.0 200 OK", "terminated")
    assert bench.trunk.calls == 1


@pytest.mark.parametrize("status", [486, 603, 404, 302])
def test_who_transfers_in_vain_has_his_caller_again(status: int) -> None:
    bench = Transferring()
    bench.reply(bench.start(), status)
    assert bench.told[-1][0].startswith(f"SIP/2.0 {status} ")
    assert bench.told[-1][1] == "terminated"
    bench.reply(bench.request("overlay", "NOTIFY"), 200)
    assert "BYE" not in bench.lines("overlay")
    assert bench.trunk.calls == 1
    # And may try somebody else: RFC 3515 2.4.6, by the number of the REFER the two are told apart.
    bench.refer(f"Refer-To: <sip:carol@{REALM}>\r\n", cseq=9)
    assert bench.request("overlay", "INVITE").uri_text == f"sip:carol@{REALM}"
    assert bench.request("overlay", "NOTIFY").fields.first("event") == "refer;id=9"


def test_nobody_who_is_called_for_ever() -> None:
    bench = Transferring()
    bench.reply(bench.start(), 180)
    bench.run(RING_S_MAX + 1.0)
    assert "CANCEL" in bench.lines("overlay")
    assert bench.told[-1][1] == "terminated"
    assert bench.trunk.calls == 1


@pytest.mark.parametrize("status", [488, 500])
def test_a_trunk_that_does_not_take_it_leaves_all_as_it_was(status: int) -> None:
    bench = Transferring()
    asked = bench.connect(bench.start())
    bench.answer(asked, status)
    # 13.2.2.4: who has answered "MUST" be acknowledged, and is told goodbye.
    assert bench.lines("overlay")[-3:] == ["ACK", "BYE", "NOTIFY"]
    assert bench.request("overlay", "BYE").to.tag == "ov"
    assert bench.told[-1][0].startswith(f"SIP/2.0 {status} ")
    assert bench.trunk.calls == 1


def test_a_trunk_that_does_not_know_the_call_any_more_ends_it() -> None:
    bench = Transferring()
    asked = bench.connect(bench.start())
    bench.answer(asked, 481)
    byes = {each.message.to.tag for each in bench.overlay if each.line == "BYE"}
    assert byes == {"ov", bench.alices.from_.tag}
    assert bench.trunk.calls == 0


def test_14_1_a_trunk_that_has_just_begun_something_itself_is_asked_again() -> None:
    bench = Transferring()
    asked = bench.connect(bench.start())
    for _ in range(CONNECTS_MAX - 1):
        bench.answer(asked, 491)
        bench.provider.clear()
        bench.run(4.1)
        asked = bench.request("provider", "INVITE")
        assert asked.body == BOBS
    bench.answer(asked, 491)
    assert bench.told[-1] == ("SIP/2.0 491 Request Pending", "terminated")
    assert bench.trunk.calls == 1


def test_what_crosses_while_the_trunk_is_asked_waits() -> None:
    """RFC 3261 14.2: "MUST return a 491 (Request Pending) response"."""
    bench = Transferring()
    asked = bench.connect(bench.start())
    bench.within("INVITE", side_of_callee(asked, "p"), 1, extra="Contact: <sip:gw@198.51.100.7>\r\n", by="provider")
    assert bench.lines("provider")[-1] == "491 INVITE"
    bench.within("UPDATE", bench.alices, 9, extra="Contact: <sip:a@x>\r\n")
    assert bench.lines("overlay")[-1] == "491 UPDATE"


def test_who_transfers_may_hang_up_before_it_is_done() -> None:
    bench = Transferring()
    invite = bench.start()
    bench.within("BYE", bench.alices, 9)
    assert bench.lines("overlay")[-1] == "200 BYE"
    assert bench.trunk.calls == 1
    told = len(bench.told)
    bench.answer(bench.connect(invite), 200, body=ANSWER)
    assert bench.lines("overlay")[-1] == "ACK"
    assert len(bench.told) == told
    assert bench.trunk.calls == 1


def test_if_nothing_comes_of_it_then_the_trunk_is_told_goodbye() -> None:
    bench = Transferring()
    invite = bench.start()
    bench.within("BYE", bench.alices, 9)
    bench.overlay.clear()
    bench.reply(invite, 486)
    bye = bench.request("provider", "BYE")
    assert "the transfer has failed: 486 Busy Here" in (bye.fields.first("reason") or "")
    assert not [line for line in bench.lines("overlay") if line in ("BYE", "NOTIFY")]
    assert bench.trunk.calls == 0


@pytest.mark.parametrize("has_answered", [False, True])
def test_whoever_hangs_up_at_the_trunk_meanwhile_ends_all(has_answered: bool) -> None:
    bench = Transferring()
    invite = bench.start()
    bench.reply(invite, 180)
    sent = bench.request("provider", "INVITE")
    if has_answered:
        bench.connect(invite)
    bench.within("BYE", side_of_callee(sent, "p"), 1, by="provider")
    assert "200 BYE" in bench.lines("provider")
    assert ("BYE" if has_answered else "CANCEL") in bench.lines("overlay")
    assert bench.told[-1] == ("SIP/2.0 487 Request Terminated", "terminated")
    assert bench.request("overlay", "BYE").to.tag == bench.alices.from_.tag
    assert bench.trunk.calls == 0


def test_an_answer_that_comes_after_that_is_hung_up_on() -> None:
    bench = Transferring()
    invite = bench.start()
    bench.reply(invite, 180)
    bench.within("BYE", side_of_callee(bench.request("provider", "INVITE"), "p"), 1, by="provider")
    bench.overlay.clear()
    bench.reply(invite, 200, body=BOBS)
    assert bench.lines("overlay") == ["ACK", "BYE"]
    bench.reply(invite, 200, body=BOBS)
    assert bench.lines("overlay") == ["ACK", "BYE", "ACK"]


def test_answers_that_come_again_are_acknowledged_again() -> None:
    bench = Transferring()
    invite = bench.start()
    asked = bench.connect(invite)
    bench.reply(invite, 200, body=BOBS)
    assert bench.lines("provider").count("INVITE") == 1
    bench.answer(asked, 200, body=ANSWER)
    bench.answer(asked, 200, body=ANSWER)
    bench.reply(invite, 200, body=BOBS)
    assert bench.lines("provider").count("ACK") == 2
    acks = [each.message for each in bench.overlay if each.line == "ACK"]
    assert [ack.body for ack in acks] == [ANSWER, ANSWER]


def test_who_answers_without_an_offer_cannot_be_talked_with() -> None:
    bench = Transferring()
    bench.reply(bench.start(), 200)
    assert bench.lines("overlay")[-3:] == ["ACK", "BYE", "NOTIFY"]
    assert bench.told[-1][0].startswith("SIP/2.0 488 ")
    assert bench.trunk.calls == 1


@pytest.mark.parametrize(
    ("refer_to", "status"),
    [
        ("", 400),
        (f"{TO_BOB}{TO_BOB}", 400),
        ("Refer-To: <<\r\n", 400),
        ("Refer-To: <tel:+4912>\r\n", 416),
        ("Refer-To: <http://x.example/>\r\n", 416),
        (f"Refer-To: <sip:bob@{REALM};method=MESSAGE>\r\n", 603),
        (f"{TO_BOB}Require: norefersub\r\n", 420),
    ],
)
def test_3515_2_4_2_what_is_not_followed(refer_to: str, status: int) -> None:
    """What is no one call to a SIP URI: "An agent responding to a REFER method MUST return a 400 (Bad Request) if the
    request contained zero or more than one Refer-To header field values."
    """
    bench = Transferring().up()
    bench.talking()
    bench.alices = bench.response("overlay", "200 INVITE")
    bench.refer(refer_to)
    assert bench.lines("overlay")[-1] == f"{status} REFER"
    assert "NOTIFY" not in bench.lines("overlay")
    assert bench.trunk.calls == 1


def test_one_transfer_at_a_time_and_none_before_somebody_talks() -> None:
    bench = Transferring()
    bench.start()
    bench.refer(cseq=9)
    assert bench.lines("overlay")[-1] == "491 REFER"
    early = Transferring().up()
    early.dial()
    early.answer(early.request("provider", "INVITE"), 183, body=ANSWER)
    early.alices = early.response("overlay", "183 INVITE")
    early.refer()
    assert early.lines("overlay")[-1] == "603 REFER"


def test_the_trunk_itself_transfers_nobody() -> None:
    bench = TrunkBench().up()
    _, sent = bench.talking()
    bench.within("REFER", side_of_callee(sent, "p"), 1, extra="Refer-To: <sip:bob@x>\r\n", by="provider")
    assert bench.lines("provider")[-1] == "405 REFER"
    assert "REFER" not in bench.response("provider", "405 REFER").fields.tokens("allow")


def test_who_may_transfer_is_told_so() -> None:
    """RFC 3891 section 5: "UAs which support the Replaces header MUST include the "replaces" option tag in a Supported
    header field."
    """
    bench = TrunkBench().up()
    bench.dial(extra="Allow: INVITE, ACK, BYE, REFER\r\nSupported: replaces, timer\r\n")
    sent = bench.request("provider", "INVITE")
    assert sent.fields.tokens("allow") == ["INVITE", "ACK", "BYE"]
    assert sent.fields.tokens("supported") == ["timer"]
    bench.answer(sent, 200, ("Allow", "INVITE, ACK, BYE"), body=ANSWER)
    answered = bench.response("overlay", "200 INVITE")
    assert answered.fields.tokens("allow") == ["INVITE", "ACK", "BYE", "REFER"]
    assert answered.fields.tokens("supported") == ["replaces"]


def test_a_refer_of_a_dialog_of_somebody_else_passes_that_on() -> None:
    """Attended: the call that the target has with alice is what he is to go on with (RFC 3891)."""
    bench = Transferring()
    wanted = "Replaces=c%40h%3Bto-tag%3D1%3Bfrom-tag%3D2&Subject=no"
    invite = bench.start(f"Refer-To: <sip:bob@{REALM};gr=z;at=t?{wanted}>\r\n")
    assert invite.uri_text == f"sip:bob@{REALM};gr=z;at=t"
    assert invite.fields.first("replaces") == "c@h;to-tag=1;from-tag=2"
    assert invite.fields.first("subject") is None


# RFC 3891: an INVITE that is to be in the place of a dialog of ours


def replaces(answered: Response, **changes: str) -> str:
    """As alice writes it who is told to, or who tells somebody: "to-tag" is the trunk's."""
    parts = {"call": answered.call_id, "to": answered.to.tag, "from": answered.from_.tag, "more": ""} | changes
    return f"Replaces: {parts['call']};to-tag={parts['to']};from-tag={parts['from']}{parts['more']}\r\n"


def test_3891_3_who_was_told_takes_the_place_of_a_dialog() -> None:
    """ "it accepts the new INVITE by sending a 200-class response, and shuts down the replaced dialog by sending a
    BYE."
    """
    bench = TrunkBench().up()
    bench.talking()
    alices = bench.response("overlay", "200 INVITE")
    bench.provider.clear()
    bench.dial("trunk-main", asserted="bob", extra=f"{replaces(alices)}Require: replaces\r\n", body=BOBS)
    asked = bench.request("provider", "INVITE")
    assert (asked.to.tag, asked.body) == ("p", BOBS)
    assert "BYE" not in bench.lines("overlay")
    bench.answer(asked, 200, body=ANSWER)
    bobs = bench.response("overlay", "200 INVITE")
    assert (bobs.body, bobs.call_id == alices.call_id) == (ANSWER, False)
    assert bench.request("overlay", "BYE").to.tag == alices.from_.tag
    bench.within("ACK", bobs, 7)
    assert bench.lines("provider")[-1] == "ACK"
    # alice, who hangs up at the same time, is heard; what she says else is of no call.
    bench.within("INFO", alices, 8)
    assert bench.lines("overlay")[-1] == "481 INFO"
    bench.within("BYE", alices, 9)
    assert bench.lines("overlay")[-1] == "200 BYE"
    assert bench.trunk.calls == 1
    bench.within("BYE", bobs, 8)
    assert bench.request("provider", "BYE").to.tag == "p"
    assert bench.trunk.calls == 0


def test_3891_3_what_the_trunk_refuses_leaves_the_dialog_unchanged() -> None:
    """ "the UA MUST return an appropriate error response and MUST leave the matched dialog unchanged." """
    bench = TrunkBench().up()
    bench.talking()
    alices = bench.response("overlay", "200 INVITE")
    bench.dial("trunk-main", asserted="bob", extra=replaces(alices), body=BOBS)
    bench.answer(bench.request("provider", "INVITE"), 488)
    assert bench.lines("overlay")[-1] == "488 INVITE"
    assert "BYE" not in bench.lines("overlay")
    bench.within("INFO", alices, 8)
    assert bench.lines("provider")[-1] == "INFO"
    # And the next may try.
    bench.dial("trunk-main", asserted="carol", extra=replaces(alices), body=BOBS)
    bench.answer(bench.request("provider", "INVITE"), 200, body=ANSWER)
    assert bench.request("overlay", "BYE").to.tag == alices.from_.tag


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"call": "other"}, 481),
        ({"to": "1"}, 481),
        ({"from": "1"}, 481),
        ({"more": ";early-only"}, 486),
        ({"to": ""}, 400),
        ({"more": "\r\nReplaces: c;to-tag=1;from-tag=2"}, 400),
    ],
)
def test_3891_3_what_is_not_replaced(changes: dict[str, str], status: int) -> None:
    bench = TrunkBench().up()
    bench.talking()
    alices = bench.response("overlay", "200 INVITE")
    bench.dial("trunk-main", asserted="bob", extra=replaces(alices, **changes), body=BOBS)
    assert bench.lines("overlay")[-1] == f"{status} INVITE"
    assert bench.trunk.calls == 1


def test_3891_3_neither_an_early_dialog_nor_one_that_is_over() -> None:
    bench = TrunkBench().up()
    bench.dial()
    bench.answer(bench.request("provider", "INVITE"), 183, body=ANSWER)
    early = bench.response("overlay", "183 INVITE")
    bench.dial("trunk-main", asserted="bob", extra=replaces(early), body=BOBS)
    assert bench.lines("overlay")[-1] == "481 INVITE"
    over = TrunkBench().up()
    over.talking()
    alices = over.response("overlay", "200 INVITE")
    over.within("BYE", alices, 8)
    over.dial("trunk-main", asserted="bob", extra=replaces(alices), body=BOBS)
    assert over.lines("overlay")[-1] == "603 INVITE"


def test_who_gives_up_while_the_trunk_is_asked_leaves_it_as_it_was() -> None:
    bench = TrunkBench().up()
    bench.talking()
    alices = bench.response("overlay", "200 INVITE")
    invite = bench.dial("trunk-main", asserted="bob", extra=replaces(alices), body=BOBS)
    asked = bench.request("provider", "INVITE")
    bench.answer(asked, 100)
    bench.cancel(invite)
    assert bench.lines("provider")[-1] == "CANCEL"
    bench.answer(asked, 487)
    assert bench.lines("overlay")[-1] == "487 INVITE"
    bench.within("INFO", alices, 8)
    assert bench.lines("provider")[-1] == "INFO"


def test_one_call_goes_through_many_hands_and_only_the_last_are_remembered() -> None:
    bench = TrunkBench(lines=frozenset({"*"})).up()
    bench.talking()
    latest = bench.response("overlay", "200 INVITE")
    for _ in range(HANDED_MAX + 3):
        bench.dial("trunk-main", asserted="bob", extra=replaces(latest), body=BOBS)
        bench.answer(bench.request("provider", "INVITE"), 200, body=ANSWER)
        latest = bench.response("overlay", "200 INVITE")
        bench.within("ACK", latest, 7)
    ((bridge, _),) = bench.trunk._bridges.values()
    assert len(bridge._handed) == HANDED_MAX
    assert bridge.transfers == HANDED_MAX + 3
    bench.within("BYE", latest, 8)
    assert bench.trunk.calls == 0


def test_what_was_under_way_with_who_has_left_is_not_for_who_has_come() -> None:
    """The ACK of the trunk to an answer of alice's, who has nobody to talk with by then."""
    bench = TrunkBench().up()
    _, sent = bench.talking()
    alices = bench.response("overlay", "200 INVITE")
    theirs = side_of_callee(sent, "p")
    bench.within("INVITE", theirs, 1, extra=f"Contact: <sip:gw@198.51.100.7>\r\n{HAS_SDP}", body=SDP, by="provider")
    bench.reply(bench.request("overlay", "INVITE"), 200, body=SDP)
    bench.dial("trunk-main", asserted="bob", extra=replaces(alices), body=BOBS)
    bench.answer(bench.request("provider", "INVITE"), 200, body=ANSWER)
    assert bench.response("overlay", "200 INVITE").call_id != alices.call_id
    bench.overlay.clear()
    bench.within("ACK", theirs, 1, by="provider")
    assert "ACK" not in bench.lines("overlay")
