"""dorian batch: inputs, places, the ledger, errors, the report, and what a killed batch leaves."""

from __future__ import annotations

import csv
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from PIL import Image

from dorian.v1 import face_aging_pb2 as pb
from dorian_client.testing import FakeServer
from tests.clients.batches import files_of, make_photo, records, sent

Run = Callable[..., Result]


@pytest.fixture
def tree(photo: Path) -> Path:
    """Make a folder of photos, with what is none."""
    for number, name in enumerate(["a.png", "trip/b.png", "trip/day 1/c.webp", "trip/.hidden.png", ".trash/d.png"]):
        make_photo(f"photos/{name}", number)
    Path("photos/notes.txt").write_text("no photo")
    return Path("photos")


# --- inputs and places ---


def test_a_folder_keeps_its_tree(run: Run, fake: FakeServer, tree: Path) -> None:
    result = run("batch", "photos", "-o", "aged", "--to", "60+", "--to", "8")
    assert result.exit_code == 0, result.output
    assert files_of() == {
        f"{name}-{age}.{suffix}"
        for name, suffix in [("a", "png"), ("trip/b", "png"), ("trip/day 1/c", "webp")]
        for age in ("60+", "8")
    }
    pixels = np.asarray(Image.open("aged/trip/b-8.png"))
    assert pixels[5, 5].tolist() == [254, 155, 248], "the fake server inverts"
    assert pixels[0, 0].tolist() == [1, 0, 0], "and numbers the targets"
    assert "3 of 3 photos aged" in result.stdout


def test_files_patterns_and_folders_each_once(run: Run, tree: Path, fake: FakeServer) -> None:
    result = run("batch", "photos/**/*.png", "photos/a.png", "photos/trip", "portrait.png", "-o", "aged", "--to", "8")
    assert result.exit_code == 0, result.output
    assert files_of() == {"a-8.png", "trip/b-8.png", "day 1/c-8.webp", "portrait-8.png"}
    assert len(sent(fake)) == 4


def test_results_are_no_photos(run: Run, tree: Path, fake: FakeServer) -> None:
    for _ in range(2):
        assert run("batch", "photos", "-o", "photos/aged", "--to", "8").exit_code == 0
    assert files_of("photos/aged") == {"a-8.png", "trip/b-8.png", "trip/day 1/c-8.webp"}
    assert len(sent(fake)) == 3


def test_all_options_reach_the_server(run: Run, fake: FakeServer, photo: Path) -> None:
    run(
        "batch", "portrait.png", "-o", "aged", "--to", "60+", "--filter", "old", "--face", "largest", "--from", "33",
        "--method", "inverter", "--strength", "0.5", "--blend", "replace", "--optimisation", "fast", "--format", "webp",
        "--quality", "77", "--keep-metadata", "--priority", "batch",
    )  # fmt: skip
    request = fake.requests[-1]
    request.ClearField("image")
    assert request == pb.AgeTransformRequest(
        targets=[pb.Age(group="60+"), pb.Age(filter="old")], faces=[pb.FaceSelector(largest=True)],
        source=pb.Age(years=33), method="inverter", strength=0.5, blend=pb.BLEND_REPLACE,
        optimisation=pb.OPTIMISATION_BUDGET_FAST,
        output=pb.OutputOptions(format=pb.IMAGE_FORMAT_WEBP, quality=77, keep_metadata=True),
    )  # fmt: skip
    assert fake.metadata[-1]["dorian-priority"] == "batch"
    assert files_of() == {"portrait-60+.webp", "portrait-old.webp"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["photos", "-o", "aged"], "no target age: give --to AGE"),
        (["missing.png", "-o", "aged", "--to", "8"], "no photo at 'missing.png': there is no such file"),
        (["*.jpg", "-o", "aged", "--to", "8"], "no photo at '*.jpg'; give files, folders or patterns"),
        (["memory://bucket/x.png", "-o", "aged", "--to", "8"], "no photo at 'memory://bucket/x.png'"),
        (["nothing://x/a.png", "-o", "aged", "--to", "8"], "cannot open 'nothing://x/a.png'"),
        (["photos", "-o", "portrait.png", "--to", "8"], "is a file"),
        (["photos", "-o", "portrait.png/x", "--to", "8"], "the folder 'portrait.png/x' cannot be made"),
        (["photos", "-o", "aged", "--to", "8", "--concurrency", "0"], "0 is not in the range"),
    ],
)
def test_wrong_command_lines(arguments: list[str], message: str, run: Run, tree: Path, fake: FakeServer) -> None:
    result = run("batch", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert fake.requests == []


def test_names_that_clash_are_told_before_any_work(run: Run, tree: Path, fake: FakeServer) -> None:
    make_photo("photos/a.webp", 9)
    make_photo("more/a.png", 9)
    result = run("batch", "photos", "more", "-o", "aged", "--to", "8")
    assert result.exit_code == 2
    assert "photos/a.png and more/a.png would both go into aged/a-8.png" in result.stderr
    result = run("batch", "photos", "-o", "aged", "--to", "8", "--format", "webp")
    assert "photos/a.png and photos/a.webp would both go into aged/a-8.webp" in result.stderr
    make_photo("photos/a-8.png", 3)
    result = run("batch", "photos", "-o", "photos", "--to", "8")
    assert "photos/a.png would go into photos/a-8.png, which is a photo of the batch" in result.stderr
    assert fake.requests == []
    assert not Path("aged").exists()


# --- the ledger ---


def test_what_is_done_is_not_done_again(run: Run, tree: Path, fake: FakeServer) -> None:
    def again(*options: str) -> list[int]:
        fake.requests.clear()
        result = run("batch", "photos", "-o", "aged", "--to", "8", *options)
        assert result.exit_code == 0, result.output
        return sorted(sent(fake))

    assert again() == [0, 1, 2]
    report = records()
    assert again() == []
    assert records() == report, "the report is that of the whole batch"
    Path("aged/a-8.png").unlink()
    assert again() == [0]
    make_photo("photos/trip/b.png", 77)
    assert again() == [77]
    assert again("--strength", "0.5") == [0, 2, 77]
    assert again() == [0, 2, 77], "what was done otherwise is in its place"
    assert again() == []
    fake.bundles = ["other-bundle"]
    assert again() == [], "a bundle is known by its hash"


def test_the_bundle_is_part_of_what_was_done(run: Run, tree: Path, fake: FakeServer) -> None:
    assert run("batch", "photos", "-o", "aged", "--to", "8").exit_code == 0

    def edit(response: Any) -> Any:
        if isinstance(response, pb.ListMethodsResponse):
            response.bundle_sha256 = "cd" * 32
        return response

    fake.on_response = edit
    assert run("batch", "photos", "-o", "aged", "--to", "8").exit_code == 0
    assert len(sent(fake)) == 6


def test_one_batch_at_a_time(run: Run, tree: Path, fake: FakeServer) -> None:
    assert run("batch", "photos", "-o", "aged", "--to", "8").exit_code == 0
    other = sqlite3.connect("aged/.dorian-batch.sqlite")
    other.execute("BEGIN IMMEDIATE")
    result = run("batch", "photos", "-o", "aged", "--to", "8")
    other.close()
    assert result.exit_code == 2
    assert "another batch works on 'aged'" in result.stderr
    Path("aged/.dorian-batch.sqlite").write_bytes(b"something else" * 99)
    result = run("batch", "photos", "-o", "aged", "--to", "8")
    assert result.exit_code == 2
    assert "is no ledger" in result.stderr


# --- errors ---


def test_photos_that_fail_stop_no_other(run: Run, tree: Path, fake: FakeServer) -> None:
    Path("photos/broken.png").write_bytes(b"no image")
    result = run("batch", "photos", "-o", "aged", "--to", "8")
    assert result.exit_code == 3
    assert "3 of 4 photos aged; 1 rejected" in result.stdout
    (record,) = (record for record in records() if record["status"] != "done")
    assert (record["photo"], record["status"], record["reason"]) == (
        "photos/broken.png",
        "rejected",
        "IMAGE_UNREADABLE",
    )
    fake.requests.clear()
    assert run("batch", "photos", "-o", "aged", "--to", "8").exit_code == 3
    assert len(fake.requests) == 1, "what was rejected is not sent again"


def test_what_failed_by_fault_of_the_server_is_sent_again(run: Run, tree: Path, fake: FakeServer) -> None:
    def fail_soon(response: Any) -> Any:
        if isinstance(response, pb.ListMethodsResponse):
            fake.on_response = None
            fake.fail("INTERNAL", times=2)
        return response

    fake.on_response = fail_soon
    result = run("batch", "photos", "-o", "aged", "--to", "8", "--concurrency", "1")
    assert result.exit_code == 5
    assert "1 of 3 photos aged; 2 failed" in result.stdout
    result = run("batch", "photos", "-o", "aged", "--to", "8")
    assert result.exit_code == 0
    assert "3 of 3 photos aged; 1 from earlier runs" in result.stdout


def test_a_photo_that_cannot_be_read(run: Run, tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read_bytes = Path.read_bytes

    def read(path: Path) -> bytes:
        if path.name == "b.png":
            raise PermissionError(13, "Permission denied")
        return read_bytes(path)

    monkeypatch.setattr(Path, "read_bytes", read)
    result = run("batch", "photos", "-o", "aged", "--to", "8")
    assert result.exit_code == 3
    assert Counter(record["status"] for record in records()) == {"done": 2, "failed": 1}
    monkeypatch.undo()


def test_a_photo_none_of_whose_faces_can_be_changed_is_rejected(run: Run, tree: Path, fake: FakeServer) -> None:
    fake.unusable_faces = {0, 1}
    result = run("batch", "photos", "-o", "aged", "--to", "8")
    assert result.exit_code == 3
    assert files_of() == set()
    assert {record["reason"] for record in records()} == {"FACE_UNUSABLE"}


def test_on_error_stop(run: Run, tree: Path, fake: FakeServer) -> None:
    Path("photos/a.png").write_bytes(b"no image")
    result = run("batch", "photos", "-o", "aged", "--to", "8", "--on-error", "stop", "--concurrency", "1")
    assert result.exit_code == 3
    assert "the photo is not an image" in result.stderr
    assert "0 of 3 photos aged; 1 rejected; 2 left: give the same command again to go on" in result.stdout
    assert [record["status"] for record in records()] == ["rejected", "open", "open"]


def test_an_error_that_would_meet_every_photo_ends_the_batch(run: Run, tree: Path, fake: FakeServer) -> None:
    for number in range(100):
        make_photo(f"photos/{number}.png", number)
    result = run("batch", "photos", "-o", "aged", "--to", "99+", "--concurrency", "1")
    assert result.exit_code == 3
    assert "no age group 99+" in result.stderr
    assert len(sent(fake)) < 30, "a few go ahead"


def test_a_server_that_is_not_there(run: Run, tree: Path) -> None:
    result = run("batch", "photos", "-o", "aged", "--to", "8", "--server", "127.0.0.1:1")
    assert result.exit_code == 4


# --- the report ---


def test_the_report(run: Run, tree: Path, fake: FakeServer) -> None:
    make_photo("photos/<b>&.png", 50)
    Path("photos/broken.png").write_bytes(b"no image")
    run("batch", "photos", "-o", "aged", "--to", "60+", "--to", "8")
    (record,) = (record for record in records() if record["photo"] == "photos/a.png")
    assert (record["status"], record["method"], record["bundle"], record["faces_found"]) == (
        "done",
        "inverter",
        "fake-bundle",
        2,
    )
    assert [picture["path"] for picture in record["pictures"]] == ["a-60+.png", "a-8.png"]
    assert record["pictures"][0]["faces"][0] == {
        "face": 0, "source": 34.2, "source_given": False, "estimated_age_after": 56.8, "similarity": 0.875,
        "same_person": True, "warnings": [],
    }  # fmt: skip
    with Path("aged/dorian-report.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert Counter(row["photo"] for row in rows)["photos/a.png"] == 4, "two faces at two ages"
    assert [row["error"] for row in rows if row["photo"] == "photos/broken.png"] == ["the photo is not an image"]
    page = Path("aged/dorian-report.html").read_text()
    assert page.count('<img src="data:image/jpeg;base64,') == 4 * 3
    assert page.count("src=") == 4 * 3
    assert "http://" not in page
    assert "https://" not in page
    assert "<script" not in page
    assert "&lt;b&gt;&amp;.png" in page
    assert "the photo is not an image" in page
    assert "from 34, looks 57, similarity 0.88" in " ".join(page.split()).replace(" ,", ",")


def test_the_contact_sheet_is_bounded(run: Run, photo: Path, fake: FakeServer) -> None:
    for number in range(150):
        make_photo(f"photos/{number:03}.png", number)
    assert run("batch", "photos", "-o", "aged", "--to", "8").exit_code == 0
    page = Path("aged/dorian-report.html").read_text()
    assert page.count("<figure>") == 2 * 75
    assert "75 of 150 photos" in page


# --- a killed batch ---


def done_by(folder: Path) -> set[str]:
    """Return the photos that the ledger of a killed batch has as done."""
    if not (folder / ".dorian-batch.sqlite").exists():
        return set()
    with closing(sqlite3.connect(folder / ".dorian-batch.sqlite")) as ledger, suppress(sqlite3.OperationalError):
        return {source for (source,) in ledger.execute("SELECT source FROM photos WHERE status = 'done'")}
    return set()  # it was killed before there was a table


@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.slow)])
def test_a_batch_killed_at_any_moment_goes_on(kills: int, fake: FakeServer, photo: Path) -> None:
    names = [f"photos/{number // 10}/{number:03}.png" for number in range(8 * kills + 10)]
    for number, name in enumerate(names):
        make_photo(name, number)
    command = [sys.executable, "-m", "dorian_client.cli", "batch", "photos", "--to", "60+", "--to", "8"]
    command += ["--server", fake.address, "--concurrency", "4", "-o"]
    subprocess.run([*command, "undisturbed"], check=True, capture_output=True)
    fake.requests.clear()
    fake.delay = 0.1
    chance = random.Random(20)
    for _ in range(kills):
        known, before = done_by(Path("aged")), len(sent(fake))
        process = subprocess.Popen([*command, "aged"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while len(sent(fake)) == before and process.poll() is None:
            time.sleep(0.01)
        time.sleep(chance.uniform(0, 0.25))
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it was still at work"
        assert not known & {names[number] for number in sent(fake)[before:]}, "what was noted as done is not sent again"
        for name in files_of("aged"):
            if not Path(name).name.startswith("."):
                assert Path("aged", name).read_bytes() == Path("undisturbed", name).read_bytes(), "no file is partial"
    finished = subprocess.run([*command, "aged"], check=True, capture_output=True, text=True)
    assert f"{len(names)} of {len(names)} photos aged" in finished.stdout
    assert files_of("aged") == files_of("undisturbed")
    assert len(files_of("aged")) == 2 * len(names)
    for name in files_of("aged"):
        assert Path("aged", name).read_bytes() == Path("undisturbed", name).read_bytes()
    assert len(sent(fake)) - len(names) <= kills * 7, "only four in flight, two that wait, and one that is written"


# Tests in the background inherit an ignored SIGINT.
HEARING = """
import signal
from dorian_client.cli.main import main
signal.signal(signal.SIGINT, signal.default_int_handler)
main(prog_name="dorian")
"""


def test_ctrl_c_leaves_a_report(fake: FakeServer, photo: Path) -> None:
    for number in range(40):
        make_photo(f"photos/{number:02}.png", number)
    fake.delay = 0.2
    options = ["photos", "-o", "aged", "--to", "8", "--server", fake.address]
    command = [sys.executable, "-c", HEARING, "batch", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        # Photos are noted one by one: by the third one's picture the first one's note is whole.
        while len(list(Path("aged").rglob("*.png"))) < 3 and process.poll() is None:
            time.sleep(0.01)
        os.kill(process.pid, signal.SIGINT)
        output, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "interrupted" in errors
    assert "left: give the same command again to go on" in output
    assert {"done", "open"} == {record["status"] for record in records()}
