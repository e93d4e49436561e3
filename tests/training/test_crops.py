"""Aligned crops: cut once, kept on disk, and cut without the pictures that cannot be read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dorian_bundle.alignment import DEFAULT_TEMPLATE, AlignmentTemplate, crop_matrix, warp_crop
from dorian_training.data.archives import load_archives
from dorian_training.data.augmentation import MARGIN
from dorian_training.data.crops import cut_crops, cut_face, with_margin
from dorian_training.data.records import FaceRecord, PictureReader
from dorian_training.errors import DataError

Records = list[FaceRecord]


@pytest.fixture
def records(tmp_path: Path, write_archives: Callable[..., Path]) -> Records:
    return load_archives(
        write_archives(tmp_path / "faces", [{"age_low": 20 + i, "age_high": 20 + i} for i in range(5)])
    )


def test_a_crop_is_the_bundles_alignment_of_the_picture(records: Records) -> None:
    template = AlignmentTemplate(landmarks=((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)))
    crops = cut_crops(records, 48, template=template)
    assert (len(crops), crops.size, crops.pixels.dtype) == (5, 48, np.uint8)
    with PictureReader() as reader:
        for record, pixels in zip(records, crops.pixels, strict=True):
            picture = reader.read(record)
            expected = warp_crop(picture, crop_matrix(np.asarray(record.landmarks), template, 48), 48)
            assert np.array_equal(pixels, expected)
            assert np.array_equal(cut_face(picture, record, template, 48), expected)


@pytest.mark.parametrize("size", [64, 112])
def test_crops_with_a_margin_show_the_plain_crops_in_their_middle(records: Records, size: int) -> None:
    template = AlignmentTemplate(landmarks=((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)))
    for own in (DEFAULT_TEMPLATE, template):
        side, wide = with_margin(size, own)
        margin = round(size * MARGIN)
        assert side == size + 2 * margin
        assert wide.points(side) == pytest.approx(own.points(size) + margin)
        plain, wider = (cut_crops(records, *item) for item in ((size, None, own), (side, None, wide)))
        middle = wider.pixels[:, margin:-margin, margin:-margin].astype(int)
        assert np.abs(middle - plain.pixels).max() <= 1
        assert wider.pixels[:, :margin].std() > 10  # the margin shows the picture, too


def test_crops_cut_before_are_read_back_without_the_pictures(records: Records, tmp_path: Path) -> None:
    cache = tmp_path / "cache" / "new"
    first = cut_crops(records, 32, cache)
    assert len(list(cache.iterdir())) == 1
    records[0].container.unlink()
    second = cut_crops(records, 32, cache)
    assert second.records == first.records == tuple(records)
    assert np.array_equal(second.pixels, first.pixels)
    with pytest.raises(DataError):
        cut_crops(records, 32)


def test_another_size_template_or_list_of_faces_is_another_file(records: Records, tmp_path: Path) -> None:
    template = AlignmentTemplate(landmarks=((0.3, 0.4), (0.7, 0.4), (0.5, 0.6), (0.35, 0.8), (0.65, 0.8)))
    older = replace(records[0], age_high=90)
    made = [
        cut_crops(records, 32, tmp_path / "cache"),
        cut_crops(records, 40, tmp_path / "cache"),
        cut_crops(records, 32, tmp_path / "cache", template),
        cut_crops(records[:-1], 32, tmp_path / "cache"),
        cut_crops([older, *records[1:]], 32, tmp_path / "cache"),
    ]
    assert len(list((tmp_path / "cache").iterdir())) == len(made)
    assert made[1].size == 40
    assert not np.array_equal(made[2].pixels, made[0].pixels)
    assert len(made[3]) == 4
    assert made[4].records[0].age_high == 90


def test_pictures_that_cannot_be_read_are_left_out(
    records: Records, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = cut_crops(records, 32)
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "text.png").write_text("not a picture")
    (broken / "empty.png").touch()
    (broken / "archive.zip").write_bytes(b"not an archive")
    bad = [
        replace(records[0], name="absent.png"),
        replace(records[0], container=broken, name="absent.png"),
        replace(records[0], container=broken, name="text.png"),
        replace(records[0], container=broken, name="empty.png"),
        replace(records[0], container=broken / "archive.zip"),
        replace(records[0], landmarks=((5.0, 5.0),) * 5),
    ]
    mixed = [bad[0], *records[:2], *bad[1:], *records[2:]]
    for _ in range(2):  # cut, then read back
        crops = cut_crops(mixed, 32, tmp_path / "cache")
        assert crops.records == tuple(records)
        assert np.array_equal(crops.pixels, whole.pixels)
    assert len(caplog.records) == len(bad)
    assert {record.levelname for record in caplog.records} == {"WARNING"}
    assert "absent.png" in caplog.messages[0]


def test_an_archive_with_a_damaged_picture(records: Records, caplog: pytest.LogCaptureFixture) -> None:
    archive = records[0].container
    data = bytearray(archive.read_bytes())
    data[100:120] = bytes(20)
    archive.write_bytes(data)
    assert cut_crops(records, 32).records == tuple(records[1:])
    assert "0.png" in caplog.text


def test_no_picture_left(records: Records, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of the faces could be read"):
        cut_crops([replace(record, name="absent.png") for record in records], 32, tmp_path / "cache")
    assert not (tmp_path / "cache").exists()


def test_choosing_faces(records: Records) -> None:
    crops = cut_crops(records, 32)
    selected = crops.where(np.array([False, True, False, True, False]))
    assert selected.records == (records[1], records[3])
    assert np.array_equal(selected.pixels, crops.pixels[[1, 3]])
