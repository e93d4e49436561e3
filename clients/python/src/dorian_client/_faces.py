"""What calls are about: ages, filters and faces. Frozen, in plain Python types."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, TypeAlias

# The label of an age group ("60+"), or years.
Age: TypeAlias = str | float


@dataclass(frozen=True)
class Filter:
    """A named change that is no age, given as a target like one: `Filter("old")`.

    Attributes:
        name: What the server calls it.
        description: One sentence for people, as `Client.methods` returns it; filters of one name are equal without it.
    """

    name: str
    description: str = field(default="", compare=False)

    def __str__(self) -> str:
        return self.name


# The age or filter that a face is changed to.
Target: TypeAlias = Age | Filter


@dataclass(frozen=True)
class Box:
    """A rectangle in pixels of the upright photo, its origin at the top left.

    Attributes:
        x: Left edge.
        y: Top edge.
        width: Width.
        height: Height.
    """

    x: float
    y: float
    width: float
    height: float


# Selects one face of a photo: the largest, its index (0 is the largest), or a rectangle that it overlaps.
FaceLike: TypeAlias = Literal["largest"] | int | Box


@dataclass(frozen=True)
class Landmarks:
    """Five points of a face, (x, y) in pixels of the upright photo; (0, 0) is the centre of the top left pixel.

    Right and left are the person's own.
    """

    right_eye: tuple[float, float]
    left_eye: tuple[float, float]
    nose: tuple[float, float]
    right_mouth: tuple[float, float]
    left_mouth: tuple[float, float]


@dataclass(frozen=True)
class Pose:
    """How a face is turned, in degrees; all are 0 in a face that is upright and seen from the front.

    Attributes:
        yaw: Above 0: it looks to the viewer's right.
        pitch: Above 0: it looks up.
        roll: Above 0: its head is tilted clockwise, as the viewer sees it; -180 to 180.
    """

    yaw: float
    pitch: float
    roll: float


@dataclass(frozen=True)
class AgeInterval:
    """Between which ages a person is likely to be.

    Attributes:
        low: Lowest age, in years.
        high: Highest age, in years.
        coverage: Share of faces whose age lies in their interval, as measured; 0 to 1.
    """

    low: float
    high: float
    coverage: float


@dataclass(frozen=True)
class Face:
    """One face of a photo.

    Attributes:
        index: Its rank by size, from 0, the largest; selects the face in later calls.
        box: Where the face is.
        score: The detector's confidence, 0 to 1.
        landmarks: Eyes, nose and corners of the mouth; None if the server sends none.
        estimated_age: In years; None if it could not be estimated.
        interval: How sure the estimated age is; None if the server does not say.
        pose: How the face is turned; None if the server does not say.
        visibility: Share of the face that can be seen, 0 to 1; None if the server does not say.
    """

    index: int
    box: Box
    score: float
    landmarks: Landmarks | None
    estimated_age: float | None
    interval: AgeInterval | None = None
    pose: Pose | None = None
    visibility: float | None = None


@dataclass(frozen=True)
class FaceWarning:
    """Why the result of a face that was changed may not be as expected.

    Attributes:
        code: "AGE_UNCERTAIN", "FACE_COVERED" or "FACE_TURNED"; newer servers may have more.
        message: The same for people.
    """

    code: str
    message: str


@dataclass(frozen=True)
class FaceError:
    """Why one face could not be processed while others were.

    Attributes:
        reason: The server's name for it, such as "FACE_NOT_FOUND".
        message: The same for people.
    """

    reason: str
    message: str
