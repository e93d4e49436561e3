"""Builds the messages that ask: pure functions from this package's types, which refuse what the wire cannot say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from dorian.v1 import face_aging_pb2 as pb
from dorian_client._results import Age, Box, BundleInfo, FaceLike, Filter, Method, Reconstruction, Target
from dorian_client.errors import NotFound

FORMATS: dict[str, pb.ImageFormat] = {
    "jpeg": pb.IMAGE_FORMAT_JPEG,
    "png": pb.IMAGE_FORMAT_PNG,
    "webp": pb.IMAGE_FORMAT_WEBP,
}
BLENDS: dict[str, pb.Blend] = {"delta": pb.BLEND_DELTA, "replace": pb.BLEND_REPLACE}
BUDGETS: dict[str, pb.OptimisationBudget] = {
    "none": pb.OPTIMISATION_BUDGET_NONE,
    "fast": pb.OPTIMISATION_BUDGET_FAST,
    "full": pb.OPTIMISATION_BUDGET_FULL,
}
AIMS: dict[str, pb.ReconstructionMode] = {
    "pixelwise": pb.RECONSTRUCTION_MODE_PIXELWISE,
    "identity": pb.RECONSTRUCTION_MODE_IDENTITY,
    "blended": pb.RECONSTRUCTION_MODE_BLENDED,
}
MODES: dict[str, pb.ReconstructionMode] = {"initial": pb.RECONSTRUCTION_MODE_INITIAL, **AIMS}
OPTIMIZERS: dict[str, pb.Optimizer] = {"l-bfgs-b": pb.OPTIMIZER_L_BFGS_B, "adam": pb.OPTIMIZER_ADAM}
_LARGEST = "largest"
_INT32_MAX = 2**31 - 1

Targets: TypeAlias = Target | Iterable[Target] | None
Faces: TypeAlias = FaceLike | Iterable[FaceLike] | None
FaceAges: TypeAlias = Mapping[FaceLike, Target] | Iterable[tuple[FaceLike, Target]] | None
Latent: TypeAlias = Sequence[float] | npt.NDArray[np.floating]
Latents: TypeAlias = (
    Reconstruction | Iterable[Reconstruction | tuple[FaceLike, Latent]] | Mapping[FaceLike, Latent] | None
)


def age_request(
    photo: bytes,
    to: Targets,
    *,
    faces: Faces,
    face_ages: FaceAges,
    source: Age | None,
    method: str | None,
    strength: float | None,
    blend: str | None,
    output: pb.OutputOptions,
    with_delta: bool,
    optimisation: str | None,
    latents: Latents,
) -> pb.AgeTransformRequest:
    """Returns the request for a photo, in a file's bytes, at one target or several. Raises TypeError and ValueError."""
    request = pb.AgeTransformRequest(
        image=pb.Image(data=photo),
        targets=[] if to is None else [_write_target(target) for target in _several(to)],
        source=None if source is None else _write_age(source),
        method=method or "",
        output=output,
        faces=_write_faces(faces),
        face_targets=_write_face_targets(face_ages),
        with_delta=with_delta,
        latents=_write_face_latents(latents),
    )
    if strength is not None:
        request.strength = _number(strength, "a strength")
    if blend is not None:
        request.blend = _choice(blend, "a blend", BLENDS)
    if optimisation is not None:
        request.optimisation = _choice(optimisation, "an optimisation", BUDGETS)
    return request


def detect_request(photo: bytes) -> pb.DetectFacesRequest:
    """Returns the request for the faces of a photo."""
    return pb.DetectFacesRequest(image=pb.Image(data=photo))


def compare_request(
    first: bytes,
    second: bytes,
    *,
    first_face: FaceLike | None,
    second_face: FaceLike | None,
    false_accept_rate: float | None,
) -> pb.CompareFacesRequest:
    """Returns the request to compare a face of each of two photos. Raises TypeError and ValueError."""
    rate = None if false_accept_rate is None else _number(false_accept_rate, "a false-accept rate")
    if rate == 0:  # which would stand for the server's own choice
        raise ValueError("a false-accept rate cannot be 0; give one that the server's bundle() names, or None")
    return pb.CompareFacesRequest(
        first=pb.Image(data=first),
        second=pb.Image(data=second),
        first_face=None if first_face is None else _write_face(first_face),
        second_face=None if second_face is None else _write_face(second_face),
        false_accept_rate=rate,
    )


def reconstruct_request(
    photo: bytes,
    *,
    faces: Faces,
    mode: str,
    search: pb.SearchOptions,
    source: Age | None,
    method: str | None,
    output: pb.OutputOptions,
) -> pb.ReconstructRequest:
    """Returns the request for what the networks see in a photo. Raises TypeError and ValueError."""
    return pb.ReconstructRequest(
        image=pb.Image(data=photo),
        mode=_choice(mode, "a mode", MODES),
        search=search,
        source=None if source is None else _write_age(source),
        method=method or "",
        output=output,
        faces=_write_faces(faces),
    )


def optimize_request(
    photo: bytes,
    *,
    face: FaceLike | None,
    mode: str,
    search: pb.SearchOptions,
    preview_every: int | None,
    latent: Latent | None,
    source: Age | None,
    method: str | None,
    output: pb.OutputOptions,
) -> pb.OptimizeRequest:
    """Returns the request for a search of the latent that draws one face best. Raises TypeError and ValueError."""
    return pb.OptimizeRequest(
        image=pb.Image(data=photo),
        face=None if face is None else _write_face(face),
        mode=_choice(mode, "a search's mode", AIMS),
        search=search,
        preview_every=_steps(preview_every, "preview_every"),
        latent=None if latent is None else _write_latent(latent),
        source=None if source is None else _write_age(source),
        method=method or "",
        output=output,
    )


def search_options(optimizer: str | None, max_steps: int | None) -> pb.SearchOptions:
    """Returns how a latent is searched. Raises TypeError and ValueError."""
    return pb.SearchOptions(
        optimizer=None if optimizer is None else _choice(optimizer, "an optimizer", OPTIMIZERS),
        max_steps=_steps(max_steps, "max_steps"),
    )


def output_options(format: str | None, quality: int | None, *, keep_metadata: bool = False) -> pb.OutputOptions:
    """Returns how to store the pictures that come back. Raises TypeError and ValueError."""
    return pb.OutputOptions(
        format=None if format is None else _choice(format, "a format", FORMATS),
        quality=None if quality is None else _int32(quality, "a quality", "give 1 to 100"),
        keep_metadata=keep_metadata,
    )


def pick_method(bundle: BundleInfo, name: str | None, *, encodes: bool = False, searches: bool = False) -> Method:
    """Returns the method of that name; raises NotFound as the server would.

    Without a name, the first that has latents to age from, or to search, if it is to; or else the first, which is the default.
    """
    for method in bundle.methods:
        able = (method.reconstructs or not encodes) and (method.optimises or not searches)
        if method.name == name or (not name and able):
            return method
    if bundle.methods and not name:
        return bundle.methods[0]
    known = ", ".join(method.name for method in bundle.methods) or "none"
    wanted = f"no method is called {name!r}" if name else "no method is the default"
    raise NotFound(f"{wanted}; the server has {known}", code="NOT_FOUND", reason="METHOD_UNKNOWN", field="method")


def _write_target(target: object) -> pb.Age:
    return pb.Age(filter=target.name) if isinstance(target, Filter) else _write_age(target)


def _write_age(age: object) -> pb.Age:
    if isinstance(age, str):
        return pb.Age(group=age)
    if isinstance(age, Filter):
        raise TypeError(f"faces cannot have the filter {age.name!r} as their age; it is only to aim at")
    if isinstance(age, bool) or not isinstance(age, Real):
        raise TypeError(f"an age cannot be {type(age).__name__}; give a group's label (a str) or years (a number)")
    return pb.Age(years=float(age))


def _write_faces(faces: Faces) -> list[pb.FaceSelector]:
    if faces is None:
        return []
    selectors = [_write_face(face) for face in _several(faces)]
    if not selectors:  # which would stand for all faces
        raise ValueError("no face is named; give None for all faces")
    return selectors


def _write_face_targets(face_ages: FaceAges) -> list[pb.FaceTarget]:
    pairs = face_ages.items() if isinstance(face_ages, Mapping) else face_ages or ()
    return [
        pb.FaceTarget(face=face, target=_write_target(age))
        for face, age in (_write_pair(pair, "age", "ages") for pair in pairs)
    ]


def _write_face_latents(latents: Latents) -> list[pb.FaceLatent]:
    if latents is None:
        return []
    entries: Iterable[Any] = latents.items() if isinstance(latents, Mapping) else _several(latents)
    written = []
    for entry in entries:
        if isinstance(entry, Reconstruction):
            if entry.error is not None:  # it has no latent
                continue
            entry = (entry.box, entry.latent)
        face, latent = _write_pair(entry, "latent", "latents")
        written.append(pb.FaceLatent(face=face, latent=_write_latent(latent)))
    return written


def _write_pair(pair: object, what: str, several: str) -> tuple[pb.FaceSelector, Any]:
    if not isinstance(pair, tuple) or len(pair) != 2:
        raise TypeError(
            f"a face's {what} cannot be {pair!r}; give a mapping from faces to {several}, or (face, {what}) pairs"
        )
    face, value = pair
    return _write_face(face), value


def _write_latent(latent: object) -> list[float]:
    if not isinstance(latent, Sequence | np.ndarray) or isinstance(latent, str | bytes):
        raise TypeError(f"a latent cannot be {type(latent).__name__}; give a sequence of numbers")
    if len(latent) == 0:
        raise ValueError("a latent cannot be empty; give the numbers that reconstruct() or optimize() returned")
    return [_number(number, "a number of a latent") for number in latent]


def _write_face(face: object) -> pb.FaceSelector:
    if isinstance(face, bool) or not isinstance(face, str | Integral | Box):
        raise TypeError(f"a face cannot be {type(face).__name__}; give {_LARGEST!r}, an index (an int) or a Box")
    if isinstance(face, Box):
        return pb.FaceSelector(box=pb.Box(x=face.x, y=face.y, width=face.width, height=face.height))
    if isinstance(face, str):
        if face != _LARGEST:
            raise ValueError(f"a face cannot be {face!r}; give {_LARGEST!r}, an index or a Box")
        return pb.FaceSelector(largest=True)
    return pb.FaceSelector(index=_int32(face, "a face's index", "detect() gives the indices, from 0"))


def _several(values: object) -> Iterable[Any]:
    """Returns what may be one value or several as several; a str is one."""
    return values if isinstance(values, Iterable) and not isinstance(values, str | bytes) else [values]


def _number(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{what} cannot be {type(value).__name__}; give a number")
    return float(value)


def _steps(number: object, what: str) -> int | None:
    return None if number is None else _int32(number, what, "give a number of steps")


def _int32(value: object, what: str, right: str) -> int:
    """Returns a whole number that the wire can carry; what would be right is for the message."""
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"{what} cannot be {type(value).__name__}; {right}")
    if not -_INT32_MAX <= int(value) <= _INT32_MAX:
        raise ValueError(f"{what} cannot be {value}; {right}")
    return int(value)


def _choice(name: str, what: str, choices: Mapping[str, Any]) -> Any:
    if name not in choices:
        raise ValueError(f"{what} cannot be {name!r}; give one of {', '.join(choices)}")
    return choices[name]
