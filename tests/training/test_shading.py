"""Light and shadow: what a change of luma does to the colours of a face."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.mesh import mean_mesh
from dorian_training.networks.shading import (
    SHADING,
    along_strokes,
    below_eyes,
    beside_features,
    luma_of,
    no_strokes,
    skin_of,
    stroke_kernels,
    stroke_shares,
)
from dorian_training.networks.shading import shaded as shaded_skin

SIDE = 48
CHEEK = (..., slice(26, 32), slice(11, 17))
SKIN, SHINE = (0.5, 0.1, -0.1), (0.8, 0.7, 0.65)


def shaded(luma: Tensor, image: Tensor) -> Tensor:
    return shaded_skin(luma, image, skin_of(SIDE))


def plain(colour: tuple[float, float, float]) -> Tensor:
    return torch.tensor(colour)[:, None, None].repeat(1, 1, SIDE, SIDE).reshape(1, 3, SIDE, SIDE)


def change(amount: float) -> Tensor:
    return torch.full((1, 1, SIDE, SIDE), amount)


@pytest.mark.parametrize("amount", [-0.3, 0.2])
def test_shadows_on_skin_are_redder_and_light_is_paler(amount: float) -> None:
    photo = plain(SKIN)
    before, after = (
        (image[0, :, 24, 24] + 1) / 2 for image in (photo, photo + shaded(change(amount), photo))
    )  # from black
    shares = (after - before) / before
    torch.testing.assert_close(shares / shares[0], torch.tensor(SHADING) / SHADING[0])
    assert (after[0] / after[2] > before[0] / before[2]) == (amount < 0)


@pytest.mark.parametrize("amount", [-0.3, -0.1, 0.05, 0.2])
def test_the_luma_is_what_is_asked_for(amount: float) -> None:
    photo = plain(SKIN)
    photo[CHEEK] = torch.tensor(SHINE)[:, None, None]
    torch.testing.assert_close(luma_of(shaded(change(amount), photo)), change(amount))


def test_a_highlight_that_goes_leaves_the_colour_of_the_skin_around_it() -> None:
    photo = plain(SKIN)
    photo[CHEEK] = torch.tensor(SHINE)[:, None, None]
    as_light = (luma_of(plain(SKIN)) - luma_of(photo)) * (photo != plain(SKIN))[:, :1]
    drawn = (photo + shaded(as_light, photo))[CHEEK].mean(dim=(2, 3))
    multiplied = (plain(SHINE) + 1) * (luma_of(plain(SKIN)) + 1) / (luma_of(plain(SHINE)) + 1) - 1
    skin = torch.tensor(SKIN)
    assert float((drawn - skin).abs().max()) < 0.12
    assert float((multiplied[0, :, 0, 0] - skin).abs().max()) > 0.15  # as a shadow would leave it: grey


def test_what_gets_lighter_than_the_face_around_it_does_not_take_its_colour() -> None:
    photo = plain(SKIN)
    photo[CHEEK] = torch.tensor(SHINE)[:, None, None]
    lighter = shaded(change(0.1), photo)[CHEEK].mean(dim=(2, 3))[0]
    assert float(lighter.max() - lighter.min()) < 0.03


def test_where_no_skin_is_near_nothing_is_taken_from_around() -> None:
    photo = plain(SKIN)
    photo[CHEEK] = 0.9
    drawn = shaded_skin(change(-0.2), photo, torch.zeros(1, 1, SIDE, SIDE))[CHEEK][0, :, 3, 3]
    torch.testing.assert_close(drawn / drawn[0], torch.tensor(SHADING) / SHADING[0])


def test_what_is_nearly_black_gets_no_colour_of_its_noise() -> None:
    delta = shaded(change(0.1), plain((-0.98, -1.0, -0.99)))
    assert float(delta.max()) <= 0.1 * 0.02 / 0.1 * max(SHADING) + 1e-6
    pure = plain((-1.0, -1.0, 1.0))  # of hardly any luma
    assert float(shaded(change(0.1), pure).max()) == pytest.approx(0.25)


def test_a_photo_without_colour_is_changed_by_the_colour_of_shadows_alone() -> None:
    grey = plain((0.2, 0.2, 0.2))
    grey[CHEEK] = 0.8
    drawn = shaded(change(-0.3), grey)[CHEEK]
    assert float((drawn.amax(dim=1) - drawn.amin(dim=1)).max()) < 0.3 * (SHADING[2] - SHADING[0]) * 1.1


def running(degrees: float, coherence: float = 1.0, cells: int = 6) -> Tensor:
    """The direction of lines at an angle to the rows, from the columns' axis to that of the rows, everywhere: (2, cells, cells)."""
    gradient = 2 * math.radians(degrees + 90)
    double = torch.tensor([math.cos(gradient), math.sin(gradient)]) * coherence
    return double[:, None, None].expand(2, cells, cells)


def drawn_out(values: Tensor, direction: Tensor, where: Tensor | None = None, gain: float = 1.0) -> Tensor:
    side = values.shape[2]
    where = torch.ones(1, 1, side, side) if where is None else where
    shares = stroke_shares(direction, torch.full(direction.shape[1:], 100.0), where)
    return along_strokes(values, stroke_kernels(side), shares, gain)


@pytest.mark.parametrize("degrees", [0.0, 22.5, 40.0, 90.0, 135.0, 175.0])
def test_a_dot_becomes_a_stroke_in_the_direction_of_lines(degrees: float) -> None:
    dot = torch.zeros(1, 1, 96, 96)
    dot[..., 48, 48] = 1
    stroke = drawn_out(dot, running(degrees))[0, 0]
    rows, columns = torch.meshgrid(torch.arange(96.0) - 48, torch.arange(96.0) - 48, indexing="ij")
    assert float(stroke.sum()) == pytest.approx(1, abs=1e-3)
    spread = torch.stack([(stroke * a * b).sum() for a, b in ((columns, columns), (columns, rows), (rows, rows))])
    angle = math.degrees(math.atan2(2 * float(spread[1]), float(spread[0] - spread[2]))) / 2  # of the longer axis
    assert abs((angle - degrees + 90) % 180 - 90) < 3
    across = columns * math.sin(math.radians(degrees)) - rows * math.cos(math.radians(degrees))
    length, width = ((stroke * values.square()).sum().sqrt() for values in (columns.hypot(rows), across))
    assert float(length) > 3
    assert float(width) < 1.1


def test_lines_along_strokes_stay_and_dots_hardly() -> None:
    line, dots = torch.zeros(1, 1, 96, 96), torch.zeros(1, 1, 96, 96)
    line[..., 48, :], dots[..., ::16, ::16] = 1, 1
    along, athwart = (float(drawn_out(line, running(degrees))[..., 48, 48]) for degrees in (0.0, 90.0))
    assert along > 0.6
    assert athwart < 0.2
    assert float(drawn_out(dots, running(0))[..., 48, 48]) < 0.15


def test_strokes_are_drawn_as_far_as_lines_are_coherent_and_wanted() -> None:
    level = torch.ones(1, 1, 96, 96)
    inside = (..., slice(10, -10), slice(10, -10))  # beyond, strokes reach across the crop's border
    for coherence, share in ((0.0, 0.0), (0.075, 0.5), (0.15, 1.0), (1.0, 1.0)):
        drawn = drawn_out(level, running(30, coherence), gain=3.0)
        torch.testing.assert_close(drawn[inside], (1 + 2 * share) * level[inside])
    half = torch.full_like(level, 0.5)
    torch.testing.assert_close(drawn_out(level, running(30), half, gain=3.0)[inside], 2 * level[inside])
    torch.testing.assert_close(along_strokes(level, stroke_kernels(96), no_strokes(96), 3.0), level)


@pytest.mark.parametrize(("amplitude", "share"), [(1.0, 0.25), (4.0, 0.5), (8.0, 1.0), (12.0, 1.0)])
def test_where_lines_are_faint_so_are_strokes(amplitude: float, share: float) -> None:
    shares = stroke_shares(running(0.0), torch.full((6, 6), amplitude**2), torch.ones(1, 1, 96, 96))[0]
    torch.testing.assert_close(shares[0], torch.full((96, 96), share), atol=1e-4, rtol=0)
    assert float(shares[1:].abs().max()) < 1e-4  # neither other strokes nor what is drawn itself


def test_where_there_are_no_lines_strokes_run_as_those_near_by() -> None:
    energy, direction, where = torch.zeros(12, 12), running(90.0, cells=12).clone(), torch.ones(1, 1, 96, 96)
    energy[4, 4], direction[:, 4, 4] = 5000, running(0)[:, 0, 0]
    strokes = stroke_shares(direction, energy, where)[0]
    rows, columns, kept = strokes[0], strokes[4], strokes[-1]
    near, far = (48, 44), (90, 90)
    assert float(rows[near]) == pytest.approx(1, abs=1e-5)
    assert float(columns[near]) == 0
    assert float(kept[near]) == pytest.approx(0, abs=1e-5)
    assert float(kept[far]) == 1


def test_below_the_eyes_are_cheeks_mouth_and_chin() -> None:
    points, where = mean_mesh(DEFAULT_TEMPLATE.points(96)).round().astype(int), below_eyes(96)[0, 0]
    assert where.shape == (96, 96)
    forehead, cheek, brow, lips, eye, chin = points[0], points[5], points[41], points[53], points[71], points[9]
    shares = [round(float(where[y, x]), 1) for x, y in (forehead, brow, eye, cheek, lips, chin)]
    assert shares == [0.0, 0.0, 0.0, 1.0, 1.0, 1.0]


def test_features_are_told_from_what_is_beside_them() -> None:
    points, where = mean_mesh(DEFAULT_TEMPLATE.points(96)).round().astype(int), beside_features(96)[0, 0]
    forehead, cheek, brow, lips, eye = points[0], points[5], points[41], points[53], points[71]
    assert [round(float(where[y, x]), 1) for x, y in (forehead, cheek, brow, lips, eye)] == [1.0, 1.0, 1.0, 0.0, 0.0]
