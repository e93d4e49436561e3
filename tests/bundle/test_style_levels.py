"""Levels of styles and presets of which to mix."""

from __future__ import annotations

import pytest

from dorian_bundle.errors import StyleLevelsError
from dorian_bundle.style_levels import PRESETS, preset_levels, require_levels


def test_presets_are_those_of_the_report() -> None:
    assert {name: [list(levels) for levels in groups] for name, groups in PRESETS.items()} == {
        "top": [[9, 10, 11, 12]],
        "high": [[7, 8, 9, 10, 11, 12]],
        "mid": [[5, 6, 7, 8, 9, 10, 11, 12]],
        "alternating-1": [[6, 8, 10, 12]],
        "alternating-2": [[5, 7, 9, 11]],
        "alternating-3": [[9, 11]],
        "two-styles": [[9, 11], [10, 12]],
        "three-styles": [[10], [11], [9, 12]],
    }
    assert preset_levels("two-styles") == ((9, 11), (10, 12))


def test_levels_are_sorted() -> None:
    assert require_levels([11, 1, 12], 12) == (1, 11, 12)


@pytest.mark.parametrize(
    ("levels", "message"),
    [
        ([], r"^no level is given; a level is a number from 1 to 12$"),
        ([0], r"^there is no level 0; levels go from 1 to 12$"),
        ([5, 13], r"^there is no level 13; levels go from 1 to 12$"),
        ([5, 7, 5], r"^level 5 is given twice$"),
    ],
)
def test_levels_that_cannot_be_are_refused(levels: list[int], message: str) -> None:
    with pytest.raises(StyleLevelsError, match=message):
        require_levels(levels, 12)


def test_presets_that_do_not_fit_are_refused() -> None:
    with pytest.raises(StyleLevelsError, match=r"^there is no preset 'all'; there are top, high, mid"):
        preset_levels("all")
    with pytest.raises(StyleLevelsError, match=r"^presets are for 12 levels, and this generator has 14; give levels$"):
        preset_levels("top", 14)
