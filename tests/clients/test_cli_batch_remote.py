"""dorian batch: photos and folders of results in storage that fsspec opens."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from dorian_client.testing import FakeServer
from tests.clients.batches import files_of, make_photo, records, sent

Run = Callable[..., Result]


@pytest.fixture
def memory() -> Iterator[Any]:
    """Return an fsspec file system in memory, with photos."""
    system = fsspec.filesystem("memory")
    for number, name in enumerate(["a.png", "trip/b.png"]):
        path = make_photo(f"upload/{name}", number)
        system.pipe(f"/bucket/photos/{name}", path.read_bytes())
    yield system
    system.rm("/bucket", recursive=True)


@pytest.mark.parametrize("given", ["memory://bucket/photos", "memory://bucket/photos/**/*.png"])
def test_urls(given: str, run: Run, photo: Path, memory: Any, fake: FakeServer) -> None:
    for _ in range(2):
        assert run("batch", given, "-o", "aged", "--to", "8").exit_code == 0
    assert files_of() == {"a-8.png", "trip/b-8.png"}
    assert sorted(sent(fake)) == [0, 1]
    assert [record["photo"] for record in records()] == [
        "memory:///bucket/photos/a.png",
        "memory:///bucket/photos/trip/b.png",
    ]


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return where ledgers are kept for folders that are not on this machine."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path / "state" / "dorian"


def objects(memory: Any) -> set[str]:
    """Return the objects in the folder of results, but for the report."""
    names = {name.removeprefix("/bucket/aged/") for name in memory.find("/bucket/aged")}
    return {name for name in names if not name.startswith("dorian-report.")}


def test_results_in_a_bucket(run: Run, photo: Path, memory: Any, state: Path, fake: FakeServer) -> None:
    command = ("batch", "memory://bucket/photos", "-o", "memory://bucket/aged", "--to", "60+", "--to", "8")
    result = run(*command)
    assert result.exit_code == 0, result.output
    pictures = {"a-60+.png", "a-8.png", "trip/b-60+.png", "trip/b-8.png"}
    assert objects(memory) == {*pictures, ".dorian-batch.json"}
    with memory.open("/bucket/aged/trip/b-8.png") as file:
        assert np.asarray(Image.open(file))[5, 5].tolist() == [254, 155, 248], "the fake server inverts"
    assert "wrote memory:///bucket/aged/dorian-report.html" in result.stdout
    assert memory.cat_file("/bucket/aged/dorian-report.html").count(b'<img src="data:image/jpeg;base64,') == 2 * 3
    report = [json.loads(line) for line in memory.cat_file("/bucket/aged/dorian-report.jsonl").splitlines()]
    assert [picture["path"] for record in report for picture in record["pictures"]] == sorted(pictures)
    (ledger,) = state.glob("batch-*.sqlite")
    assert json.loads(memory.cat_file("/bucket/aged/.dorian-batch.json"))["ledger"] == str(ledger)

    fake.requests.clear()
    assert "2 from earlier runs" in run(*command).stdout
    memory.rm("/bucket/aged/trip/b-8.png")
    assert run(*command).exit_code == 0
    assert sent(fake) == [1], "what is no longer there is done again, and nothing else is"
    assert memory.exists("/bucket/aged/trip/b-8.png")


def test_the_ledger_is_where_it_is_asked_for(run: Run, photo: Path, memory: Any, state: Path, fake: FakeServer) -> None:
    make_photo("photos/a.png", 3)
    for out in ("memory://bucket/aged", "aged"):
        for _ in range(2):
            assert run("batch", "photos", "-o", out, "--to", "8", "--ledger", f"{out[:4]}/l.sqlite").exit_code == 0
    assert Path("memo/l.sqlite").is_file()
    assert Path("aged/l.sqlite").is_file()
    assert files_of() == {"a-8.png", "l.sqlite"}
    assert not state.exists()
    assert sent(fake) == [3, 3]


def test_results_are_no_photos(run: Run, photo: Path, memory: Any, state: Path, fake: FakeServer) -> None:
    for _ in range(2):
        assert run("batch", "memory://bucket", "-o", "memory://bucket/aged", "--to", "8").exit_code == 0
    assert objects(memory) == {"photos/a-8.png", "photos/trip/b-8.png", ".dorian-batch.json"}
    assert len(sent(fake)) == 2


def test_names_that_clash(run: Run, photo: Path, memory: Any, state: Path, fake: FakeServer) -> None:
    memory.pipe("/bucket/photos/a-8.png", b"a photo of the batch")
    result = run("batch", "memory://bucket/photos", "-o", "memory://bucket/photos", "--to", "8")
    assert result.exit_code == 2
    assert "a.png would go into memory:///bucket/photos/a-8.png, which is a photo of the batch" in result.stderr
    assert fake.requests == []
    assert memory.cat_file("/bucket/photos/a-8.png") == b"a photo of the batch"


def test_a_folder_that_cannot_be_written(
    run: Run, photo: Path, memory: Any, state: Path, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def deny(path: str, *arguments: object, **options: object) -> None:
        raise RuntimeError("AccessDenied")  # of a library for some storage, and no OSError

    monkeypatch.setattr(memory, "pipe_file", deny)
    result = run("batch", "portrait.png", "-o", "memory://bucket/aged", "--to", "8")
    assert result.exit_code == 2
    assert "the folder 'memory://bucket/aged' cannot be written" in result.stderr
    assert "AccessDenied" in result.stderr
    assert fake.requests == [], "this is found before any work"


def test_a_picture_that_cannot_be_written_is_not_noted(
    run: Run, photo: Path, memory: Any, state: Path, fake: FakeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipe_file = memory.pipe_file

    def fail(path: str, *arguments: Any, **options: Any) -> None:
        if "b-8" in path:
            raise OSError(28, "no space left")
        pipe_file(path, *arguments, **options)

    monkeypatch.setattr(memory, "pipe_file", fail)
    command = ("batch", "memory://bucket/photos", "-o", "memory://bucket/aged", "--to", "8", "--concurrency", "1")
    assert run(*command).exit_code == 1
    monkeypatch.undo()
    monkeypatch.setenv("XDG_STATE_HOME", str(state.parent))
    monkeypatch.setenv("DORIAN_SERVER", fake.address)
    fake.requests.clear()
    result = run(*command)
    assert result.exit_code == 0
    assert 1 in sent(fake)
    assert objects(memory) == {"a-8.png", "trip/b-8.png", ".dorian-batch.json"}
