"""The detector's losses: which cell is to find which face, by a plain search, and what finding it is worth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from torch import Tensor

from dorian_training.losses.detection import REACH, SIZES, Truth, assign, detection_losses, overlap
from dorian_training.networks.detector import STRIDES, Cells, read_cells

SIDE = 128
ROOM = 5
Box = tuple[float, float, float, float]
LEVELS = {stride: (SIDE // stride) ** 2 for stride in STRIDES}


def cells(batch: int = 1) -> Cells:
    """Cells of images of 128 pixels that say nothing yet."""
    return read_cells(tuple(torch.zeros(batch, 15, SIDE // stride, SIDE // stride) for stride in STRIDES))


def truth(*images: Sequence[tuple[Box, int]]) -> Truth:
    """Boxes of each image with their kind, padded; landmarks lie on a diagonal of the box."""
    boxes, kind = torch.zeros(len(images), ROOM, 4), torch.zeros(len(images), ROOM, dtype=torch.int8)
    for image, held in enumerate(images):
        for place, (box, what) in enumerate(held):
            boxes[image, place], kind[image, place] = torch.tensor(box), what
    along = torch.linspace(0.1, 0.9, 5)[:, None]
    return Truth(boxes, boxes[:, :, None, :2] + along * boxes[:, :, None, 2:], kind)


def found(box: Box, *others: tuple[Box, int]) -> Tensor:
    """The cells that are to find the first face of an image."""
    return torch.nonzero(assign(cells(), truth([(box, 1), *others]))[0][0] == 0).ravel()


def strides_of(indices: Tensor) -> list[int]:
    return sorted({int(stride) for stride in cells().strides[indices]})


def perfect(which: Truth) -> Cells:
    """What a detector that makes no mistakes says."""
    blank = cells(len(which.boxes))
    face, _ = assign(blank, which)
    image, cell = torch.nonzero(face >= 0, as_tuple=True)
    selected = face[image, cell]
    boxes, landmarks = blank.boxes.clone(), blank.landmarks.clone()
    corner, size = which.boxes[image, selected].split(2, dim=-1)
    boxes[image, cell] = torch.cat([corner + size / 2, size], dim=-1)
    landmarks[image, cell] = which.landmarks[image, selected]
    return replace(blank, score=torch.where(face >= 0, 20.0, -20.0), boxes=boxes, landmarks=landmarks)


# --- which cell finds which face ---


@pytest.mark.parametrize(
    ("side", "strides"),
    [(20, [8]), (39.9, [8]), (40, [8, 16]), (55.9, [8, 16]), (56, [16]), (96, [16, 32]), (128, [32]), (400, [32])],
)
def test_a_face_belongs_to_the_levels_of_its_size(side: float, strides: list[int]) -> None:
    assert strides_of(found((64 - side / 2, 64 - side / 2, side, side))) == strides
    assert strides_of(found((64 - side, 64 - side / 4, 2 * side, side / 2))) == strides  # of its area's root


def test_levels_leave_no_size_out() -> None:
    assert all(SIZES[coarse][0] < SIZES[fine][1] for fine, coarse in pairwise(STRIDES))
    assert (SIZES[8][0], SIZES[32][1]) == (0, 1e9)


def test_a_face_is_found_by_the_cells_around_its_centre() -> None:
    own = cells().centres[found((44, 44, 32, 32))]  # its centre, (60, 60), is a cell's: 8 * 7.5
    assert sorted(map(tuple, own.tolist())) == [(x, y) for x in (52.0, 60.0, 68.0) for y in (52.0, 60.0, 68.0)]
    assert REACH == 1.5


def test_cells_outside_of_a_slim_box_do_not_find_it() -> None:
    own = cells().centres[found((55, 30, 10, 60))]
    assert sorted(map(tuple, own.tolist())) == [(60.0, 52.0), (60.0, 60.0), (60.0, 68.0)]


def test_a_face_between_all_cells_has_its_nearest() -> None:
    assert cells().centres[found((54.5, 54.5, 3, 3))].tolist() == [
        [52, 52],
        [60, 52],
        [52, 60],
        [60, 60],
    ]  # all as near
    assert cells().centres[found((56.5, 53, 1, 1))].tolist() == [[60, 52]]


def test_a_face_whose_centre_is_out_of_the_image_has_its_nearest_cell() -> None:
    assert cells().centres[found((-30, 50, 20, 20))].tolist() == [[4, 60]]


def test_the_smaller_face_has_a_cell_that_two_claim() -> None:
    held = [((44.0, 44.0, 32.0, 32.0), 1), ((52.0, 52.0, 16.0, 16.0), 1)]
    face, _ = assign(cells(), truth(held))
    other, _ = assign(cells(), truth(held[::-1]))
    assert {int(index) for index in face[0]} == {-1, 1}  # both lie about the same centre
    assert torch.equal(torch.where(face == 1, 0, face), other)


def test_cells_in_ignored_regions_do_not_learn_unless_a_face_is_theirs() -> None:
    region = ((0.0, 0.0, 64.0, 64.0), -1)
    face, learns = assign(cells(), truth([region]))
    inside = (cells().centres <= 64).all(dim=1)
    assert (face == -1).all()
    assert torch.equal(learns[0], ~inside)
    face, learns = assign(cells(), truth([region, ((10.0, 10.0, 24.0, 24.0), 1)]))
    assert (face[0] == 1).sum() == 9
    assert torch.equal(learns[0], ~inside | (face[0] == 1))


def test_padding_is_no_face() -> None:
    face, learns = assign(cells(2), truth([], [((44, 44, 32, 32), 1)]))
    assert (face[0] == -1).all()
    assert (face[1] >= 0).any()
    assert learns.all()


def test_assignment_is_what_a_plain_search_gives() -> None:
    random = torch.Generator().manual_seed(0)
    grid = cells()
    for _ in range(20):
        sides = 2 ** (3 + 4 * torch.rand(ROOM, 2, generator=random))
        corners = 128 * torch.rand(ROOM, 2, generator=random) - sides / 2
        kinds = [1, 1, 1, -1, 0]
        boxes = torch.cat([corners, sides], dim=1).tolist()
        face, learns = assign(grid, truth(list(zip(map(tuple, boxes), kinds, strict=True))))
        expected, may_learn = search(grid, boxes, kinds)
        assert face[0].tolist() == expected
        assert learns[0].tolist() == may_learn


def search(grid: Cells, boxes: list[list[float]], kinds: list[int]) -> tuple[list[int], list[bool]]:
    """Assignment, face by face and cell by cell."""
    claims: list[list[tuple[float, int]]] = [[] for _ in grid.strides]
    ignored = [False] * len(claims)
    for number, ((x, y, width, height), kind) in enumerate(zip(boxes, kinds, strict=True)):
        side = math.sqrt(width * height)
        fitting = {}
        for index, ((cx, cy), stride) in enumerate(zip(grid.centres.tolist(), grid.strides.tolist(), strict=True)):
            dx, dy = abs(cx - x - width / 2), abs(cy - y - height / 2)
            inside = dx <= width / 2 and dy <= height / 2
            ignored[index] |= kind == -1 and inside
            low, high = SIZES[int(stride)]
            if kind == 1 and low <= side < high:
                fitting[index] = (dx**2 + dy**2, inside and max(dx, dy) <= REACH * stride)
        nearest = min((distance for distance, _ in fitting.values()), default=0.0)
        for index, (distance, near) in fitting.items():
            if near or distance <= nearest + 1e-3:
                claims[index].append((side, number))
    faces = [min(claim)[1] if claim else -1 for claim in claims]
    return faces, [face >= 0 or not skip for face, skip in zip(faces, ignored, strict=True)]


# --- overlap ---


@pytest.mark.parametrize(
    ("a", "b", "iou", "loss"),
    [
        ((5, 5, 4, 2), (5, 5, 4, 2), 1, 0),
        ((0, 0, 2, 2), (1, 0, 2, 2), 1 / 3, 2 / 3 + 1 / 13),
        ((0, 0, 2, 2), (10, 0, 2, 2), 0, 1 + 100 / 148),
        ((0, 0, 4, 4), (0, 0, 2, 2), 1 / 4, 3 / 4),
        ((0, 0, 2, 2), (1, 1, 2, 2), 1 / 7, 6 / 7 + 2 / 18),
    ],
)
def test_overlaps_by_hand(a: Box, b: Box, iou: float, loss: float) -> None:
    one, two = torch.tensor([a], dtype=torch.float64), torch.tensor([b], dtype=torch.float64)
    for pair in ((one, two), (two, one)):
        assert [float(value) for value in overlap(*pair)] == pytest.approx([iou, loss])


def test_boxes_that_do_not_touch_are_drawn_together() -> None:
    box = torch.tensor([[0.0, 0.0, 2.0, 2.0]], requires_grad=True)
    overlap(box, torch.tensor([[10.0, 5.0, 2.0, 2.0]]))[1].sum().backward()
    assert box.grad is not None
    assert (box.grad[0, :2] < 0).all()  # downhill is to the right and down


# --- losses ---


def test_no_mistake_costs_nothing() -> None:
    which = truth([((44, 44, 32, 32), 1), ((0, 0, 20, 30), -1)], [((20, 30, 70, 80), 1), ((90, 90, 30, 24), 1)], [])
    losses = detection_losses(perfect(which), which)
    assert losses.keys() == {"score", "box", "landmarks"}
    assert all(float(loss) < 1e-5 for loss in losses.values())


def test_images_without_faces_teach_scores_alone() -> None:
    losses = detection_losses(cells(2), truth([], [((10, 10, 60, 60), -1)]))
    assert (float(losses["box"]), float(losses["landmarks"])) == (0, 0)
    inside = int(((cells().centres >= 10) & (cells().centres <= 70)).all(dim=1).sum())
    learning = 2 * sum(LEVELS.values()) - inside
    assert float(losses["score"]) == pytest.approx(learning * math.log(2) / 4, rel=1e-5)  # one half off, squared


def test_ignored_regions_teach_nothing() -> None:
    which = truth([((44, 44, 32, 32), 1), ((80.0, 80.0, 40.0, 40.0), -1)])
    said = perfect(which)
    score = said.score.clone()
    inside = ((cells().centres > 80) & (cells().centres < 120)).all(dim=1)
    score[0, inside] = 20.0  # a face in there is neither right nor wrong
    assert float(detection_losses(replace(said, score=score), which)["score"]) < 1e-5
    score[0, 0] = 20.0  # one elsewhere is wrong
    wrong = detection_losses(replace(said, score=score), which)["score"]
    assert float(wrong) == pytest.approx(20 / 9, rel=1e-3)


def test_scores_learn_how_well_a_cells_box_overlaps() -> None:
    which = truth([((44, 44, 32, 32), 1)])
    said = perfect(which)
    face, _ = assign(cells(), which)
    boxes = said.boxes.clone()
    boxes[face >= 0] = torch.tensor([60.0, 60.0, 32.0, 16.0])  # half of the face
    half = replace(said, boxes=boxes, score=torch.where(face >= 0, 0.0, -20.0))
    losses = detection_losses(half, which)
    assert float(losses["score"]) < 1e-5
    assert float(losses["box"]) == pytest.approx(0.5, rel=1e-5)
    sure = detection_losses(replace(half, score=torch.where(face >= 0, 20.0, -20.0)), which)
    assert float(sure["score"]) == pytest.approx(10 / 4, rel=1e-3)  # half of 20, times one half squared


def test_the_score_does_not_teach_boxes() -> None:
    which = truth([((44, 44, 32, 32), 1)])
    said = perfect(which)
    boxes = (said.boxes + 3).requires_grad_()
    (gradient,) = torch.autograd.grad(
        detection_losses(replace(said, boxes=boxes, score=said.score.requires_grad_()), which)["score"],
        boxes,
        allow_unused=True,
    )
    assert gradient is None


@pytest.mark.parametrize(("tenths", "loss"), [(1.0, 0.9), (3.0, 2.9), (0.1, 0.1**2 / 0.4)])
def test_landmarks_are_off_in_tenths_of_the_face(tenths: float, loss: float) -> None:
    which = truth([((30, 30, 64, 36), 1)])  # of side 48
    said = perfect(which)
    off = replace(said, landmarks=said.landmarks + tenths * 4.8)
    assert float(detection_losses(off, which)["landmarks"]) == pytest.approx(loss, rel=1e-4)


def test_losses_are_means_over_all_cells_that_have_a_face() -> None:
    one, two = truth([((44, 44, 32, 32), 1)]), truth([((44, 44, 32, 32), 1)], [((44, 44, 32, 32), 1)], [])
    shifted = {len(which.boxes): replace(perfect(which), boxes=perfect(which).boxes + 5) for which in (one, two)}
    first, second = detection_losses(shifted[1], one), detection_losses(shifted[3], two)
    assert float(first["box"]) > 0.1
    assert [float(first[name]) for name in first] == pytest.approx([float(second[name]) for name in second], abs=1e-5)


def test_room_for_more_faces_changes_nothing() -> None:
    which = truth([((44, 44, 32, 32), 1), ((80, 80, 40, 40), -1)])
    short = Truth(which.boxes[:, :2], which.landmarks[:, :2], which.kind[:, :2])
    wrong = replace(cells(), boxes=cells().boxes * 1.1)
    pairs = zip(detection_losses(wrong, which).values(), detection_losses(wrong, short).values(), strict=True)
    assert all(torch.equal(a, b) for a, b in pairs)
