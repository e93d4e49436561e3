"""The levels of a style-based generator, counted from 1 as the literature prints them, and presets of which to mix.

A coarse level sets pose and shape, a fine one skin and colour. Presets are for twelve levels.
"""

from __future__ import annotations

from collections.abc import Iterable

from dorian_bundle.errors import StyleLevelsError

PRESET_LEVELS = 12  # of the generators that presets are for

# Levels that one reference gives, or, where there are several groups, that the first, second and third reference gives.
PRESETS: dict[str, tuple[tuple[int, ...], ...]] = {
    "top": ((9, 10, 11, 12),),
    "high": ((7, 8, 9, 10, 11, 12),),
    "mid": ((5, 6, 7, 8, 9, 10, 11, 12),),
    "alternating-1": ((6, 8, 10, 12),),
    "alternating-2": ((5, 7, 9, 11),),
    "alternating-3": ((9, 11),),
    "two-styles": ((9, 11), (10, 12)),
    "three-styles": ((10,), (11,), (9, 12)),
}


def require_levels(levels: Iterable[int], count: int) -> tuple[int, ...]:
    """Return ``levels`` sorted.

    Args:
        levels: Levels, from 1.
        count: Levels of the generator.

    Raises:
        StyleLevelsError: If there is none, one does not exist, or one is given twice.
    """
    given = tuple(levels)
    if not given:
        raise StyleLevelsError(f"no level is given; a level is a number from 1 to {count}")
    for level in given:
        if not 1 <= level <= count:
            raise StyleLevelsError(f"there is no level {level}; levels go from 1 to {count}")
        if given.count(level) > 1:
            raise StyleLevelsError(f"level {level} is given twice")
    return tuple(sorted(given))


def preset_levels(name: str, count: int = PRESET_LEVELS) -> tuple[tuple[int, ...], ...]:
    """Return the levels of preset ``name``, for one reference after the other, in a generator of ``count`` levels.

    Raises:
        StyleLevelsError: If there is no such preset, or it is not for such a generator.
    """
    if name not in PRESETS:
        raise StyleLevelsError(f"there is no preset {name!r}; there are {', '.join(PRESETS)}")
    if count != PRESET_LEVELS:
        raise StyleLevelsError(f"presets are for {PRESET_LEVELS} levels, and this generator has {count}; give levels")
    return PRESETS[name]
