"""The styles that a bundle keeps: means between years, references like a face, and files that are something else."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest

from dorian_bundle.errors import GraphFileError
from dorian_bundle.style_library import StyleLibrary, load_style_library


def library() -> StyleLibrary:
    """Means that are their year, and six references: three spans of ages, a woman and a man of each."""
    years = np.arange(91, dtype=np.float32)
    low = np.array([20, 20, 40, 40, 60, 60], dtype=np.float32)
    return StyleLibrary(
        age_means=np.broadcast_to(years[:, None, None], (91, 4, 3)).copy(),
        styles=np.arange(6 * 4 * 3, dtype=np.float32).reshape(6, 4, 3),
        structure=np.array([[0, 0], [1, 0], [0, 0], [1, 0], [0, 0], [1, 0]], dtype=np.float32),
        age_low=low,
        age_high=low + 9,
        woman=np.array([1, 0, 1, 0, 1, 0], dtype=np.float32),
    )


@pytest.mark.parametrize(("age", "mean"), [(30.0, 30.0), (30.25, 30.25), (-5.0, 0.0), (90.0, 90.0), (120.0, 90.0)])
def test_means_lie_in_a_line_between_years(age: float, mean: float) -> None:
    result = library().mean_at(age)
    assert result.shape == (4, 3)
    assert result == pytest.approx(mean)


@pytest.mark.parametrize(
    ("age", "structure", "woman", "nearest"),
    [
        (45, [1, 0], None, [3, 2]),  # the span first, then the structure
        (45, [1, 0], True, [2, 3]),  # gender before structure
        (45, [0, 0], False, [3, 2]),
        (49.9, [0, 0], None, [2, 3]),  # the whole of the last year
        (57, [0, 0], None, [4, 5]),  # the nearest span where none holds the age
        (5, [1, 0], None, [1, 0]),
    ],
)
def test_references_are_of_the_age_then_the_gender_then_like_the_face(
    age: float, structure: list[float], woman: bool | None, nearest: list[int]
) -> None:
    more = np.array([*structure, 9.0], dtype=np.float32)  # numbers that references do not have do not count
    assert library().nearest(age, more, woman, 2).tolist() == nearest
    assert len(library().nearest(age, more, woman, 100)) == 6


def test_faces_without_structure_are_all_alike() -> None:
    bare = dataclasses.replace(library(), structure=np.zeros((6, 0), np.float32))
    assert bare.nearest(45, np.zeros(0, np.float32), False, 3).tolist() == [3, 2, 1]


def test_a_library_is_read_as_it_was_written(tmp_path: Path) -> None:
    library().save(tmp_path / "styles.npz")
    read = load_style_library(tmp_path / "styles.npz", 4, 3, 8)
    assert read.styles.dtype == np.float32
    for name in ("age_means", "styles", "structure", "age_low", "age_high", "woman"):
        assert getattr(read, name) == pytest.approx(getattr(library(), name))


def test_files_that_are_no_library_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "styles.npz"
    path.write_bytes(b"not a zip")
    with pytest.raises(GraphFileError, match="is not a library of styles"):
        load_style_library(path, 4, 3, 8)
    np.savez(path, age_means=np.zeros((3, 4, 3)))
    with pytest.raises(GraphFileError, match="is not a library of styles"):
        load_style_library(path, 4, 3, 8)
    library().save(path)
    with pytest.raises(GraphFileError, match=r"has age_means of shape \(91, 4, 3\); \(2 or more, 12, 3\) is needed"):
        load_style_library(path, 12, 3, 8)


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("woman", np.zeros(5), "has 6 references, but 5 rows of woman"),
        ("structure", np.full((6, 2), np.nan), "holds styles that are not finite"),
        ("styles", np.zeros((6, 4, 2)), "has styles of shape"),
        ("woman", np.zeros((6, 1)), r"has woman of shape \(6, 1\); a shape of length 1 is needed"),
        ("structure", np.zeros(6), r"has structure of shape \(6,\); a shape of length 2 is needed"),
        ("structure", np.zeros((6, 9)), "has structures of 9 numbers; the method's have 8"),
    ],
)
def test_parts_that_do_not_fit_are_refused(tmp_path: Path, name: str, values: np.ndarray, message: str) -> None:
    parts = {key: getattr(library(), key) for key in library().__dataclass_fields__} | {name: values}
    np.savez(tmp_path / "styles.npz", **parts)
    with pytest.raises(GraphFileError, match=message):
        load_style_library(tmp_path / "styles.npz", 4, 3, 8)


def test_an_object_array_is_never_unpickled(tmp_path: Path) -> None:
    parts = {key: getattr(library(), key) for key in library().__dataclass_fields__}
    np.savez(tmp_path / "styles.npz", **parts | {"woman": np.array([object()] * 6)}, allow_pickle=True)
    with pytest.raises(GraphFileError, match="is not a library of styles"):
        load_style_library(tmp_path / "styles.npz", 4, 3, 8)
