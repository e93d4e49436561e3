"""Hair in training: labels told by colour on a painted head, the batches made of them, and a segmenter that learns from them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from zipfile import ZipFile

import cv2
import numpy as np
import pytest
import torch
from click.testing import CliRunner
from numpy.typing import NDArray

from dorian_bundle.alignment import DEFAULT_TEMPLATE
from dorian_bundle.hair import NEAR_SIZE, near_template
from dorian_bundle.masks import part_mask
from dorian_bundle.mesh import NOSE, OUTER_LIPS, OUTLINE, mean_mesh
from dorian_training.checkpoint import load_weights
from dorian_training.cli.train import main
from dorian_training.data import hair_batches
from dorian_training.data.beard_labels import label_beard
from dorian_training.data.hair_batches import HairBatches, HairViews, load_person_segmenter
from dorian_training.data.hair_kinds import Beard, HairKind, Head, hair_kind
from dorian_training.data.hair_labels import label_hair
from dorian_training.data.mesh import MESH_FILE
from dorian_training.data.records import FaceRecord
from dorian_training.data.region_labels import RegionLabels
from dorian_training.errors import DataError
from dorian_training.methods.hair_segmenter import HairSegmenterSettings, HairSegmenterStage
from dorian_training.networks.hair_segmenter import HairSegmenter, HairSegmenterShape

PERSON_SEGMENTER = Path("models/checkpoints/person_segmenter/selfie_segmentation.onnx")
SKIN, BROWN, WALL, RED = (205, 160, 135), (60, 42, 35), (70, 110, 170), (150, 40, 20)
SMALL = HairSegmenterShape(channels=(4, 8, 8, 8, 8))
ASTRONAUT = {  # examples/astronaut.jpg
    "right_eye": (200.2, 101.7),
    "left_eye": (246.8, 102.4),
    "nose": (220.1, 124.2),
    "right_mouth": (198.9, 142.4),
    "left_mouth": (239.6, 143.4),
}
WriteArchives = Callable[..., Path]
SEEN = np.ones((NEAR_SIZE, NEAR_SIZE), np.bool_)


def head(seed: int = 0, hair_colour: tuple[int, int, int] = BROWN) -> tuple[NDArray[np.uint8], ...]:
    """A painted head in the near view: pixels, its hair, and the person; and in ``mesh()`` its points."""
    random = np.random.default_rng(seed)
    outline = mesh()[OUTLINE]
    middle = outline.mean(axis=0) + random.uniform(-1, 1, 2)
    skull, face = (np.zeros((NEAR_SIZE, NEAR_SIZE), np.uint8) for _ in range(2))
    radii = (int(39 + random.integers(0, 6)), int(50 + random.integers(0, 6)))
    cv2.ellipse(skull, tuple(int(value) for value in (middle - (0, 10)).round()), radii, 0, 180, 360, 1, -1)
    cv2.fillPoly(face, [outline.round().astype(np.int32)], 1)
    hair = skull & (1 - face)
    pixels = np.full((NEAR_SIZE, NEAR_SIZE, 3), WALL, np.uint8)
    pixels[hair > 0], pixels[face > 0] = hair_colour, SKIN
    noise = random.normal(0, 4, pixels.shape)
    return (pixels + noise).clip(0, 255).astype(np.uint8), hair, skull | face


def mesh() -> NDArray[np.float64]:
    return mean_mesh(near_template(DEFAULT_TEMPLATE).points(NEAR_SIZE))


def label(kind: Head = "hair", hair_colour: tuple[int, int, int] = BROWN) -> RegionLabels | None:
    pixels, _, people = head(hair_colour=hair_colour)
    return label_hair(pixels, SEEN, people.astype(np.float32), mesh(), kind)


def views(count: int) -> HairViews:
    heads = [head(seed) for seed in range(count)]
    hair = np.stack([255 * painted for _, painted, _ in heads]).astype(np.uint8)
    beards = np.zeros_like(hair)
    beards[:, 56:80, 30:66] = 255
    pixels = np.stack([pixels for pixels, _, _ in heads])
    pixels[:, 56:80, 30:66] = RED
    regions = np.stack([hair, beards], axis=1)
    return HairViews(pixels, regions, np.full_like(regions, 255))


# --- labels ---


def test_hair_is_told_by_its_place_and_colour() -> None:
    labels, hair = label(), head()[1] > 0
    assert labels is not None
    sure = labels.weight > 0.5
    assert sure[hair].mean() > 0.8
    assert labels.inside[hair & sure].mean() > 0.97
    assert labels.inside[~hair & sure].mean() < 0.02


@pytest.mark.parametrize("kind", ["covered", "bald"])
def test_heads_without_hair_teach_what_is_none(kind: Head) -> None:
    labels = label(kind)
    assert labels is not None
    assert labels.inside.max() == 0
    assert labels.weight[head()[1] > 0].mean() > 0.5


def test_below_a_hat_hair_may_hang_out() -> None:
    labels, (_, _, people) = label("covered"), head()
    assert labels is not None
    beside = (people > 0) & (mesh()[OUTLINE][3, 1] < np.arange(NEAR_SIZE)[:, None]) & (head()[1] > 0)
    assert labels.weight[beside].max(initial=0) == 0


def test_hair_like_skin_is_not_labelled() -> None:
    assert label(hair_colour=(205, 150, 112)) is None


def test_what_may_be_somebody_counts_for_nothing() -> None:
    pixels, _, people = head()
    labels = label_hair(pixels, SEEN, np.where(people > 0, 0.4, 0.0).astype(np.float32), mesh(), "bald")
    assert labels is not None
    assert labels.weight[people > 0].max() == 0


def bearded(colour: tuple[int, int, int] = BROWN) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """A painted head with a beard, and where that is."""
    pixels, _, _ = head()
    face = np.zeros((NEAR_SIZE, NEAR_SIZE), np.uint8)
    cv2.fillPoly(face, [mesh()[OUTLINE].round().astype(np.int32)], 1)
    mouth = part_mask(mesh(), NEAR_SIZE, "lips") + part_mask(mesh(), NEAR_SIZE, "teeth")
    beard = (face > 0) & (np.arange(NEAR_SIZE)[:, None] > mesh()[NOSE][-1, 1] + 2) & (mouth < 0.1)
    noise = np.random.default_rng(1).normal(0, 4, pixels.shape)
    return np.where(beard[..., None], (colour + noise).clip(0, 255), pixels).astype(np.uint8), beard


@pytest.mark.parametrize("colour", [BROWN, (190, 190, 192)], ids=["dark", "white"])
def test_a_beard_is_told_by_its_place_and_colour(colour: tuple[int, int, int]) -> None:
    pixels, beard = bearded(colour)
    labels = label_beard(pixels, SEEN, mesh(), "beard")
    assert labels is not None
    sure = labels.weight > 0.5
    assert sure[beard].mean() > 0.7
    assert labels.inside[beard & sure].mean() > 0.95
    assert labels.inside[~beard & sure].mean() < 0.02


def test_a_moustache_ends_at_the_mouth() -> None:
    labels = label_beard(bearded()[0], SEEN, mesh(), "moustache")
    assert labels is not None
    below = np.arange(NEAR_SIZE)[:, None] > mesh()[OUTER_LIPS][:, 1].max() + 3
    assert labels.inside.sum() > 30
    assert labels.inside[np.broadcast_to(below, labels.inside.shape)].max() == 0


def test_a_bare_chin_teaches_what_is_no_beard() -> None:
    labels = label_beard(bearded()[0], SEEN, mesh(), "none")
    assert labels is not None
    assert labels.inside.max() == 0
    assert labels.weight.min() == 1


def test_a_beard_like_skin_is_not_labelled() -> None:
    assert label_beard(bearded(SKIN)[0], SEEN, mesh(), "moustache") is None


def test_of_listed_faces_it_is_known_what_hair_they_have() -> None:
    names = [f"{folder}/{number}.webp" for folder in ("train", "val") for number in range(90_000)]
    kinds = [hair_kind(FaceRecord("fairface", Path("fairface.zip"), name, "train")) for name in names]
    heads, beards = [kind.head for kind in kinds], [kind.beard for kind in kinds]
    assert [heads.count(kind) for kind in ("hair", "covered", "bald")] == [2586, 734, 74]
    assert [beards.count(kind) for kind in ("beard", "moustache", "none")] == [272, 31, 280]
    portrait = FaceRecord("portraits", Path("portraits.zip"), "london/1.webp", "train")
    assert hair_kind(portrait) == HairKind("hair", None)
    assert not hair_kind(FaceRecord("utkface", Path("utkface.zip"), "1.webp", "train")).is_known


@pytest.mark.parametrize(
    ("gender", "age_high", "beard"), [("Female", 39, "none"), ("Male", 9, "none"), ("Male", 39, None)]
)
def test_women_and_children_have_no_beard(gender: str, age_high: int, beard: Beard | None) -> None:
    record = FaceRecord(
        "portraits", Path("portraits.zip"), "london/1.webp", "train", age_low=3, age_high=age_high, gender=gender
    )
    assert hair_kind(record).beard == beard


# --- batches ---


def test_labels_move_with_their_heads() -> None:
    batches = HairBatches(views(4), 8, seed=1)
    batch = batches.next()
    dark = batch.image.mean(dim=1) < batch.image.mean(dim=(1, 2, 3))[:, None, None] - 0.3
    hair, beard = (batch.regions > 0.9).unbind(dim=1)
    seen = batch.weights.amin(dim=1) > 0.9
    bare = (batch.regions.amax(dim=1) < 0.1) & seen
    assert dark[hair & seen].float().mean() > 0.9
    assert dark[bare].float().mean() < 0.1
    red = batch.image[:, 0] - batch.image[:, 2]
    assert float(red[beard & seen].mean()) > float(red[bare].mean())
    assert (batch.weights == 0).any()  # what was moved in from beyond the view
    assert batch.image.abs().max() <= 1 + 1e-5


def test_batches_resume_exactly() -> None:
    first, second = (HairBatches(views(4), 4, seed=3) for _ in range(2))
    first.next()
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.next().image, second.next().image)


def test_a_person_is_found_by_the_published_network() -> None:
    find_people = load_person_segmenter(PERSON_SEGMENTER)
    photo = cv2.cvtColor(cv2.imread("examples/astronaut.jpg"), cv2.COLOR_BGR2RGB)
    image = cv2.resize(photo, (256, 256)).astype(np.float32).transpose(2, 0, 1)[None] / 255
    people = find_people(image)
    assert people.shape == (256, 256)
    assert people[60:200, 90:130].mean() > 0.95  # face and suit
    assert people[:30, 200:].mean() < 0.05  # the wall


def test_another_file_finds_nobody(tmp_path: Path) -> None:
    (tmp_path / "people.onnx").write_bytes(b"no graph")
    with pytest.raises(DataError, match=r"people\.onnx is not an ONNX file"):
        load_person_segmenter(tmp_path / "people.onnx")


# --- network and stage ---


def test_the_segmenter_says_of_each_pixel_whether_it_is_hair_or_beard() -> None:
    network = HairSegmenter(SMALL).eval()
    assert network(torch.zeros(2, 3, NEAR_SIZE, NEAR_SIZE)).shape == (2, 2, NEAR_SIZE, NEAR_SIZE)


def test_a_stage_learns_hair() -> None:
    torch.manual_seed(0)
    settings = HairSegmenterSettings(learning_rate=1e-2, ema_decay=0.8)
    stage = HairSegmenterStage(SMALL, settings, torch.device("cpu"), False, views(6))
    batches = HairBatches(views(6), 8, seed=0)
    before = stage.measure()
    for number in range(110):
        stage.step(batches.next(), number)
    assert before["hair_iou"] < 0.4
    assert before["beard_iou"] < 0.2
    after = stage.measure()
    assert after["hair_iou"] > 0.75
    assert after["beard_iou"] > 0.35


def test_pixels_without_weight_teach_nothing() -> None:
    stage = HairSegmenterStage(SMALL, HairSegmenterSettings(), torch.device("cpu"), False)
    batch = HairBatches(views(2), 4, seed=0).next()
    half = torch.zeros_like(batch.weights)
    half[..., : NEAR_SIZE // 2, :] = 1
    wrong = torch.where(half > 0, batch.regions, 1 - batch.regions)
    losses = []
    for regions in (batch.regions, wrong):
        torch.manual_seed(0)
        fresh = HairSegmenterStage(SMALL, stage.settings, torch.device("cpu"), False)
        losses.append(float(fresh.step(hair_batches.HairBatch(batch.image, regions, half), 0)["hair"]))
    assert losses[0] == losses[1]
    assert stage.measure() == {}


# --- the command ---


def write_portraits(folder: Path, write_archives: WriteArchives) -> Path:
    """Four copies of a portrait in ``portraits.zip``, whose faces have the mean face's points."""
    where = {
        f"{name}_{axis}": place for name, point in ASTRONAUT.items() for axis, place in zip("xy", point, strict=True)
    }
    faces = [{"archive": "portraits.zip", "file": f"{index}.jpg", "identity": "", **where} for index in range(4)]
    write_archives(folder, faces)
    with ZipFile(folder / "portraits.zip", "w") as archive:
        for face in faces:
            archive.write("examples/astronaut.jpg", str(face["file"]))
    points = mean_mesh(np.array(list(ASTRONAUT.values()), dtype=np.float64))
    np.savez(
        folder / MESH_FILE, row=np.arange(len(faces)), points=np.stack([points * 32] * len(faces)).astype(np.int16)
    )
    return folder


def test_the_command_trains_on_labelled_heads(
    tmp_path: Path, write_archives: WriteArchives, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_portraits(tmp_path / "faces", write_archives)
    monkeypatch.setattr("dorian_training.cli.hair_segmenter.HairSegmenterShape", lambda: SMALL)
    arguments = [
        "hair-segmenter",
        "--data",
        str(folder),
        "--person-segmenter",
        str(PERSON_SEGMENTER),
        "--device",
        "cpu",
    ]
    arguments += ["--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "run"), "--batch-size", "2", "--no-amp"]
    result = CliRunner().invoke(main, [*arguments, "--steps", "2"], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    weights, about = load_weights(tmp_path / "run")
    assert set(weights) == {"hair_segmenter", "hair_segmenter_ema"}
    assert about["family"] == "hair_segmenter"
    assert about["data"].keys() == {"portraits"}
    (kept,) = (tmp_path / "cache").glob("hair-*.npz")
    with np.load(kept) as labelled:
        assert labelled["regions"][:, 0].mean() > 0.05 * 255


def test_heads_that_are_not_labelled_are_refused(
    tmp_path: Path, write_archives: WriteArchives, refused: Callable[..., bool]
) -> None:
    folder = write_archives(tmp_path / "faces", [{"archive": "fairface.zip"}])
    arguments = ["hair-segmenter", "--data", str(folder), "--person-segmenter", str(PERSON_SEGMENTER)]
    result = CliRunner().invoke(main, [*arguments, "--out", str(tmp_path / "run")])
    assert refused(result, "has a labelled head", "FairFace")
