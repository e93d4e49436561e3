"""Labels of the faces in a picture: they move, turn over and are cut together with its pixels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

FACE, IGNORED, NO_FACE = 1, -1, 0
Pixels = NDArray[np.uint8]
Matrix = NDArray[np.float64]
Rectangle = tuple[float, float, float, float]

# Right and left eye, and right and left mouth corner, change their names in a mirror.
MIRRORED_POINTS = (1, 0, 2, 4, 3)


@dataclass(frozen=True)
class FaceLabels:
    """Faces of one picture: ``boxes`` float32 (faces, 4), ``landmarks`` float32 (faces, 5, 2), ``kind`` int8 (faces,).

    A box is x, y, width and height in pixels from the picture's corner. Landmarks are right eye, left eye, nose, right and left
    mouth corner (the person's right); they count pixel centres, as ``FaceRecord.points``. ``kind`` is ``FACE`` or ``IGNORED``.
    """

    boxes: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    kind: NDArray[np.int8]

    @staticmethod
    def of(boxes: Sequence[Rectangle], landmarks: Sequence[object], kind: int = FACE) -> FaceLabels:
        """Labels that are all of one ``kind``."""
        return FaceLabels(
            np.asarray(boxes, dtype=np.float32).reshape(-1, 4),
            np.asarray(landmarks, dtype=np.float32).reshape(-1, 5, 2),
            np.full(len(boxes), kind, dtype=np.int8),
        )

    @staticmethod
    def joined(parts: Sequence[FaceLabels]) -> FaceLabels:
        """The faces of all ``parts``, in their order."""
        parts = [FaceLabels.of([], []), *parts]
        return FaceLabels(
            np.concatenate([part.boxes for part in parts]),
            np.concatenate([part.landmarks for part in parts]),
            np.concatenate([part.kind for part in parts]),
        )

    def __len__(self) -> int:
        return len(self.boxes)

    def where(self, keep: NDArray[np.bool_] | NDArray[np.int64]) -> FaceLabels:
        """The faces at which ``keep`` is true, or those that it numbers."""
        return FaceLabels(self.boxes[keep], self.landmarks[keep], self.kind[keep])

    def moved(self, matrix: Matrix) -> FaceLabels:
        """After ``matrix`` (2, 3), in pixel centres, has moved the picture.

        Boxes stay upright: their centre moves, and width and height are scaled.
        """
        linear = matrix[:, :2]
        centres = (self.boxes[:, :2] + self.boxes[:, 2:] / 2 - 0.5) @ linear.T + matrix[:, 2] + 0.5
        sizes = self.boxes[:, 2:] * np.hypot(linear[0], linear[1])
        return FaceLabels(
            np.concatenate([centres - sizes / 2, sizes], axis=1).astype(np.float32),
            (self.landmarks @ linear.T + matrix[:, 2]).astype(np.float32),
            self.kind,
        )

    def mirrored(self, width: int) -> FaceLabels:
        """After a picture of ``width`` pixels has been turned over, left to right."""
        boxes = self.boxes.copy()
        boxes[:, 0] = width - boxes[:, 0] - boxes[:, 2]
        landmarks = self.landmarks[:, MIRRORED_POINTS].copy()
        landmarks[:, :, 0] = width - 1 - landmarks[:, :, 0]
        return FaceLabels(boxes, landmarks, self.kind)

    def visible(self, frame: Rectangle) -> NDArray[np.float32]:
        """The share of each box that lies inside of ``frame`` (x, y, width, height), 0 to 1, (faces,)."""
        inside = _inside(self.boxes, frame)
        return np.asarray(inside[:, 2] * inside[:, 3] / (self.boxes[:, 2] * self.boxes[:, 3]), dtype=np.float32)

    def cut(self, frame: Rectangle, least: float) -> FaceLabels:
        """Faces seen through ``frame``, their boxes cut to it; those of which less than ``least`` shows are ignored."""
        visible = self.visible(frame)
        kind = np.where(visible < least, IGNORED, self.kind).astype(np.int8)
        return replace(self, boxes=_inside(self.boxes, frame), kind=kind).where(visible > 0)


@dataclass(frozen=True)
class LabelledPicture:
    """``pixels`` uint8 RGB (height, width, 3) and the faces in them."""

    pixels: Pixels
    labels: FaceLabels

    @property
    def width(self) -> int:
        return int(self.pixels.shape[1])

    @property
    def height(self) -> int:
        return int(self.pixels.shape[0])

    def mirrored(self) -> LabelledPicture:
        return LabelledPicture(np.asarray(cv2.flip(self.pixels, 1), np.uint8), self.labels.mirrored(self.width))

    def resized(self, width: int, height: int) -> LabelledPicture:
        """Stretched to ``width`` × ``height``."""
        across, down = width / self.width, height / self.height
        matrix = np.array([[across, 0, (across - 1) / 2], [0, down, (down - 1) / 2]])
        return LabelledPicture(resized(self.pixels, width, height), self.labels.moved(matrix))

    def cropped(self, x: int, y: int, width: int, height: int) -> LabelledPicture:
        """The pixels of a rectangle; boxes may reach out of it."""
        matrix = np.array([[1.0, 0, -x], [0, 1, -y]])
        return LabelledPicture(self.pixels[y : y + height, x : x + width], self.labels.moved(matrix))


def resized(pixels: Pixels, width: int, height: int) -> Pixels:
    """``pixels`` uint8 (height, width, 3), averaged where they get fewer and interpolated where they get more."""
    shrinks = width < pixels.shape[1] and height < pixels.shape[0]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=how), dtype=np.uint8)


def _inside(boxes: NDArray[np.float32], frame: Rectangle) -> NDArray[np.float32]:
    x, y, width, height = frame
    low = np.maximum(boxes[:, :2], (x, y))
    high = np.minimum(boxes[:, :2] + boxes[:, 2:], (x + width, y + height))
    return np.concatenate([low, np.maximum(high - low, 0)], axis=1).astype(np.float32)
