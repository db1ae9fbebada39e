"""The file of the dial plan: what it may say, and for each mistake the line that it is in."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2psip.base.errors import LocalMisuse
from p2psip.daemon.state.dial_plan_file import DIAL_PLAN_FILE, load_numbering
from p2psip.sip.entities.numbers.groups import Group
from p2psip.sip.entities.numbers.numbering import Numbering

GOOD = """
callsigns = ["dl1abc"]
mailbox = "voicemail"

[extensions]
42 = "bob"
"*1" = "desk"

[[rule]]
pattern = "XX"
prepend = "82"

[[rule]]
pattern = "00."
refuse = "not abroad"
lines = ["carol"]
priority = 10

[emergency]
numbers = ["112"]
to = ["desk"]

[codes]
forward = "*21*"
intercom = ""

[group.sales]
members = ["alice", "bob", "alice"]

[group.60]
members = ["alice"]
ring = "in-order"
ring_s = 10
otherwise = "desk"
"""


def read(directory: Path, text: str) -> Numbering:
    (directory / DIAL_PLAN_FILE).write_text(text)
    return load_numbering(directory)


def test_no_file_is_no_plan(tmp_path: Path) -> None:
    assert load_numbering(tmp_path) == Numbering()


def test_all_that_it_may_say(tmp_path: Path) -> None:
    numbering = read(tmp_path, GOOD)
    dialled = {number: numbering.plan.ruled(number, "carol") for number in ("42", "*1", "55", "0049", "351222", "x")}
    assert {number: ruled and (ruled.number, ruled.refusal) for number, ruled in dialled.items()} == {
        "42": ("bob", ""),
        "*1": ("desk", ""),
        "55": ("8255", ""),
        "0049": ("0049", "not abroad"),
        "351222": ("dl1abc", ""),
        "x": None,
    }
    assert numbering.emergency.is_meant("112")
    assert numbering.emergency.to == ("desk",)
    assert numbering.codes.read("*21*42") == ("forward", "42")
    assert numbering.codes.read("*8042") is None
    assert numbering.codes.read("*43") == ("echo", "")
    assert numbering.groups == {
        "sales": Group(("alice", "bob")),
        "60": Group(("alice",), "in-order", 10, "desk"),
    }
    assert numbering.mailbox == "voicemail"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('\n[[rule]]\npattern = "X-A"', "line 3: 'A' is in no pattern"),
        ("\n[[rule]]\npattern = 5", 'line 3: pattern: write a pattern in quotes, as "9XXX"'),
        ("\n[[rule]]\nstrip = 5", "line 2: there is no pattern in it"),
        ('\n[[rule]]\npattern = "X"\nfoo = 5', "line 4: there is no setting foo; there are pattern, strip"),
        ('\n[[rule]]\npattern = "X"\nlines = "bob"', "line 4: lines: write a list of names"),
        ('\n[[rule]]\npattern = "X"\nlines = ["Bob"]', "line 4: 'Bob' is no user's name"),
        ('[[rule]]\npattern = "X"\nto = "b"\n[[rule]]\npattern = "X"\nto = "c"', "rule 2 (line 4) can never be used"),
        ('[[rule]]\npattern = "Z"\n[[rule]]\npattern = "X"\nstrip = 2', "line 5: strip is 2, and X matches 1"),
        ('[[rule]]\npattern = "X"\npriority = 5000', "line 3: priority: write a number from 0 to 1000"),
        ('[extensions]\n42 = "bob"\n42 = "carol"', "line 3: 42 is in line 2 already: leave one of the two out"),
        ("[extensions]\n42 = \u201cbob\u201d", "line 2: \u201c is no quotation mark here: write straight ones"),
        ('[extensions]\n4.2 = "bob"', "line 2: 4.2 is no number: leave the dot out"),
        ('[extensions]\n42 = "bob"\ncallsigns = ["dl1abc"]', "line 3: callsigns stand above all sections: move them"),
        ('[[rule]]\npattern = "X"\ncallsigns = ["dl1abc"]', "line 3: callsigns stand above all sections: move them"),
        ('[codes]\ncallsigns = ["dl1abc"]', "line 2: callsigns stand above all sections: move them"),
        ('[emergency]\nto = ["a"]\ncallsigns = ["dl1abc"]', "line 3: callsigns stand above all sections: move them"),
        ('[[rule]]\npattern = "X"\nprepend = "Foo"', "line 3: prepend: write what to put in front, in quotes: digits"),
        ('[extensions]\n"*72" = "bob"', "line 2: *72 is the star code for forward: leave it out, or give"),
        ('[[rule]]\npattern = "*7242"\nto = "bob"', "line 2: *7242 is the star code for forward: leave it out"),
        ('[codes]\nforward = "*21"\n[extensions]\n"*21" = "a"', "line 4: *21 is the star code for forward"),
        ('[extensions]\n41 = "bob"\n42 = 3', 'line 3: write a name in quotes, as 42 = "bob"'),
        ('[extensions]\n4X = "bob"', "line 2: '4X' is a pattern, and extensions are numbers"),
        ('\ncallsigns = ["dl1abc", "el1abc"]', "line 2: dl1abc and el1abc are both 351222 on the keypad"),
        ('callsigns = "dl1abc"', "line 1: callsigns: write a list of names"),
        ("foo = 1", "line 1: there is no setting foo; there are callsigns"),
        ('[rule]\npattern = "X"', "line 1: rule: write a section [[rule]], with two brackets"),
        (
            '[emergency]\nto = "bob"',
            'line 2: to names who answers emergency calls: write a list of users, as to = ["desk',
        ),
        ("[emergency]\nto = []", "line 2: to is empty"),
        ('[emergency]\nnumbers = ["112"]', "line 1: to names who answers emergency calls: write a list"),
        ('[[rule]]\npattern = "[7-3]X"', "line 2: [7-3] runs backwards: write the smaller digit first"),
        ('[[rule]]\npattern = "4"\nrefuse = "a\\r\\nX: 1"', "line 3: refuse: write why, in quotes and one line"),
        ('[emergency]\nto = ["bob"]\nnumbers = ["11 2"]', "line 3: '11 2' is no number as phones dial it"),
        ('[emergency]\nto = ["a", "b", "c", "d", "e", "f", "g"]', "line 2: to has more than 6 users"),
        ('[codes]\nforward = "*7"', "line 2: *7 with a number behind it, for forward, may be *73"),
        ('[codes]\nfoo = "*1"', "line 2: there is no service foo; there are pick-up-group"),
        ('[codes]\necho = "43"', "line 2: '43' is no star code"),
        ('[codes]\necho = "*72"', "line 2: *72 is for echo and forward"),
        ("[codes]\necho = 43", 'line 2: write a code in quotes, as echo = "*43"'),
        ('[group.a]\nring = "all"', 'line 1: members: write a list of users, as members = ["alice", "bob"]'),
        ('[group.a]\nmembers = "bob"', 'line 2: members: write a list of users, as members = ["alice", "bob"]'),
        ('[group.a]\nmembers = ["b"]\nring = "some"', 'line 3: ring: write "all" or "in-order"'),
        ('[group.a]\nmembers = ["b"]\nring_s = 1', "line 3: ring_s: write for how many seconds it rings, a number"),
        ('[group.a]\nmembers = ["b"]\nfoo = 1', "line 3: there is no setting foo; there are members, ring, ring_s"),
        ('[group.a]\nmembers = ["b"]\ncallsigns = ["x"]', "line 3: callsigns stand above all sections"),
        ("[group.a]\nmembers = []", "line 2: a group that rings all has 1 to 16 members, and this one 0"),
        ('[group.a]\nmembers = ["Bob"]', "line 2: 'Bob' is no user's name"),
        ('[group.a]\nmembers = ["b"]\notherwise = "b"', "line 3: b has not answered then: name somebody else"),
        ('[group.a]\nmembers = ["b"]\n[group.c]\nmembers = ["a"]', "line 4: a is a group as well: name its members"),
        ('[group.A]\nmembers = ["b"]', "line 1: 'A' is no user's name"),
        (
            '[group.a]\nring = "in-order"\nmembers = ["b", "c", "d", "e", "f", "g", "h"]',
            "line 3: a group that rings in-order has 1 to 6 members, and this one 7",
        ),
        ('group = "a"', "line 1: group: write a section as [group.sales], with members ="),
        ('[group]\nmembers = ["a"]', "line 1: group: write a section as [group.sales], with members ="),
        ('mailbox = "Voice Mail"', "line 1: 'Voice Mail' is no user's name"),
        ("mailbox = 97", 'line 1: mailbox: write the user who keeps messages, in quotes, as "voicemail"'),
        ('a = "x', "line 1: "),
    ],
)
def test_each_mistake_is_one_line_that_says_where(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(LocalMisuse) as caught:
        read(tmp_path, text)
    assert str(caught.value).startswith(f"{tmp_path / DIAL_PLAN_FILE}: {says}")
    assert "\n" not in str(caught.value)
