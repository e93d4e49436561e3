"""Saving pictures in each format, whole or not at all, and the geometry of sheets."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from dorian_client import Picture, make_sheet

Pixels = npt.NDArray[np.uint8]
RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def _picture(pixels: Pixels, format: str = "png") -> Picture:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format)
    return Picture(buffer.getvalue(), format, pixels.shape[1], pixels.shape[0])


@pytest.mark.parametrize(
    ("format", "name"), [("png", "a.png"), ("jpeg", "a.JPG"), ("jpeg", "a.jpeg"), ("webp", "a.webp")]
)
def test_the_same_format_keeps_the_bytes(format: str, name: str, pixels: Pixels, tmp_path: Path) -> None:
    picture = _picture(pixels, format)
    path = picture.save(str(tmp_path / name))
    assert path == tmp_path / name
    assert path.read_bytes() == picture.data


@pytest.mark.parametrize(("name", "format"), [("a.jpg", "JPEG"), ("a.webp", "WEBP"), ("a.png", "PNG")])
def test_another_suffix_converts(name: str, format: str, pixels: Pixels, tmp_path: Path) -> None:
    smooth = np.ascontiguousarray(np.broadcast_to(np.arange(64, dtype=np.uint8)[None, :, None] * 2, (48, 64, 3)))
    picture = _picture(smooth, "webp" if format == "PNG" else "png")
    with Image.open(picture.save(tmp_path / name)) as saved:
        assert saved.format == format
        difference = np.abs(np.asarray(saved.convert("RGB")).astype(int) - picture.to_array().astype(int))
    assert difference.max() <= 8


def test_webp_at_quality_100_is_lossless(pixels: Pixels, tmp_path: Path) -> None:
    path = _picture(pixels).save(tmp_path / "a.webp", quality=100)
    with Image.open(path) as saved:
        np.testing.assert_array_equal(np.asarray(saved.convert("RGB")), pixels)


def test_quality_decides_the_size(pixels: Pixels, tmp_path: Path) -> None:
    picture = _picture(pixels)
    coarse, fine = (picture.save(tmp_path / f"{quality}.jpg", quality=quality) for quality in (20, 95))
    assert coarse.stat().st_size * 2 < fine.stat().st_size


def test_transparent_pictures_can_be_saved_as_jpeg(tmp_path: Path) -> None:
    picture = _picture(np.full((8, 8, 4), 200, np.uint8))
    with Image.open(picture.save(tmp_path / "a.jpg")) as saved:
        assert (saved.format, saved.mode) == ("JPEG", "RGB")


@pytest.mark.parametrize("name", ["a", "a.gif", "a.txt", ".png"])
def test_suffixes_without_a_format(name: str, pixels: Pixels, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"end it in \.jpg"):
        _picture(pixels).save(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_save_leaves_nothing_behind(pixels: Pixels, tmp_path: Path) -> None:
    (tmp_path / "a.png").mkdir()  # cannot be replaced by a file
    with pytest.raises(IsADirectoryError):
        _picture(pixels).save(tmp_path / "a.png")
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]


def test_a_failed_conversion_leaves_the_old_file(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"old")
    with pytest.raises(OSError, match="cannot identify"):
        Picture(b"no image", "png", 1, 1).save(tmp_path / "a.jpg")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.jpg", b"old")]


def test_an_interrupted_save_leaves_the_old_file(
    pixels: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(path: Path, target: Path) -> Path:
        raise KeyboardInterrupt

    (tmp_path / "a.png").write_bytes(b"old")
    monkeypatch.setattr(Path, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt):
        _picture(pixels).save(tmp_path / "a.png")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a.png", b"old")]


def test_reading_a_picture(pixels: Pixels) -> None:
    picture = _picture(pixels)
    assert picture.to_array().shape == (48, 64, 3)
    assert picture.to_array().dtype == np.uint8
    np.testing.assert_array_equal(np.asarray(picture.to_pil()), pixels)
    assert "data" not in repr(picture)


def _tile(colour: tuple[int, int, int], size: tuple[int, int] = (160, 160)) -> Image.Image:
    return Image.new("RGB", size, colour)


def _edges_of(sheet: Image.Image, colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Return the left, top, right and bottom edges of the pixels of a colour."""
    rows, columns = np.nonzero((np.asarray(sheet) == colour).all(axis=2))
    return int(columns.min()), int(rows.min()), int(columns.max()) + 1, int(rows.max()) + 1


def test_a_row_of_tiles() -> None:
    sheet = make_sheet([_tile(RED), _tile(GREEN), _tile(BLUE)], ["a", "b", "c"])
    edges = [_edges_of(sheet, colour) for colour in (RED, GREEN, BLUE)]
    assert [(right - left, bottom - top) for left, top, right, bottom in edges] == [(160, 160)] * 3
    assert edges[0][2] < edges[1][0] < edges[1][2] < edges[2][0] < sheet.width - 1
    assert len({top for _, top, _, _ in edges}) == 1
    assert sheet.getpixel((0, 0)) == WHITE


def test_every_tile_has_its_label_below_it() -> None:
    sheet = make_sheet([_tile(RED), _tile(GREEN)], ["", "60+"])
    pixels = np.asarray(sheet.convert("L"))
    left, _, right, bottom = _edges_of(sheet, RED)
    assert pixels[bottom:, left:right].min() == 255
    left, _, right, bottom = _edges_of(sheet, GREEN)
    rows, columns = np.nonzero(pixels[bottom:, left:right] < 128)
    assert rows.max() - rows.min() >= 8  # letters of a size that can be read
    assert bottom + rows.max() < sheet.height - 1
    assert abs((columns.min() + columns.max() + 1) / 2 - (right - left) / 2) <= 2


@pytest.mark.parametrize(("count", "columns", "rows"), [(1, 1, 1), (7, 7, 1), (8, 7, 2), (15, 7, 3)])
def test_sheets_wrap_after_seven(count: int, columns: int, rows: int) -> None:
    def sheet_of(number: int) -> Image.Image:
        return make_sheet([_tile(RED)] * number, ["x"] * number)

    one, sheet = sheet_of(1), sheet_of(count)
    gap = 8
    assert sheet.width - gap == columns * (one.width - gap)
    assert sheet.height - gap == rows * (one.height - gap)


def test_columns_can_be_chosen() -> None:
    sheet = make_sheet([_tile(RED), _tile(GREEN), _tile(BLUE)], ["a", "b", "c"], columns=2)
    assert _edges_of(sheet, BLUE)[0] == _edges_of(sheet, RED)[0]
    assert _edges_of(sheet, BLUE)[1] > _edges_of(sheet, RED)[3]


def test_tiles_share_the_height_of_the_highest() -> None:
    sheet = make_sheet([_tile(RED, (100, 50)), _tile(GREEN, (150, 200))], ["a", "b"])
    left, top, right, bottom = _edges_of(sheet, RED)
    assert (right - left, bottom - top) == (400, 200)
    left, top, right, bottom = _edges_of(sheet, GREEN)
    assert (right - left, bottom - top) == (150, 200)


def test_narrow_tiles_stand_in_the_middle_of_their_cells() -> None:
    left, _, right, _ = _edges_of(make_sheet([_tile(RED, (10, 40)), _tile(GREEN, (90, 40))], ["", ""], columns=1), RED)
    assert (left, right) == (8 + 40, 8 + 50)


def test_large_pictures_are_scaled_to_512() -> None:
    left, top, right, bottom = _edges_of(make_sheet([_tile(RED, (1500, 1000))], ["a"]), RED)
    assert (right - left, bottom - top) == (768, 512)


def test_labels_are_never_cut() -> None:
    narrow = make_sheet([_tile(RED, (10, 40))] * 2, ["x", "x"])
    wide = make_sheet([_tile(RED, (10, 40))] * 2, ["x", "a label wider than its tile"])
    assert wide.width > narrow.width + 150
    assert np.asarray(wide.convert("L"))[:, -4:].min() == 255


def test_sheets_take_pictures_and_images(pixels: Pixels) -> None:
    picture = _picture(pixels)
    sheet = make_sheet([picture, picture.to_pil()], ["x", "x"])
    half = (sheet.width - 8) // 2
    np.testing.assert_array_equal(np.asarray(sheet)[:, : 8 + half], np.asarray(sheet)[:, half:])


@pytest.mark.parametrize(("count", "labels"), [(0, []), (2, ["a"]), (1, ["a", "b"])])
def test_sheets_of_nothing_or_with_labels_missing(count: int, labels: list[str]) -> None:
    with pytest.raises(ValueError, match=f"{count} pictures with {len(labels)} labels"):
        make_sheet([_tile(RED)] * count, labels)
