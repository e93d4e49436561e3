"""Request messages: pure functions from this package's types, which reject what the wire cannot carry."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from numbers import Integral, Real
from typing import Any

import numpy as np

from dorian.v1 import admin_pb2
from dorian.v1 import face_aging_pb2 as pb
from dorian_client._bundles import BundleInfo, Method
from dorian_client._faces import Box, FaceLike, Filter
from dorian_client._files import FORMATS
from dorian_client._options import (
    AgeOptions,
    FaceAges,
    Faces,
    Latents,
    MixOptions,
    OptimizeOptions,
    ReconstructOptions,
    Reference,
    References,
    Targets,
    check_options,
)
from dorian_client._photos import read_photo
from dorian_client._results import Reconstruction
from dorian_client.errors import NotFound

BLENDS: dict[str, pb.Blend] = {"delta": pb.BLEND_DELTA, "replace": pb.BLEND_REPLACE}
BUDGETS: dict[str, pb.OptimisationBudget] = {
    "none": pb.OPTIMISATION_BUDGET_NONE,
    "fast": pb.OPTIMISATION_BUDGET_FAST,
    "full": pb.OPTIMISATION_BUDGET_FULL,
}
SEARCH_MODES: dict[str, pb.ReconstructionMode] = {
    "pixelwise": pb.RECONSTRUCTION_MODE_PIXELWISE,
    "identity": pb.RECONSTRUCTION_MODE_IDENTITY,
    "blended": pb.RECONSTRUCTION_MODE_BLENDED,
}
MODES: dict[str, pb.ReconstructionMode] = {"initial": pb.RECONSTRUCTION_MODE_INITIAL, **SEARCH_MODES}
OPTIMIZERS: dict[str, pb.Optimizer] = {"l-bfgs-b": pb.OPTIMIZER_L_BFGS_B, "adam": pb.OPTIMIZER_ADAM}
_FORMAT_NUMBERS: dict[str, pb.ImageFormat] = {name: format.number for name, format in FORMATS.items()}
GENDERS: dict[str, pb.Gender] = {"woman": pb.GENDER_WOMAN, "man": pb.GENDER_MAN}
DEFAULT_MODE, DEFAULT_SEARCH_MODE = "initial", "identity"
DEFAULT_PRESET = "mid"
_LARGEST = "largest"
_INT32_MAX = 2**31 - 1


def age_request(photo: bytes, to: Targets, options: AgeOptions) -> pb.AgeTransformRequest:
    """Return the request to age a photo.

    Args:
        photo: The bytes of an image file.
        to: The targets.
        options: The keyword arguments of `Client.age`.

    Raises:
        TypeError, ValueError: An argument has the wrong type or value.
    """
    check_options(options, AgeOptions)
    source, strength = options.get("source"), options.get("strength")
    blend, optimisation = options.get("blend"), options.get("optimisation")
    keep_identity = options.get("keep_identity")
    return pb.AgeTransformRequest(
        image=pb.Image(data=photo),
        targets=[] if to is None else [_target(target) for target in _as_iterable(to)],
        source=None if source is None else _age(source),
        method=options.get("method") or "",
        output=_output(
            options.get("format"), options.get("quality"), keep_metadata=options.get("keep_metadata", False)
        ),
        faces=_face_selectors(options.get("faces")),
        face_targets=_face_targets(options.get("face_ages")),
        strength=None if strength is None else _float(strength, "a strength"),
        blend=None if blend is None else _choice(blend, "a blend", BLENDS),
        with_delta=options.get("with_delta", False),
        optimisation=None if optimisation is None else _choice(optimisation, "an optimisation", BUDGETS),
        latents=_face_latents(options.get("latents")),
        keep_identity=None if keep_identity is None else _float(keep_identity, "an identity budget"),
        keep_hair=options.get("keep_hair", False),
    )


def detect_request(photo: bytes) -> pb.DetectFacesRequest:
    """Return the request for the faces of a photo."""
    return pb.DetectFacesRequest(image=pb.Image(data=photo))


def compare_request(
    first: bytes,
    second: bytes,
    *,
    first_face: FaceLike | None,
    second_face: FaceLike | None,
    false_accept_rate: float | None,
) -> pb.CompareFacesRequest:
    """Return the request to compare a face of one photo with a face of another; raises TypeError and ValueError."""
    rate = None if false_accept_rate is None else _float(false_accept_rate, "a false-accept rate")
    if rate == 0:  # on the wire, 0 is the server's default
        raise ValueError("a false-accept rate cannot be 0; give one of those that bundle() returns, or None")
    return pb.CompareFacesRequest(
        first=pb.Image(data=first),
        second=pb.Image(data=second),
        first_face=None if first_face is None else _face_selector(first_face),
        second_face=None if second_face is None else _face_selector(second_face),
        false_accept_rate=rate,
    )


def reconstruct_request(photo: bytes, options: ReconstructOptions) -> pb.ReconstructRequest:
    """Return the request for the reconstructions of a photo's faces; raises TypeError and ValueError."""
    check_options(options, ReconstructOptions)
    source = options.get("source")
    return pb.ReconstructRequest(
        image=pb.Image(data=photo),
        mode=_choice(options.get("mode", DEFAULT_MODE), "a mode", MODES),
        search=_search(options.get("optimizer"), options.get("max_steps")),
        source=None if source is None else _age(source),
        method=options.get("method") or "",
        output=_output(options.get("format"), options.get("quality")),
        faces=_face_selectors(options.get("faces")),
    )


def optimize_request(photo: bytes, options: OptimizeOptions) -> pb.OptimizeRequest:
    """Return the request for a latent search; raises TypeError and ValueError."""
    check_options(options, OptimizeOptions)
    face, latent, source = options.get("face"), options.get("latent"), options.get("source")
    return pb.OptimizeRequest(
        image=pb.Image(data=photo),
        face=None if face is None else _face_selector(face),
        mode=_choice(options.get("mode", DEFAULT_SEARCH_MODE), "a search's mode", SEARCH_MODES),
        search=_search(options.get("optimizer"), options.get("max_steps")),
        preview_every=_steps(options.get("preview_every"), "preview_every"),
        latent=None if latent is None else _latent(latent),
        source=None if source is None else _age(source),
        method=options.get("method") or "",
        output=_output(options.get("format"), options.get("quality")),
    )


def read_references(references: References) -> list[Reference]:
    """Return references whose photos are the bytes of files.

    Raises:
        PhotoError: A photo cannot be sent.
    """
    entries: list[Any] = [] if references is None else [references]
    if isinstance(references, list | tuple):
        entries = list(references)
    wrapped = [entry if isinstance(entry, Reference) else Reference(entry) for entry in entries]
    return [replace(entry, photo=read_photo(entry.photo)) for entry in wrapped]


def mix_request(photo: bytes, references: Sequence[Reference], options: MixOptions) -> pb.MixStylesRequest:
    """Return the request to mix styles.

    Args:
        photo: The bytes of an image file.
        references: References, as `read_references` returns them.
        options: The keyword arguments of `Client.mix`.

    Raises:
        TypeError, ValueError: An argument has the wrong type or value.
    """
    check_options(options, MixOptions)
    levels, preset = options.get("levels"), options.get("preset")
    blend, strength = options.get("blend"), options.get("strength")
    if preset is None and levels is None and not any(reference.levels for reference in references):
        preset = DEFAULT_PRESET
    return pb.MixStylesRequest(
        image=pb.Image(data=photo),
        references=[_reference(reference) for reference in references],
        chosen=_choice_of_references(options),
        preset=preset,
        levels=_levels(levels),
        strength=None if strength is None else _float(strength, "a strength"),
        blend=None if blend is None else _choice(blend, "a blend", BLENDS),
        output=_output(
            options.get("format"), options.get("quality"), keep_metadata=options.get("keep_metadata", False)
        ),
        with_delta=options.get("with_delta", False),
        faces=_face_selectors(options.get("faces")),
        method=options.get("method") or "",
    )


def _choice_of_references(options: MixOptions) -> pb.ReferenceChoice | None:
    to, count, gender = options.get("to"), options.get("count"), options.get("gender")
    if to is None:
        if count is not None or gender is not None:
            raise ValueError("count and gender are for references that the server chooses; give their age with to")
        return None
    advice = "give how many references to choose"
    return pb.ReferenceChoice(
        age=_age(to),
        count=None if count is None else _int32(count, "a count", advice),
        gender=None if gender is None else _choice(gender, "a gender", GENDERS),
    )


def _reference(reference: Reference) -> pb.StyleReference:
    face = reference.face
    return pb.StyleReference(
        image=pb.Image(data=bytes(reference.photo)),  # type: ignore[arg-type]  # read_references has made it bytes
        face=None if face is None else _face_selector(face),
        levels=_levels(reference.levels),
    )


def _levels(levels: object) -> list[int]:
    if levels is None:
        return []
    return [_int32(level, "a level", "give numbers from 1, as methods() says") for level in _as_iterable(levels)]


def list_request() -> pb.ListMethodsRequest:
    """Return the request for what the server has loaded."""
    return pb.ListMethodsRequest()


def reload_request(bundle: str) -> admin_pb2.ReloadBundlesRequest:
    """Return the request to reload a bundle, or all if the name is empty."""
    return admin_pb2.ReloadBundlesRequest(bundle=bundle)


def method_to_sweep(bundle: BundleInfo, options: AgeOptions) -> Method:
    """Return the method whose age groups a sweep goes through; raises TypeError, and NotFound as the server would."""
    check_options(options, AgeOptions)
    needs_search = options.get("optimisation") not in (None, "none")
    return pick_method(
        bundle,
        options.get("method"),
        needs_latents=needs_search or options.get("latents") is not None,
        needs_search=needs_search,
    )


def pick_method(
    bundle: BundleInfo, name: str | None, *, needs_latents: bool = False, needs_search: bool = False
) -> Method:
    """Return the method of a name or, without one, the method that the server would use.

    Args:
        bundle: What the server has loaded.
        name: The method's name; None or empty for the first with the abilities needed, or else the default.
        needs_latents: Whether it must have latents.
        needs_search: Whether its latents must be searchable.

    Raises:
        NotFound: There is no such method.
    """
    for method in bundle.methods:
        is_able = (method.reconstructs or not needs_latents) and (method.optimises or not needs_search)
        if method.name == name or (not name and is_able):
            return method
    if bundle.methods and not name:
        return bundle.methods[0]
    names = ", ".join(method.name for method in bundle.methods) or "none"
    problem = f"no method is called {name!r}" if name else "no method is the default"
    raise NotFound(f"{problem}; the server has {names}", code="NOT_FOUND", reason="METHOD_UNKNOWN", field="method")


def _search(optimizer: str | None, max_steps: int | None) -> pb.SearchOptions:
    return pb.SearchOptions(
        optimizer=None if optimizer is None else _choice(optimizer, "an optimizer", OPTIMIZERS),
        max_steps=_steps(max_steps, "max_steps"),
    )


def _output(format: str | None, quality: int | None, *, keep_metadata: bool = False) -> pb.OutputOptions:
    return pb.OutputOptions(
        format=None if format is None else _choice(format, "a format", _FORMAT_NUMBERS),
        quality=None if quality is None else _int32(quality, "a quality", "give 1 to 100"),
        keep_metadata=keep_metadata,
    )


def _target(target: object) -> pb.Age:
    return pb.Age(filter=target.name) if isinstance(target, Filter) else _age(target)


def _age(age: object) -> pb.Age:
    if isinstance(age, str):
        return pb.Age(group=age)
    if isinstance(age, Filter):
        raise TypeError(f"a source age cannot be the filter {age.name!r}; a filter can only be a target")
    if isinstance(age, bool) or not isinstance(age, Real):
        raise TypeError(f"an age cannot be {type(age).__name__}; give a group's label (a str) or years (a number)")
    return pb.Age(years=float(age))


def _face_selectors(faces: Faces) -> list[pb.FaceSelector]:
    if faces is None:
        return []
    selectors = [_face_selector(face) for face in _as_iterable(faces)]
    if not selectors:  # on the wire, none is all
        raise ValueError("no face is selected; give None for all faces")
    return selectors


def _face_selector(face: object) -> pb.FaceSelector:
    if isinstance(face, bool) or not isinstance(face, str | Integral | Box):
        raise TypeError(f"a face cannot be {type(face).__name__}; give {_LARGEST!r}, an index (an int) or a Box")
    if isinstance(face, Box):
        return pb.FaceSelector(box=pb.Box(x=face.x, y=face.y, width=face.width, height=face.height))
    if isinstance(face, str):
        if face != _LARGEST:
            raise ValueError(f"a face cannot be {face!r}; give {_LARGEST!r}, an index or a Box")
        return pb.FaceSelector(largest=True)
    return pb.FaceSelector(index=_int32(face, "a face's index", "detect() gives the indices, from 0"))


def _face_targets(face_ages: FaceAges) -> list[pb.FaceTarget]:
    pairs = face_ages.items() if isinstance(face_ages, Mapping) else face_ages or ()
    return [
        pb.FaceTarget(face=face, target=_target(age))
        for face, age in (_face_pair(pair, "age", "ages") for pair in pairs)
    ]


def _face_latents(latents: Latents) -> list[pb.FaceLatent]:
    if latents is None:
        return []
    entries: Iterable[Any] = latents.items() if isinstance(latents, Mapping) else _as_iterable(latents)
    messages = []
    for entry in entries:
        if isinstance(entry, Reconstruction):
            if entry.error is not None:  # it has no latent
                continue
            entry = (entry.box, entry.latent)
        face, latent = _face_pair(entry, "latent", "latents")
        messages.append(pb.FaceLatent(face=face, latent=_latent(latent)))
    return messages


def _face_pair(pair: object, noun: str, plural: str) -> tuple[pb.FaceSelector, Any]:
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise TypeError(
            f"a face's {noun} cannot be {pair!r}; give a mapping from faces to {plural}, or (face, {noun}) pairs"
        )
    face, value = pair
    return _face_selector(face), value


def _latent(latent: object) -> list[float]:
    if not isinstance(latent, Sequence | np.ndarray) or isinstance(latent, str | bytes):
        raise TypeError(f"a latent cannot be {type(latent).__name__}; give a sequence of numbers")
    if len(latent) == 0:
        raise ValueError("a latent cannot be empty; give the numbers that reconstruct() or optimize() returned")
    return [_float(number, "a number of a latent") for number in latent]


def _as_iterable(values: object) -> Iterable[Any]:
    """Return one value or several as several; a str is one."""
    return values if isinstance(values, Iterable) and not isinstance(values, str | bytes) else [values]


def _float(value: object, noun: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{noun} cannot be {type(value).__name__}; give a number")
    return float(value)


def _steps(number: object, noun: str) -> int | None:
    return None if number is None else _int32(number, noun, "give a number of steps")


def _int32(value: object, noun: str, advice: str) -> int:
    """Return a whole number that the wire can carry; the error says what would be valid."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{noun} cannot be {type(value).__name__}; {advice}")
    if not -_INT32_MAX <= int(value) <= _INT32_MAX:
        raise ValueError(f"{noun} cannot be {value}; {advice}")
    return int(value)


def _choice(name: str, noun: str, choices: Mapping[str, Any]) -> Any:
    if name not in choices:
        raise ValueError(f"{noun} cannot be {name!r}; give one of {', '.join(choices)}")
    return choices[name]
