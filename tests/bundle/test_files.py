"""Files that appear whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from dorian_bundle.files import draft_file, draft_folder, write_private


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("shared", [False, True])
def test_a_draft_replaces_the_file_only_when_it_is_whole(tmp_path: Path, shared: bool) -> None:
    path = tmp_path / "state"
    path.write_text("old")
    with draft_file(path, shared=shared) as draft:
        draft.write_text("new")
        assert path.read_text() == "old"
        assert draft.parent == tmp_path
        assert (str(os.getpid()) in draft.name) == shared
    assert (path.read_text(), names(tmp_path)) == ("new", ["state"])


def test_a_draft_is_removed_where_writing_fails(tmp_path: Path) -> None:
    path = tmp_path / "state"
    path.write_text("old")

    def write_half() -> None:
        with draft_file(path) as draft:
            draft.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert (path.read_text(), names(tmp_path)) == ("old", ["state"])
    with pytest.raises(MemoryError), draft_file(path):
        raise MemoryError  # before there is a draft
    assert names(tmp_path) == ["state"]


def test_a_draft_that_was_never_written_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), draft_file(tmp_path / "state"):
        pass
    assert names(tmp_path) == []


def test_a_folder_is_replaced_with_all_that_was_in_it(tmp_path: Path) -> None:
    folder = tmp_path / "bundle"
    folder.mkdir()
    (folder / "old").touch()
    (tmp_path / "bundle.part").mkdir()
    (tmp_path / "bundle.part" / "half").touch()  # of a write that was cut off
    with pytest.raises(KeyboardInterrupt), draft_folder(folder):
        raise KeyboardInterrupt
    assert names(folder) == ["old"]
    with draft_folder(folder) as draft:
        (draft / "new").touch()
    assert (names(tmp_path), names(folder)) == (["bundle"], ["new"])


def test_a_private_file_is_its_owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "keys.json"
    path.write_bytes(b"old")
    path.chmod(0o644)
    write_private(path, b"new")
    assert (path.read_bytes(), path.stat().st_mode & 0o777, names(tmp_path)) == (b"new", 0o600, ["keys.json"])

    def fail(descriptor: int) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OSError, match="disk full"):
        write_private(path, b"newer")
    assert (path.read_bytes(), names(tmp_path)) == (b"new", ["keys.json"])
