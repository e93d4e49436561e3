"""Styles are mixed from the command line and by the SDK, on a server with a known AE-StyleGAN."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from dorian_bundle import load_bundle
from dorian_client import Client, InvalidRequest, NoFaceError
from dorian_client.cli.main import main
from dorian_server.serving.server import start
from dorian_server.settings import Settings
from tests.server.tiny_styles import write_style_bundle

ROOT = Path(__file__).resolve().parents[2]
PHOTO = ROOT / "examples" / "astronaut.jpg"
REFERENCE = ROOT / "examples" / "grace_hopper.jpg"


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    embedded = load_bundle(ROOT / "models" / "default")
    bundle = write_style_bundle(embedded, tmp_path_factory.mktemp("styles") / "bundle")
    server = start(Settings(bundle.folder, host="127.0.0.1", port=0, threads=1))
    yield f"127.0.0.1:{server.port}"
    server.stop()


def test_a_sheet_of_presets(address: str, tmp_path: Path) -> None:
    sheet = tmp_path / "sheet.png"
    arguments = ["mix", str(PHOTO), "--reference", str(REFERENCE), "--sheet", str(sheet), "--server", address]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    presets = ["9, 10, 11, 12", "7, 8, 9", "5, 6, 7", "6, 8, 10, 12", "5, 7, 9, 11", "9, 11"]
    described = [line for line in lines if line.startswith("face 0: ")]
    assert [
        f"by ae_stylegan with levels {levels}" in line for levels, line in zip(presets, described, strict=True)
    ] == [True] * len(presets)
    assert all("of grace_hopper.jpg (" in line for line in described)
    with Image.open(sheet) as image:
        width, height = image.size
    assert width > 7 * height, "eight pictures beside each other"


def test_the_sdk_tells_which_references_were_chosen(address: str) -> None:
    with Client(address, timeout=60) as client:
        result = client.mix(PHOTO, to=65, count=3, gender="man", preset="top", format="png")
        assert [(item.index, item.gender, item.age_low, item.age_high) for item in result.references][:2] == [
            (7, "man", 60, 69),
            (6, "man", 60, 69),
        ]
        assert result.faces[0].identity_similarity is not None
        changed = np.abs(result.picture.to_array().astype(int) - np.asarray(Image.open(PHOTO).convert("RGB")))
        assert changed.max() > 5
        assert (changed.max(axis=2) > 0).mean() < 0.3, "the face alone"


def test_bad_references_are_named(address: str) -> None:
    blank = np.full((200, 200, 3), 127, np.uint8)
    with Client(address, timeout=60) as client:
        with pytest.raises(NoFaceError) as no_face:
            client.mix(PHOTO, [REFERENCE, blank])
        assert no_face.value.field == "references[1].image.data"
        with pytest.raises(InvalidRequest, match="9 references are given; at most 8") as many:
            client.mix(PHOTO, [blank] * 9)
        assert many.value.reason == "REFERENCE_TOO_MANY"
        with pytest.raises(InvalidRequest, match="level 9 is given twice"):
            client.mix(PHOTO, REFERENCE, levels=[9, 9])
        with pytest.raises(InvalidRequest, match="'three-styles' takes 3 references"):
            client.mix(PHOTO, REFERENCE, preset="three-styles")
