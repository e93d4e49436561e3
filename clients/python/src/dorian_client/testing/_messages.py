"""The fake server's messages: what it has, as a server sends it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, astuple

from dorian.v1 import face_aging_pb2 as pb
from dorian_client._bundles import Method
from dorian_client._faces import Face, FaceWarning
from dorian_client._matches import YearsApart, YearsBound

_LEVELS, _CHOSEN = [9, 11], 5
_BOUNDS: dict[YearsBound, pb.YearsBound] = {
    "about": pb.YEARS_BOUND_ABOUT,
    "at_most": pb.YEARS_BOUND_AT_MOST,
    "at_least": pb.YEARS_BOUND_AT_LEAST,
}


def write_method(method: Method) -> pb.Method:
    """Return a method as ListMethods does."""
    message = pb.Method(
        name=method.name,
        family=method.family,
        description=method.description,
        age_groups=[
            pb.AgeGroup(label=group.label, low=group.low, high=group.high, centre=group.centre)
            for group in method.age_groups
        ],
        crop_size=method.crop_size,
        is_default=method.is_default,
        filters=[pb.Filter(name=filter.name, description=filter.description) for filter in method.filters],
        reconstructs=method.reconstructs,
        optimises=method.optimises,
        licence_obstacles=method.licence_obstacles,
        style_levels=method.style_levels,
        style_presets=[
            pb.StylePreset(name=preset.name, groups=[pb.LevelGroup(levels=group) for group in preset.groups])
            for preset in method.style_presets
        ],
        changes_hair=method.changes_hair,
    )
    if method.commercial_use is not None:
        message.commercial_use = method.commercial_use
    return message


def write_face(face: Face) -> pb.Face:
    """Return a face as DetectFaces does."""
    landmarks = [] if face.landmarks is None else [pb.Point(x=x, y=y) for x, y in astuple(face.landmarks)]
    interval, pose = face.interval, face.pose
    return pb.Face(
        index=face.index,
        box=write_box(face),
        score=face.score,
        landmarks=landmarks,
        estimated_age=face.estimated_age,
        estimated_age_interval=None if interval is None else pb.AgeInterval(**asdict(interval)),
        pose=None if pose is None else pb.Pose(**asdict(pose)),
        visibility=face.visibility,
    )


def write_references(
    request: pb.MixStylesRequest, faces: Sequence[Face], changed: Sequence[int]
) -> list[pb.UsedReference]:
    """Return the references of a request with the largest of ``faces``, or as many as it asks for of each of those that ``changed``."""
    levels = list(request.levels) or _LEVELS
    if request.references:
        return [
            pb.UsedReference(index=index, levels=list(reference.levels) or levels, face=write_face(faces[0]))
            for index, reference in enumerate(request.references)
        ]
    return [
        pb.UsedReference(index=index, levels=levels, chosen_for=face, age_low=60, age_high=69, gender=pb.GENDER_WOMAN)
        for face in changed
        for index in range(request.chosen.count or _CHOSEN)
    ]


def write_warning(warning: FaceWarning) -> pb.FaceWarning:
    """Return a warning of a report."""
    return pb.FaceWarning(code=f"WARNING_CODE_{warning.code}", message=warning.message)


def write_box(face: Face) -> pb.Box:
    """Return where a face is."""
    return pb.Box(x=face.box.x, y=face.box.y, width=face.box.width, height=face.box.height)


def write_years(apart: YearsApart | None) -> pb.YearsApart | None:
    """Return how many years apart photographs are, if that is known."""
    return None if apart is None else pb.YearsApart(years=apart.years, bound=_BOUNDS[apart.bound])
