"""Builds the messages that ask: pure functions from this package's types, which refuse what the wire cannot say."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from numbers import Integral, Real
from typing import Any, TypeAlias

from dorian.v1 import face_aging_pb2 as pb
from dorian_client._results import Age, Box, BundleInfo, FaceLike, Filter, Method, Target
from dorian_client.errors import NotFound

FORMATS: dict[str, pb.ImageFormat] = {
    "jpeg": pb.IMAGE_FORMAT_JPEG,
    "png": pb.IMAGE_FORMAT_PNG,
    "webp": pb.IMAGE_FORMAT_WEBP,
}
BLENDS: dict[str, pb.Blend] = {"delta": pb.BLEND_DELTA, "replace": pb.BLEND_REPLACE}
_LARGEST = "largest"
_INT32_MAX = 2**31 - 1

Targets: TypeAlias = Target | Iterable[Target] | None
Faces: TypeAlias = FaceLike | Iterable[FaceLike] | None
FaceAges: TypeAlias = Mapping[FaceLike, Target] | Iterable[tuple[FaceLike, Target]] | None


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
    )
    if strength is not None:
        request.strength = _number(strength, "a strength")
    if blend is not None:
        request.blend = _choice(blend, "a blend", BLENDS)
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
    photo: bytes, *, faces: Faces, source: Age | None, method: str | None, output: pb.OutputOptions
) -> pb.ReconstructRequest:
    """Returns the request for what the networks see in a photo. Raises TypeError and ValueError."""
    return pb.ReconstructRequest(
        image=pb.Image(data=photo),
        source=None if source is None else _write_age(source),
        method=method or "",
        output=output,
        faces=_write_faces(faces),
    )


def output_options(format: str | None, quality: int | None, *, keep_metadata: bool = False) -> pb.OutputOptions:
    """Returns how to store the pictures that come back. Raises ValueError."""
    if quality is not None and not -_INT32_MAX <= quality <= _INT32_MAX:
        raise ValueError(f"a quality cannot be {quality}; give 1 to 100")
    return pb.OutputOptions(
        format=None if format is None else _choice(format, "a format", FORMATS),
        quality=quality,
        keep_metadata=keep_metadata,
    )


def pick_method(bundle: BundleInfo, name: str | None) -> Method:
    """Returns the method of that name, or the default; raises NotFound as the server would."""
    for method in bundle.methods:
        if method.name == name or (not name and method.is_default):
            return method
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
    pairs: Any = face_ages.items() if isinstance(face_ages, Mapping) else face_ages or ()
    targets = []
    for pair in pairs:
        if not isinstance(pair, tuple) or len(pair) != 2:
            raise TypeError(f"a face's age cannot be {pair!r}; give a mapping from faces to ages, or (face, age) pairs")
        face, age = pair
        targets.append(pb.FaceTarget(face=_write_face(face), target=_write_target(age)))
    return targets


def _write_face(face: object) -> pb.FaceSelector:
    if isinstance(face, bool) or not isinstance(face, str | Integral | Box):
        raise TypeError(f"a face cannot be {type(face).__name__}; give {_LARGEST!r}, an index (an int) or a Box")
    if isinstance(face, Box):
        return pb.FaceSelector(box=pb.Box(x=face.x, y=face.y, width=face.width, height=face.height))
    if isinstance(face, str):
        if face != _LARGEST:
            raise ValueError(f"a face cannot be {face!r}; give {_LARGEST!r}, an index or a Box")
        return pb.FaceSelector(largest=True)
    if not -_INT32_MAX <= int(face) <= _INT32_MAX:
        raise ValueError(f"a face's index cannot be {face}; detect() gives the indices, from 0")
    return pb.FaceSelector(index=int(face))


def _several(values: object) -> Iterable[Any]:
    """Returns what may be one value or several as several; a str is one."""
    return values if isinstance(values, Iterable) and not isinstance(values, str | bytes) else [values]


def _number(value: object, what: str) -> float:
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"{what} cannot be {type(value).__name__}; give a number")
    return float(value)


def _choice(name: str, what: str, choices: Mapping[str, Any]) -> Any:
    if name not in choices:
        raise ValueError(f"{what} cannot be {name!r}; give one of {', '.join(choices)}")
    return choices[name]
