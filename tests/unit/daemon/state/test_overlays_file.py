"""In which further overlays a site is, and every mistake in the file that says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from p2psip.base.errors import LocalMisuse
from p2psip.daemon.state.overlays_file import OVERLAYS_FILE, SiteOverlays, load_overlays

CLUB, MESH, HAM = "club.example", "mesh.example", "ham.example"
BOTH = f'[overlays]\n"{MESH}" = "../mesh"\n"{HAM}" = "/srv/ham"\n'


def load(directory: Path, text: str) -> SiteOverlays:
    (directory / OVERLAYS_FILE).write_text(text)
    found = load_overlays(directory, CLUB)
    assert found is not None
    return found


def test_without_the_file_there_are_none(tmp_path: Path) -> None:
    assert load_overlays(tmp_path, CLUB) is None


def test_by_default_all_are_asked_in_order_ours_first(tmp_path: Path) -> None:
    found = load(tmp_path, BOTH)
    assert found.directories == {MESH: tmp_path.parent / "mesh", HAM: Path("/srv/ham")}
    assert found.order == (CLUB, MESH, HAM)
    assert found.rules == ()


def test_rules_stand_in_the_order_of_the_file(tmp_path: Path) -> None:
    rules = (
        f'[[ask]]\npattern = "7XX"\noverlays = ["{MESH}"]\n[[ask]]\npattern = "dl."\noverlays = ["{HAM}", "{CLUB}"]\n'
    )
    found = load(tmp_path, f'default = ["{CLUB}"]\n{BOTH}{rules}')
    assert found.order == (CLUB,)
    assert [(each.rule.pattern, each.overlays) for each in found.rules] == [("7XX", (MESH,)), ("dl.", (HAM, CLUB))]
    assert found.rules[1].rule.matches("dl1abc")


def rule(pattern: str, *overlays: str) -> str:
    return f"[[ask]]\npattern = {pattern!r}\noverlays = {list(overlays)}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", r"there is no overlays in it: write a section \[overlays\] with lines as"),
        ("[overlays]\n", "line 1: there are 0 overlays: write 1 to 7"),
        ('[overlays]\n"mesh" = 7\n', r"overlays: write a section \[overlays\]"),
        (f'[overlays]\n"{CLUB}" = "x"\n', "line 2: club.example is this peer's own overlay: leave it out"),
        ('[overlays]\n"Mesh!" = "x"\n', "line 2: 'Mesh!' is no name of an overlay"),
        (f'[overlays]\n"{MESH}" = "."\n', "line 2: . is the directory of another overlay's peer: each has one"),
        (f'[overlays]\n"{MESH}" = "x"\n"{HAM}" = "./x"\n', "line 3: ./x is the directory of another overlay's peer"),
        (f"default = []\n{BOTH}", None),
        (f'default = ["other.example"]\n{BOTH}', "line 1: this site is not in other.example: write some of club"),
        (f'default = ["{CLUB}", "{CLUB}"]\n{BOTH}', "line 1: club.example is there twice: leave one out"),
        (f'default = ["{MESH}", "{CLUB}", "{HAM}"]\n{BOTH}', "line 1: club.example, where the phones are, is between"),
        (f"{BOTH}{rule('7XX')}", "line 6: overlays is empty: name who is asked, of club.example, mesh.example"),
        (f"{BOTH}{rule('7(', MESH)}", r"line 5: '\(' is in no pattern: write digits"),
        (f"{BOTH}{rule('7X', MESH)}{rule('7X', HAM)}", "line 8: there is a rule for 7X already, and the first counts"),
        (f"{BOTH}[[ask]]\npattern = '7'\n", "line 4: there is no overlays in it"),
        (f"{BOTH}[[ask]]\nwhom = '7'\n", "line 5: there is no setting whom; there are pattern, overlays"),
    ],
)
def test_a_mistake_is_one_line_that_says_what_to_write(tmp_path: Path, text: str, said: str | None) -> None:
    if said is None:
        assert load(tmp_path, text).order == (CLUB, MESH, HAM)
        return
    with pytest.raises(LocalMisuse, match=said) as refused:
        load(tmp_path, text)
    assert "\n" not in str(refused.value)
    assert str(refused.value).startswith(str(tmp_path / OVERLAYS_FILE))
