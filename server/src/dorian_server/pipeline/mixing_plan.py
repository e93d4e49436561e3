"""What a request to mix styles means: which levels each reference gives, and how many references there are to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dorian_bundle.errors import StyleLevelsError
from dorian_bundle.graphs import Array
from dorian_bundle.style_levels import PRESETS, preset_levels, require_levels
from dorian_server.domain.errors import Reason, RequestError
from dorian_server.domain.requests import DEFAULT_REFERENCES, MixRequest
from dorian_server.methods.mixing import MixedStyles, MixingMethod
from dorian_server.pipeline.method_selection import check_source

Groups = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class MixingPlan:
    """Which levels are mixed.

    Args:
        groups: The levels of each reference, one after the other; or one group, for the mean of all references.
        count: How many references there are.
    """

    groups: Groups
    count: int

    def levels_of(self, reference: int) -> tuple[int, ...]:
        """Return the levels that the ``reference`` with this index gives."""
        return self.groups[reference if len(self.groups) > 1 else 0]

    def mix(self, styles: Array) -> MixedStyles:
        """Return what ``styles`` (references, levels, style) exchange in a face."""
        mixed = styles.mean(axis=0)  # (levels, style)
        if len(self.groups) > 1:
            for of_reference, levels in zip(styles, self.groups, strict=True):
                lent = [level - 1 for level in levels]
                mixed[lent] = of_reference[lent]
        return MixedStyles(mixed, tuple(sorted(level for group in self.groups for level in group)))


def plan_mixing(request: MixRequest, method: MixingMethod, max_references: int) -> MixingPlan:
    """Return which levels ``request`` mixes by ``method``, and how many of at most ``max_references`` references.

    Raises:
        RequestError: Levels or references are missing, too many, or do not belong together; an age that does not exist.
    """
    groups = _read_groups(request, method.level_count)
    if request.references and request.choice:
        message = "references are given, and others are to be chosen; give references, or chosen"
        raise RequestError(Reason.REFERENCE_TOO_MANY, "chosen", message)
    if request.choice is None:
        return MixingPlan(groups, _check_count(len(request.references), request, groups, max_references, "references"))
    check_source(request.choice.age, method, "chosen.age")
    usual = len(groups) if len(groups) > 1 else DEFAULT_REFERENCES
    count = _check_count(request.choice.count or usual, request, groups, max_references, "chosen.count")
    kept = len(method.library.styles)
    if kept < len(groups):
        message = f"the bundle keeps {kept} references, and preset {request.preset!r} takes {len(groups)}"
        raise RequestError(Reason.REFERENCE_MISSING, "chosen.count", message)
    return MixingPlan(groups, min(count, kept))


def _read_groups(request: MixRequest, level_count: int) -> Groups:
    """Return the groups of levels of ``request``, which must be given in one way, for a generator of ``level_count`` levels."""
    has_own = any(reference.levels for reference in request.references)
    ways = {"preset": bool(request.preset), "levels": bool(request.levels), "references[0].levels": has_own}
    given = [way for way, is_given in ways.items() if is_given]
    if len(given) > 1:
        message = f"{' and '.join(given)} are given; give a preset, levels for all references, or levels of each"
        raise RequestError(Reason.LEVELS_UNSUITABLE, given[1], message)
    if not given:
        message = f"no levels are given; give a preset ({', '.join(PRESETS)}), or levels from 1 to {level_count}"
        raise RequestError(Reason.LEVELS_UNSUITABLE, "preset", message)
    if request.preset:
        reason = Reason.LEVELS_UNSUITABLE if request.preset in PRESETS else Reason.PRESET_UNKNOWN
        try:
            return preset_levels(request.preset, level_count)
        except StyleLevelsError as error:
            raise RequestError(reason, "preset", str(error)) from error
    if request.levels:
        return (_require_levels(request.levels, level_count, "levels"),)
    return _own_groups(request, level_count)


def _own_groups(request: MixRequest, level_count: int) -> Groups:
    """Return the levels of each reference, none of which another has."""
    groups = tuple(
        _require_levels(reference.levels, level_count, f"references[{index}].levels")
        for index, reference in enumerate(request.references)
    )
    levels: list[int] = []
    for index, group in enumerate(groups):
        levels += group
        _require_levels(levels, level_count, f"references[{index}].levels")
    return groups


def _require_levels(levels: Sequence[int], count: int, field: str) -> tuple[int, ...]:
    try:
        return require_levels(levels, count)
    except StyleLevelsError as error:
        raise RequestError(Reason.LEVELS_UNSUITABLE, field, f"{field}: {error}") from error


def _check_count(count: int, request: MixRequest, groups: Groups, most: int, field: str) -> int:
    """Return ``count``; ``RequestError`` for ``field`` unless so many references can be mixed."""
    if count < 1:
        message = f"{field} has no reference; give photos in references, or the age of those to choose in chosen"
        raise RequestError(Reason.REFERENCE_MISSING, field, message)
    if count > most:
        message = f"{count} references are asked for; at most {most} are allowed"
        raise RequestError(Reason.REFERENCE_TOO_MANY, field, message)
    if len(groups) > 1 and count != len(groups):
        reason = Reason.REFERENCE_MISSING if count < len(groups) else Reason.REFERENCE_TOO_MANY
        takes = f"preset {request.preset!r} takes {len(groups)} references, one for each group of its levels"
        raise RequestError(reason, field, f"{takes}; {count} {'is' if count == 1 else 'are'} given")
    return count


def stack_styles(method: MixingMethod, latents: Array) -> Array:
    """Return the styles (faces, levels, style) in ``latents`` (faces, latent)."""
    return np.stack([method.styles_of(latent) for latent in latents])
