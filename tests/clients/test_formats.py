"""The one table of image formats agrees with the contract and with Pillow; files are written atomically."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from PIL import Image

from dorian.v1 import face_aging_pb2 as pb
from dorian_client._files import (
    FORMAT_LABELS,
    FORMATS,
    SUFFIXES,
    ImageFormat,
    encode_image,
    format_of,
    format_of_data,
    write_atomically,
)


def test_the_table_has_the_formats_of_the_contract() -> None:
    numbers = {value.number for value in pb.ImageFormat.DESCRIPTOR.values} - {pb.IMAGE_FORMAT_UNSPECIFIED}
    assert {format.number for format in FORMATS.values()} == numbers
    for name, format in FORMATS.items():
        assert pb.ImageFormat.Name(format.number) == f"IMAGE_FORMAT_{name.upper()}"
    assert (FORMAT_LABELS, SUFFIXES) == ("JPEG, PNG or WebP", ".jpg, .jpeg, .png or .webp")


@pytest.mark.parametrize("format", FORMATS.values(), ids=lambda format: format.name)
def test_a_format_is_what_pillow_writes_and_reads(format: ImageFormat) -> None:
    data = encode_image(Image.new("RGB", (8, 6), "red"), format)
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == format.pil_name
    assert format_of_data(data) is format
    for suffix in format.suffixes:
        assert format_of(Path(f"a{suffix.upper()}")) is format
        assert Image.registered_extensions()[suffix] == format.pil_name


def test_files_of_other_formats() -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (8, 6)).save(buffer, "BMP")
    with pytest.raises(ValueError, match="BMP is not one of JPEG, PNG or WebP"):
        format_of_data(buffer.getvalue())


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    write_atomically(path, b"before")

    def fail(self: Path, target: Path) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        write_atomically(path, b"after")
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]
