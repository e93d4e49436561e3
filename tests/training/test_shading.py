"""Light and shadow: what a change of luma does to the colours of a face."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from dorian_training.networks.shading import SHADING, luma_of, skin_of
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
