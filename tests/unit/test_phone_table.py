"""docs/phones.md says what tests show."""

from __future__ import annotations

from phone_table import BEGIN, END, NONE, PAGE, features, names_in, table


def test_the_table_of_phones_is_that_of_the_file() -> None:
    assert PAGE.read_text().split(BEGIN)[1].split(END)[0] == table(), "run `make phone-table`"


def test_each_phone_has_a_word_for_each_feature() -> None:
    phones, said = features()
    assert all(list(by_phone) == list(phones) for by_phone in said.values())


def test_what_is_said_to_be_shown_is_shown_by_a_test_that_there_is() -> None:
    _, said = features()
    words = [word for by_phone in said.values() for word in by_phone.values() if not word.startswith(NONE)]
    named = [word.partition("::") for word in words]
    assert len(named) > 20
    assert not [f"{file}::{test}" for file, _, test in named if test not in names_in(file)]
