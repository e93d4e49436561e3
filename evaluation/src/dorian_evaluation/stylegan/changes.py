"""Changes of faces' styles: presets by one reference, by the mean of five and of all, by a shift of means, and as a server does it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from dorian_bundle.graphs import Array
from dorian_bundle.style_levels import PRESET_LEVELS, PRESETS
from dorian_bundle.style_library import StyleLibrary
from dorian_evaluation.stylegan.networks import StyleFaces, StyleNetworks
from dorian_training.errors import DataError

LENDERS = ("one", "five", "all", "shift")
_MEAN_OF = {"one": 1, "five": 5}
AGE_LEVELS = "age levels"  # of a generator that presets are not for
Levels = tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Domain:
    """Faces of an age, what they are changed to, and who lends the styles.

    Attributes:
        name: ``young`` or ``old``.
        ages: First and last age in years of the faces.
        target: Age in years that they are changed to.
        lenders: First and last age in years of the references whose mean is that of all.
        filter: The filter that takes them to the other domain, if the method has it.
    """

    name: str
    ages: tuple[float, float]
    target: float
    lenders: tuple[float, float]
    filter: str


_YOUNG, _OLD = (18.0, 29.9), (60.0, 120.0)
DOMAINS = (
    Domain("young", _YOUNG, 65.0, _OLD, "stylegan_old"),
    Domain("old", _OLD, 25.0, _YOUNG, "stylegan_young"),
)


@dataclass(frozen=True)
class Change:
    """A change of several faces.

    Attributes:
        preset: Name of the preset, or what else it is.
        lender: One of ``LENDERS``; empty where it does not apply.
        styles: All styles of the changed faces, (faces, levels, style).
        factor: On the deltas, (faces,).
        filter: The filter that draws the faces, in place of the generator.
    """

    preset: str
    lender: str
    styles: Array
    factor: Array
    filter: str | None = None


def draw_deltas(networks: StyleNetworks, faces: StyleFaces, change: Change) -> Array:
    """Return what ``change`` adds to faces, float32 (faces, size, size, 3), 1 from black to white."""
    drawn = networks.draw(faces.codes.with_styles(change.styles), change.filter)
    return np.asarray(change.factor[:, None, None, None] * networks.method.bounded(drawn - faces.own), dtype=np.float32)


def preset_changes(networks: StyleNetworks, faces: StyleFaces, domain: Domain) -> Iterator[Change]:
    """Yield the change by each preset and lender."""
    for preset, groups in _presets(networks).items():
        for lender in LENDERS:
            lent = _lent_styles(networks.library, faces, domain, lender, len(groups))
            yield Change(preset, lender, mix(faces.codes.styles, lent, groups), _ones(faces))


def served_changes(networks: StyleNetworks, faces: StyleFaces, domain: Domain) -> Iterator[Change]:
    """Yield the change to the domain's target in years, with the method's levels and calibration, and that by its filter."""
    method, library = networks.method, networks.library
    styles, factors = [], []
    for own, age in zip(faces.codes.styles, faces.ages, strict=True):
        source, target = (min(max(years, method.min_years), method.max_years) for years in (age, domain.target))
        calibrated, factor = method.calibration.correct(source, target)
        calibrated = min(max(calibrated, method.min_years), method.max_years)
        styles.append(own + library.mean_at(calibrated) - library.mean_at(source))
        factors.append(factor)
    shifted = mix(faces.codes.styles, [np.stack(styles)], (method.age_levels,))
    yield Change("years", "", shifted, np.asarray(factors, dtype=np.float32))
    if domain.filter in networks.filters:
        yield Change(domain.filter, "", faces.codes.styles, _ones(faces), domain.filter)


def same_age_swap(networks: StyleNetworks, faces: StyleFaces) -> Change:
    """Return the exchange of the method's levels for those of one reference of each face's own age."""
    indices = [nearest_references(networks.library, faces, index, age, 1)[0] for index, age in enumerate(faces.ages)]
    lent = networks.library.styles[indices]
    return Change("same age", "one", mix(faces.codes.styles, [lent], (networks.method.age_levels,)), _ones(faces))


def mix(styles: Array, lent: Sequence[Array], groups: Levels) -> Array:
    """Return ``styles`` (faces, levels, style), with the levels of each group, from 1, taken from the styles of its lender."""
    mixed = styles.copy()
    for lender, levels in zip(lent, groups, strict=True):
        indices = [level - 1 for level in levels]
        mixed[:, indices] = lender[:, indices]
    return mixed


def nearest_references(library: StyleLibrary, faces: StyleFaces, index: int, age: float, count: int) -> list[int]:
    """Return ``count`` references as a server chooses them; if the library has fewer, they come again."""
    gender = faces.records[index].gender
    woman = faces.records[index].is_woman if gender else None
    nearest = library.nearest(age, faces.codes.structure[index], woman, count)
    return [int(nearest[number % len(nearest)]) for number in range(count)]


def _lent_styles(library: StyleLibrary, faces: StyleFaces, domain: Domain, lender: str, groups: int) -> list[Array]:
    """The styles that each group of a preset takes, (faces, levels, style) each."""
    if lender == "all":
        lowest, highest = domain.lenders
        is_lender = (library.age_low >= lowest) & (library.age_high <= highest)
        if not is_lender.any():
            raise DataError(f"the bundle has no reference from {lowest:g} to {highest:g} years")
        mean = library.styles[is_lender].mean(axis=0)
        return [np.broadcast_to(mean, faces.codes.styles.shape)] * groups
    if lender == "shift":
        target = library.mean_at(domain.target)
        return [faces.codes.styles + target - np.stack([library.mean_at(age) for age in faces.ages])] * groups
    count = _MEAN_OF[lender]
    references = np.asarray(
        [nearest_references(library, faces, index, domain.target, groups * count) for index in range(len(faces))]
    )  # (faces, groups · count)
    means = library.styles[references.reshape(len(faces), groups, count)].mean(axis=2)  # (faces, groups, levels, style)
    return [means[:, group] for group in range(groups)]


def _presets(networks: StyleNetworks) -> dict[str, Levels]:
    if networks.method.levels == PRESET_LEVELS:
        return PRESETS
    return {AGE_LEVELS: (networks.method.age_levels,)}


def _ones(faces: StyleFaces) -> Array:
    return np.ones(len(faces), dtype=np.float32)
