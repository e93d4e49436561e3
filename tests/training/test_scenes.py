"""Scenes for a face detector: labels lie on faces, however these are moved; the same seed gives the same scenes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from dorian_training.data import scene_batches
from dorian_training.data.archives import load_archives
from dorian_training.data.face_labels import FACE, IGNORED, NO_FACE, FaceLabels, LabelledPicture
from dorian_training.data.face_teacher import FaceTeacher, completed
from dorian_training.data.records import MEAN_LANDMARKS, FaceRecord, PictureReader
from dorian_training.data.scene_batches import SceneBatch, SceneBatches, reduced
from dorian_training.data.scene_effects import with_effects
from dorian_training.data.scene_layouts import MAX_FACES, empty_scene, pasted_scene, photo_scene, tile_scene
from dorian_training.data.scene_sources import PHOTO_SOURCE, SceneSources
from dorian_training.data.scenes import Scenes, render_scenes, settled
from dorian_training.errors import DataError

Box = tuple[float, float, float, float]
SIZE = 96
# Eyes, nose, mouth corners: alike on both sides, as pictures are mirrored.
COLOURS = np.array([(255, 0, 0), (255, 0, 0), (0, 0, 255), (0, 255, 0), (0, 255, 0)])
LEVEL = [(20, 20), (40, 20), (30, 30), (22, 40), (38, 40)]


def paint(folder: Path, name: str, size: tuple[int, int], boxes: Sequence[Box], source: str) -> list[FaceRecord]:
    """A picture, bright and dull, with a disc at each landmark of each face; a record per face."""
    picture = np.full((size[1], size[0], 3), 200, np.uint8)
    records = []
    for x, y, width, height in boxes:
        points = [(x + u * width - 0.5, y + v * height - 0.5) for u, v in MEAN_LANDMARKS]
        for point, colour in zip(points, COLOURS.tolist(), strict=True):
            cv2.circle(picture, np.rint(point).astype(int).tolist(), round(width / 9), colour[::-1], cv2.FILLED)
        records.append(FaceRecord(source, folder, name, "train", landmarks=tuple(points), box=(x, y, width, height)))
    folder.mkdir(exist_ok=True)
    assert cv2.imwrite(str(folder / name), picture)
    return records


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[FaceRecord]:
    """Three photos, one of two people, and four portraits, of which one is so tight that its box reaches out of it."""
    folder = tmp_path_factory.mktemp("pictures")
    return [
        *paint(folder, "one.png", (120, 160), [(40, 30, 40, 50)], PHOTO_SOURCE),
        *paint(folder, "two.png", (200, 130), [(20, 20, 50, 60), (120, 60, 40, 50)], PHOTO_SOURCE),
        *paint(folder, "far.png", (200, 200), [(90, 40, 30, 36)], PHOTO_SOURCE),
        *paint(folder, "a.png", (100, 100), [(20, 10, 60, 75)], "fairface"),
        *paint(folder, "b.png", (80, 110), [(10, 10, 60, 80)], "celeba"),
        *paint(folder, "c.png", (110, 110), [(30, 20, 55, 70)], "fairface"),
        *paint(folder, "tight.png", (90, 90), [(5, -14, 80, 100)], "utkface"),
    ]


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    low, high = np.maximum(a[:2], b[:2]), np.minimum(a[:2] + a[2:], b[:2] + b[2:])
    common = float(np.maximum(high - low, 0).prod())
    return common / (float(a[2:].prod() + b[2:].prod()) - common)


# Layouts


@pytest.mark.parametrize("layout", [photo_scene, tile_scene, pasted_scene])
def test_landmarks_lie_on_what_they_name(layout: Callable[..., LabelledPicture], records: list[FaceRecord]) -> None:
    right, checked, level = 0, 0, True
    with SceneSources(records) as sources:
        for seed in range(60):
            scene = layout(sources, SIZE, np.random.default_rng(seed))
            labels = settled(scene.labels, SIZE)
            for box, points, kind in zip(labels.boxes, labels.landmarks, labels.kind, strict=True):
                if kind != FACE or box[2] < 24:
                    continue
                level &= bool(points[0, 0] < points[1, 0] and points[3, 0] < points[4, 0])
                for (x, y), expected in zip(np.rint(points).astype(int), COLOURS, strict=True):
                    if 0 <= x < SIZE and 0 <= y < SIZE:
                        recorded = scene.pixels[y, x].astype(int)
                        checked += 1
                        right += int(
                            np.abs(COLOURS - recorded).sum(axis=1).argmin()
                            in np.flatnonzero((expected == COLOURS).all(axis=1))
                        )
    assert checked > 100
    assert right > 0.95 * checked  # of those pasted, some are hidden a little by the next
    assert level


def test_boxes_of_tiles_stay_in_the_scene_and_apart(records: list[FaceRecord]) -> None:
    faces = 0
    with SceneSources(records) as sources:
        for seed in range(40):
            labels = tile_scene(sources, SIZE, np.random.default_rng(seed)).labels
            ends = labels.boxes[:, :2] + labels.boxes[:, 2:]
            assert (labels.boxes[:, :2] >= 0).all()
            assert (ends <= SIZE + 1e-3).all()
            for index, box in enumerate(labels.boxes):
                assert all(overlap(box, other) < 1e-4 for other in labels.boxes[:index])
            faces += len(labels)
    assert faces > 100


def test_faces_of_photos_come_in_all_sizes(records: list[FaceRecord]) -> None:
    with SceneSources(records) as sources:
        scenes = [photo_scene(sources, SIZE, np.random.default_rng(seed)) for seed in range(150)]
    sides = np.concatenate([scene.labels.boxes[:, 2:].max(axis=1) for scene in scenes])
    counts = np.histogram(sides, [14, 30, 60, 130])[0]
    assert (counts > 20).all()
    assert max(len(scene.labels) for scene in scenes) > 3  # several photos, side by side


def test_no_face_in_an_empty_scene(records: list[FaceRecord]) -> None:
    with SceneSources(records) as sources:
        for seed in range(20):
            scene = empty_scene(sources, SIZE, np.random.default_rng(seed))
            assert scene.pixels.shape == (SIZE, SIZE, 3)
            assert len(scene.labels) == 0


def test_pieces_of_photos_hold_no_face(records: list[FaceRecord]) -> None:
    with SceneSources(records) as sources:
        pieces = [sources.piece(ratio, np.random.default_rng(seed)) for seed in range(30) for ratio in (0.6, 1.0, 1.5)]
    result = [piece for piece in pieces if piece is not None]
    assert len(result) > 60
    assert all((piece == 200).all() for piece in result)
    ratios = {round(piece.shape[1] / piece.shape[0], 1) for piece in result}
    assert min(ratios) < 0.7
    assert max(ratios) > 1.4


# Labels


def test_what_is_ignored() -> None:
    boxes: list[Box] = [
        (10, 10, 20, 30),
        (10, 10, 8, 10),  # just large enough
        (10, 10, 8, 9.9),
        (-9, 10, 20, 30),  # just over half of it shows
        (-11, 10, 20, 30),
        (-9, -9, 20, 20),  # half each way: a quarter
        (SIZE + 1, 10, 20, 30),
    ]
    labels = settled(FaceLabels.of(boxes, [LEVEL] * len(boxes)), SIZE)
    kinds = {
        tuple(round(float(v), 1) for v in box): int(kind) for box, kind in zip(labels.boxes, labels.kind, strict=True)
    }
    assert kinds == dict(zip(boxes[:-1], [FACE, FACE, IGNORED, FACE, IGNORED, IGNORED], strict=True))
    doubtful = settled(FaceLabels.of(boxes[:1], [LEVEL], IGNORED), SIZE)
    assert doubtful.kind.tolist() == [IGNORED]


def test_more_faces_than_there_is_room_for() -> None:
    boxes: list[Box] = [(10, 10, 12 + index, 12 + index) for index in range(MAX_FACES + 5)]
    labels = settled(FaceLabels.of(boxes, [LEVEL] * len(boxes)), SIZE)
    assert len(labels) == MAX_FACES
    assert labels.boxes[:, 2].min() == 12 + 5  # the smallest are dropped


def test_a_quarter_turn_about_the_centre() -> None:
    labels = FaceLabels.of([(10, 20, 30, 40)], [LEVEL])
    matrix = np.array([[0.0, 2, 0], [-2, 0, 2 * (SIZE - 1)]])  # counter-clockwise, and twice as large
    moved = labels.moved(matrix)
    # The centre (25, 40) is (24.5, 39.5) in pixel centres; width and height are not exchanged.
    assert moved.boxes[0] == pytest.approx([79 + 0.5 - 30, 190 - 49 + 0.5 - 40, 60, 80])
    assert moved.landmarks[0, 0].tolist() == [40, 150]


def test_a_mirror_twice_is_none() -> None:
    labels = FaceLabels.of([(10, 20, 30, 40)], [LEVEL])
    once = labels.mirrored(SIZE)
    assert once.boxes[0].tolist() == [SIZE - 40, 20, 30, 40]
    assert once.landmarks[0, 0].tolist() == [SIZE - 1 - 40, 20]  # the left eye that was
    twice = once.mirrored(SIZE)
    assert np.array_equal(twice.boxes, labels.boxes)
    assert np.array_equal(twice.landmarks, labels.landmarks)


def test_effects_keep_the_shape_and_most_of_a_face() -> None:
    pixels = np.full((SIZE, SIZE, 3), 128, np.uint8)
    labels = FaceLabels.of([(8, 8, 80, 80)], [np.array(LEVEL) * 1.3])
    changed = []
    for seed in range(80):
        out = with_effects(pixels.copy(), labels, np.random.default_rng(seed))
        assert (out.shape, out.dtype) == (pixels.shape, np.uint8)
        face = out[8:88, 8:88].astype(int)
        middle = np.median(face.reshape(-1, 3), axis=0)
        assert (np.abs(face - middle).max(axis=2) > 60).mean() < 0.4
        changed.append(not np.array_equal(out, pixels))
    assert 0.4 < np.mean(changed) < 1


# Rendering


def same(a: Scenes, b: Scenes) -> bool:
    return all(np.array_equal(getattr(a, name), getattr(b, name)) for name in ("pixels", "boxes", "landmarks", "kind"))


def test_the_same_seed_gives_the_same_scenes(records: list[FaceRecord]) -> None:
    first = render_scenes(records, 12, SIZE, seed=3)
    assert first.pixels.shape == (12, SIZE, SIZE, 3)
    assert (first.boxes.shape, first.landmarks.shape) == ((12, MAX_FACES, 4), (12, MAX_FACES, 5, 2))
    assert set(np.unique(first.kind)) <= {FACE, IGNORED, NO_FACE}
    assert not first.boxes[first.kind == NO_FACE].any()
    assert first.boxes[first.kind != NO_FACE][:, 2:].min() > 0
    assert same(first, render_scenes(records, 12, SIZE, seed=3))
    other = render_scenes(records, 12, SIZE, seed=4)
    assert not any(np.array_equal(a, b) for a, b in zip(first.pixels, other.pixels, strict=True))
    scene = first[0]
    assert len(scene.boxes) == len(scene.landmarks) == (first.kind[0] == FACE).sum()
    assert len(scene.ignored) == (first.kind[0] == IGNORED).sum()


def test_scenes_rendered_before_are_read_back_without_the_pictures(records: list[FaceRecord], tmp_path: Path) -> None:
    folder, cache = tmp_path / "pictures", tmp_path / "new" / "cache"
    folder.mkdir()
    for name in {record.name for record in records}:
        (folder / name).write_bytes((records[0].container / name).read_bytes())
    moved = [replace(record, container=folder) for record in records]
    first = render_scenes(moved, 6, SIZE, 1, cache)
    assert len(list(cache.iterdir())) == 2
    folder.rename(tmp_path / "elsewhere")
    again = render_scenes(moved, 6, SIZE, 1, cache)
    assert same(first, again)
    assert same(first, render_scenes(records, 6, SIZE, 1))
    with pytest.raises(DataError):
        render_scenes(moved, 6, SIZE, 2, cache)


def test_archives_of_portraits_are_enough(tmp_path: Path, write_archives: Callable[..., Path]) -> None:
    records = load_archives(write_archives(tmp_path, [{"archive": name} for name in ("utkface.zip", "celeba.zip")]))
    assert records[0].box == (5, 5, 70, 70)
    assert (render_scenes(records, 8, SIZE).kind == FACE).any()


def test_photos_are_enough(records: list[FaceRecord]) -> None:
    photos = [record for record in records if record.source == PHOTO_SOURCE]
    assert (render_scenes(photos, 8, SIZE).kind == FACE).any()


def test_nothing_to_render_from(records: list[FaceRecord], caplog: pytest.LogCaptureFixture) -> None:
    for useless in ([], [replace(record, box=None) for record in records], [replace(records[0], name="absent.png")]):
        with pytest.raises(
            DataError, match=f"none of {len(useless)} faces has a readable picture, a box and landmarks"
        ):
            render_scenes(useless, 2, SIZE)
    assert "absent.png" in caplog.text
    portraits = [replace(record, name="absent.png") for record in records if record.source != PHOTO_SOURCE]
    with pytest.raises(DataError, match="none of the portraits could be read"):
        render_scenes(portraits, 20, SIZE)


def test_portraits_that_cannot_be_used_are_left_out(
    records: list[FaceRecord], caplog: pytest.LogCaptureFixture
) -> None:
    outside = replace(records[-1], box=(200.0, 200.0, 20.0, 20.0))
    with SceneSources([replace(records[-1], name="absent.png"), outside, records[-2]]) as sources:
        recorded = [sources.portrait(np.random.default_rng(seed)).pixels.shape for seed in range(8)]
    assert recorded == [(110, 110, 3)] * 8
    assert len(caplog.records) == 2


# The teacher


def test_the_teacher_finds_what_nobody_labelled(reference_data: Path, tmp_path: Path) -> None:
    teacher = next((reference_data.parent / "teachers").glob("face_detection_yunet*.onnx"))
    known = [r for r in load_archives(reference_data, ["photos"]) if r.split == "val"][:3]
    with PictureReader() as reader:
        pictures = [reader.read(record) for record in known]
    unlabelled = [LabelledPicture(picture, FaceLabels.of([], [])) for picture in pictures]
    taught = completed(unlabelled, teacher, tmp_path)
    for record, photo in zip(known, taught, strict=True):
        assert record.box is not None
        likeness = [overlap(box, np.array(record.box)) for box in photo.labels.boxes]
        best = int(np.argmax(likeness))
        assert likeness[best] > 0.8
        assert photo.labels.kind[best] == FACE
        assert np.abs(photo.labels.landmarks[best] - record.points(1, 1)).max() < 0.1 * record.box[2]
        # A face that is known already is not found twice.
        assert len(FaceTeacher(teacher).complete(photo.pixels, photo.labels)) == len(photo.labels)
    (stored,) = tmp_path.iterdir()
    written = stored.stat().st_mtime_ns
    for photo, again in zip(taught, completed(unlabelled, teacher, tmp_path), strict=True):
        assert np.array_equal(photo.labels.boxes, again.labels.boxes)
        assert np.array_equal(photo.labels.kind, again.labels.kind)
    assert stored.stat().st_mtime_ns == written


def test_a_file_that_is_no_teacher(records: list[FaceRecord], tmp_path: Path) -> None:
    (tmp_path / "teacher.onnx").write_text("not a network")
    with pytest.raises(DataError, match=r"teacher.onnx is not a face detector that OpenCV can run"):
        render_scenes(records, 2, SIZE, teacher=tmp_path / "teacher.onnx")


# Batches


@pytest.fixture(scope="module")
def dotted() -> Scenes:
    """Two scenes of one face each, with a white dot at its right eye and a box that fits around the dot; the second lower."""
    pixels = np.full((2, SIZE, SIZE, 3), 60, np.uint8)
    boxes = np.zeros((2, MAX_FACES, 4), np.float32)
    landmarks = np.zeros((2, MAX_FACES, 5, 2), np.float32)
    kind = np.zeros((2, MAX_FACES), np.int8)
    for index, down in enumerate((0, 30)):
        landmarks[index, 0] = np.add(LEVEL, (0, down))
        boxes[index, 0] = (20, 20 + down, 1, 1)
        pixels[index, 20 + down, 20] = 255
        kind[index, 0] = FACE
    return Scenes(pixels, boxes, landmarks, kind)


@pytest.fixture
def whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """Batches are not reduced."""
    monkeypatch.setattr(scene_batches, "_REDUCED", 0.0)


@pytest.mark.usefixtures("whole")
def test_batches_mirror_pixels_boxes_and_landmarks_alike(dotted: Scenes) -> None:
    batch = SceneBatches(dotted, 32, seed=0).next()
    assert (batch.image.shape, batch.image.dtype) == ((32, 3, SIZE, SIZE), torch.float32)
    assert batch.image.is_contiguous(memory_format=torch.channels_last)
    assert batch.image.abs().max() <= 1
    assert (batch.boxes.shape, batch.landmarks.shape, batch.kind.dtype) == ((32, 32, 4), (32, 32, 5, 2), torch.int8)
    brightest = batch.image.sum(dim=1).flatten(1).argmax(dim=1)
    recorded = set()
    for place, boxes, faces, kind in zip(brightest.tolist(), batch.boxes, batch.landmarks, batch.kind, strict=True):
        row, column = divmod(place, SIZE)
        mirrored = column != 20
        recorded.add((mirrored, row))
        assert boxes[0].tolist() == [column, row, 1, 1]
        points = faces[0]
        assert points[1 if mirrored else 0].tolist() == [column, row]
        assert points[0, 0] < points[1, 0]
        assert points[3, 0] < points[4, 0]
        assert not boxes[kind == NO_FACE].any()
        assert not faces[kind == NO_FACE].any()
    assert recorded == {(False, 20), (True, 20), (False, 50), (True, 50)}


def test_some_batches_are_reduced_and_padded_to_the_detectors_stride(dotted: Scenes) -> None:
    stream = SceneBatches(dotted, 2, seed=0)
    sides = [stream.next().image.shape[2] for _ in range(60)]
    assert set(sides) <= {32, 64, 96}
    assert len(set(sides)) > 1
    assert 8 < sum(side < 96 for side in sides) < 30


def test_reducing_takes_labels_along() -> None:
    image = torch.full((1, 3, 128, 128), -0.5)
    image[:, :, 40:44, 80:84] = 1.0
    boxes = torch.tensor([[[80.0, 40.0, 4.0, 4.0], [20.0, 20.0, 60.0, 60.0], [0.0, 0.0, 0.0, 0.0]]])
    landmarks = torch.zeros(1, 3, 5, 2)
    landmarks[0, :2] = torch.tensor([81.5, 41.5])
    kind = torch.tensor([[FACE, FACE, NO_FACE]], dtype=torch.int8)
    small = reduced(SceneBatch(image, boxes, landmarks, kind), 80)
    assert small.image.shape == (1, 3, 96, 96)
    assert (small.image[:, :, 80:] == -1).all()
    assert (small.image[:, :, :, 80:] == -1).all()
    assert torch.allclose(small.image[:, :, 60:80, :40], torch.tensor(-0.5))
    assert small.boxes[0].tolist() == [[50.0, 25.0, 2.5, 2.5], [12.5, 12.5, 37.5, 37.5], [0.0, 0.0, 0.0, 0.0]]
    assert small.kind.tolist() == [[IGNORED, FACE, NO_FACE]]
    assert torch.allclose(small.landmarks[0, 0], torch.tensor([(81.5 + 0.5) * 0.625 - 0.5, (41.5 + 0.5) * 0.625 - 0.5]))
    assert not small.landmarks[0, 2].any()
    peak = small.image[0].sum(dim=0).flatten().argmax()
    assert abs(int(peak) % 96 - 51) <= 1
    assert abs(int(peak) // 96 - 26) <= 1


@pytest.mark.usefixtures("whole")
def test_scenes_come_in_changing_light(dotted: Scenes) -> None:
    means = SceneBatches(dotted, 32, seed=0).next().image.mean(dim=(2, 3))
    assert means.std(dim=0).min() > 0.02
    assert means.std(dim=0).max() < 0.2


def test_a_stream_resumes_exactly(dotted: Scenes) -> None:
    stream = SceneBatches(dotted, 8, seed=0)
    stream.next()
    state = stream.state_dict()
    expected = stream.next()
    resumed = SceneBatches(dotted, 8, seed=5)
    resumed.load_state_dict(state)
    result = resumed.next()
    for name in ("image", "boxes", "landmarks", "kind"):
        assert torch.equal(getattr(result, name), getattr(expected, name))
    assert not torch.equal(result.image, SceneBatches(dotted, 8, seed=5).next().image)
