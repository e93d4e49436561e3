"""The dorian command from end to end: files, output, exit codes. Faces and latents have files of their own."""

from __future__ import annotations

import itertools
import json
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from dorian.v1 import face_aging_pb2 as pb
from dorian_client import Client
from dorian_client.cli.main import main

Pixels = npt.NDArray[np.uint8]
Run = Callable[..., Result]


def _pixels(path: str | Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def _format(path: str) -> str | None:
    with Image.open(path) as image:
        return image.format


def _assert_fails(result: Result, code: int, *fragments: str) -> None:
    assert result.exit_code == code, result.output
    assert result.stderr.startswith("dorian: ")
    assert "Traceback" not in result.output
    for fragment in fragments:
        assert fragment in result.stderr


def test_one_age(run: Run, pixels: Pixels) -> None:
    result = run("age", "portrait.png", "--to", "60+", "-o", "older.png")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "face 0: 32x40 at (8, 4), by inverter from 34 (estimated) to 60+, looks 57 after, similarity 0.88",
        "face 1: 12x14 at (50, 6), by inverter from 8 (estimated) to 60+, looks 30 after, similarity 0.75",
        "changed 2 of 2 faces in 0.75 s",
        "wrote older.png",
    ]
    np.testing.assert_array_equal(_pixels("older.png")[1:], 255 - pixels[1:])


def test_settings_reach_the_server(run: Run, fake: Any) -> None:
    arguments = ["--from", "25", "--method", "other", "--format", "webp", "--quality", "70", "--keep-metadata"]
    arguments += ["--strength", "0.5", "--blend", "replace", "--keep-identity", "0.8", "--keep-hair"]
    result = run("age", "portrait.png", "--to", "45.5", "-o", "older.webp", *arguments)
    assert "from 25 (given) to 45.5, looks" in result.stdout
    assert "from 25 (given) to 45.5 (left as it was), looks" in result.stdout
    (request,) = fake.requests
    assert list(request.targets) == [pb.Age(years=45.5)]
    assert (request.source, request.method) == (pb.Age(years=25), "other")
    assert request.output == pb.OutputOptions(format=pb.IMAGE_FORMAT_WEBP, quality=70, keep_metadata=True)
    assert (request.strength, request.blend, request.keep_identity) == (0.5, pb.BLEND_REPLACE, 0.8)
    assert request.keep_hair


def test_settings_reach_the_server_from_a_sweep_too(run: Run, fake: Any) -> None:
    run("age", "portrait.png", "--sweep", "-o", "a.png", "--strength", "0", "--blend", "replace", "--from", "25")
    _, request = fake.requests
    assert (request.HasField("strength"), request.blend, request.source) == (True, pb.BLEND_REPLACE, pb.Age(years=25))


@pytest.mark.parametrize(
    ("text", "age"),
    [
        ("60+", pb.Age(group="60+")),
        ("19-29", pb.Age(group="19-29")),
        ("45", pb.Age(years=45)),
        ("+45", pb.Age(years=45)),
        ("7.5", pb.Age(years=7.5)),
        ("nan", pb.Age(group="nan")),
        ("-3", pb.Age(years=-3)),
    ],
)
def test_ages_as_they_are_written(text: str, age: pb.Age, run: Run, fake: Any) -> None:
    for arguments in (["--to", text], [f"--to={text}"]):
        run("age", "portrait.png", *arguments, "-o", "older.png")
        assert list(fake.requests.pop().targets) == [age]


def test_out_decides_the_format(run: Run, fake: Any) -> None:
    assert run("age", "portrait.png", "--to", "30", "-o", "older.jpg").exit_code == 0
    assert fake.requests[0].output.format == pb.IMAGE_FORMAT_JPEG
    assert _format("older.jpg") == "JPEG"


def test_several_ages_into_names(run: Run, fake: Any) -> None:
    result = run("age", "portrait.png", "--to", "8", "--to", "60+", "-o", "at-{age}.png")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[:3] == [
        "face 0: 32x40 at (8, 4), by inverter from 34 (estimated)",
        "  to 8, looks 57 after, similarity 0.88",
        "  to 60+, looks 57 after, similarity 0.88",
    ]
    assert [_pixels(name)[0, 0, 0] for name in ("at-8.png", "at-60+.png")] == [0, 1]
    assert len(fake.requests) == 1


@pytest.mark.parametrize("out", ["there", "new/", "new/folder/"])
def test_several_ages_into_a_folder(out: str, run: Run) -> None:
    Path("there").mkdir()
    result = run("age", "portrait.png", "--to", "8", "--to", "60+", "--format", "webp", "-o", out)
    assert result.exit_code == 0, result.output
    assert sorted(path.name for path in Path(out).iterdir()) == ["portrait-60+.webp", "portrait-8.webp"]


def test_one_age_into_a_folder_keeps_the_photos_format(run: Run) -> None:
    assert run("age", "portrait.png", "--to", "8", "-o", ".").exit_code == 0
    assert _format("portrait-8.png") == "PNG"


def test_sweep(run: Run, pixels: Pixels) -> None:
    result = run("age", "portrait.png", "--sweep", "-o", "sheet.png")
    assert result.exit_code == 0, result.output
    ends = [line for line in result.stdout.splitlines() if line.startswith("  to ")]
    assert [end.split(",")[0] for end in ends] == ["  to 0-18", "  to 19-29", "  to 30-39", "  to 60+"] * 2
    sheet = _pixels("sheet.png")
    cell = (sheet.shape[1] - 8) // 5
    assert cell == 64 + 8  # the photo and four age groups, 8 pixels between
    np.testing.assert_array_equal(sheet[8:56, 8:72], pixels)
    for index in range(1, 5):
        left = 8 + index * cell
        np.testing.assert_array_equal(sheet[9:56, left : left + 64], 255 - pixels[1:])


def test_sweep_of_chosen_ages_into_a_folder(run: Run, fake: Any) -> None:
    result = run("age", "portrait.png", "--sweep", "--to", "20", "--to", "30", "--format", "jpeg", "-o", "sheets/")
    assert result.exit_code == 0, result.output
    assert _pixels("sheets/portrait-sweep.jpg").shape[1] == 8 + 3 * 72
    assert [target.years for target in fake.requests[0].targets] == [20, 30]


def test_reconstruct(run: Run, pixels: Pixels) -> None:
    result = run("reconstruct", "portrait.png", "--from", "20", "-o", "seen.png")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "face 0: 32x40 at (8, 4), drawn as 20 (given), pixel error 0.125, similarity 0.62",
        "face 1: 12x14 at (50, 6), drawn as 20 (given), pixel error 0.125, similarity 0.62",
        "drew 2 faces in 0.50 s",
        "wrote seen.png",
    ]
    crop = pixels[4:44, 8:40]
    sheet = _pixels("seen.png")
    windows = np.lib.stride_tricks.sliding_window_view(sheet, crop.shape)[:, :, 0]
    places = [np.argwhere((windows == what).all(axis=(2, 3, 4))) for what in (crop, 255 - crop)]
    assert [len(place) for place in places] == [1, 1]  # the crop and its reconstruction are there
    assert places[0][0, 0] == places[1][0, 0]
    assert places[0][0, 1] < sheet.shape[1] / 2 < places[1][0, 1]  # side by side, alone in their row


def test_methods(run: Run) -> None:
    result = run("methods")
    assert result.exit_code == 0, result.output
    for message in (
        "fake-bundle 1.2.3",
        "painter\n  Has no ages.\n  fake, crops of 32 px\n  filter young: Younger.\n  filter old: Older.\n",
        "inverter (default)\n  Inverts.\n  fake, crops of 64 px\n  ages 0-18, 19-29, 30-39, 60+\n"
        "  reconstructs and optimises faces\n  changes hair and beards, unless they are to be kept\n",
        "other\n  Inverts too.\n  fake, crops of 32 px\n  ages 0-18, 19-29\n  reconstructs faces\n"
        "  mixes styles at 12 levels: mid, alternating-3, two-styles\n",
        "CC0-1.0",
    ):
        assert message in result.stdout
    assert result.stdout.count("reconstructs") == 2


def test_methods_as_json(run: Run) -> None:
    bundle = json.loads(run("methods", "--json").stdout)
    assert bundle["name"] == "fake-bundle"
    assert bundle["false_accept_rates"] == [0.01, 0.001]
    assert bundle["methods"][2]["filters"][1] == {"name": "old", "description": "Older."}
    assert [method["optimises"] for method in bundle["methods"]] == [True, False, False]
    assert bundle["methods"][0]["age_groups"][-1] == {"label": "60+", "low": 60, "high": None, "centre": 60.0}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "Usage: dorian"),
        (["nonsense"], "dorian: No such command 'nonsense'"),
        (["age"], "dorian: Missing argument 'PHOTO'"),
        (["age", "portrait.png", "--to", "8"], "dorian: Missing option '-o'"),
        (["age", "portrait.png", "-o", "a.png"], "give --to AGE, or --filter NAME, or --sweep"),
        (["age", "portrait.png", "--to", "8", "--to", "9", "-o", "a.png"], "put {age} into its name"),
        (["age", "portrait.png", "--to", "45", "--to", "45.0", "-o", "{age}.png"], "into the same file '45.png'"),
        (["age", "portrait.png", "--to", "8", "-o", "a.gif"], "end it in .jpg, .jpeg, .png or .webp"),
        (["age", "portrait.png", "--to", "8", "-o", "a"], "or end it with / for a folder"),
        (["age", "portrait.png", "--to", "8", "-o", ""], "has no image suffix"),
        (["age", "portrait.png", "--to", "8", "-o", "no/a.png"], "there is no folder 'no'"),
        (["age", "portrait.png", "--to", "8", "-o", "a.png", "--format", "jpeg"], "contradicts the name 'a.png'"),
        (["age", "portrait.png", "--to", "8", "-o", "a.png", "--quality", "0"], "1<=x<=100"),
        (["age", "portrait.png", "--sweep", "-o", "{age}.png"], "{age} has no place"),
        (["age", "portrait.png", "--sweep", "-o", "a.png", "--keep-metadata"], "cannot go with --sweep"),
        (["age", "portrait.png", "--face", "0=8", "-o", "{age}.png"], "{age} has no place"),
        (["age", "portrait.png", "--face", "0", "-o", "a.png"], "--face FACE=AGE"),
        (["age", "portrait.png", "--face", "0", "--face", "1=8", "-o", "a.png"], "--face FACE=AGE"),
        (["age", "portrait.png", "--face", "0=", "-o", "a.png"], "no age after = in '0='"),
        (["age", "portrait.png", "--to", "8", "--face", "smallest", "-o", "a.png"], "a face cannot be 'smallest'"),
        (["age", "portrait.png", "--to", "8", "--face", "1,2,3", "-o", "a.png"], "a face cannot be '1,2,3'"),
        (["age", "portrait.png", "--to", "8", "--face", "=8", "-o", "a.png"], "a face cannot be ''"),
        (["age", "portrait.png", "--to", "8", "--blend", "add", "-o", "a.png"], "'delta', 'replace'"),
        (["age", "portrait.png", "--to", "8", "--strength", "much", "-o", "a.png"], "not a valid float"),
        (["age", "portrait.png", "--to", "8", "--optimisation", "slow", "-o", "a.png"], "'none', 'fast', 'full'"),
        (["reconstruct", "portrait.png", "--face", "0=8", "-o", "a.png"], "a face cannot be '0=8'"),
        (["reconstruct", "portrait.png", "--mode", "exact", "-o", "a.png"], "'pixelwise', 'identity', 'blended'"),
        (["reconstruct", "portrait.png", "--steps", "9", "-o", "a.png"], "a --mode other than initial"),
        (["reconstruct", "portrait.png", "--optimizer", "adam", "-o", "a.png"], "a --mode other than initial"),
        (["reconstruct", "portrait.png", "--latents", "a.png", "-o", "a.png"], "end 'a.png' in .json"),
        (["reconstruct", "portrait.png", "--latents", "no/a.json", "-o", "a.png"], "there is no folder 'no'"),
        (["optimize", "portrait.png"], "dorian: Missing option '-o'"),
        (["optimize", "portrait.png", "-o", "a.gif"], "end it in .jpg, .jpeg, .png or .webp"),
        (["optimize", "portrait.png", "--mode", "initial", "-o", "a.png"], "'pixelwise', 'identity', 'blended'"),
        (["optimize", "portrait.png", "--optimizer", "sgd", "-o", "a.png"], "'l-bfgs-b', 'adam'"),
        (["optimize", "portrait.png", "--steps", "0", "-o", "a.png"], "x>=1"),
        (["optimize", "portrait.png", "--preview-every", "0", "-o", "a.png"], "x>=1"),
        (["optimize", "portrait.png", "--previews", "portrait.png", "-o", "a.png"], "is a file"),
        (["optimize", "portrait.png", "--latent", "latent", "-o", "a.png"], "end 'latent' in .json"),
        (["detect", "portrait.png", "--draw", "a.gif"], "end it in .jpg, .jpeg, .png or .webp"),
        (["detect", "portrait.png", "--draw", "{age}.png"], "{age} has no place"),
        (["compare", "portrait.png"], "Missing argument 'SECOND'"),
        (["compare", "portrait.png", "portrait.png", "--first", "-"], "a face cannot be '-'"),
        (["compare", "portrait.png", "portrait.png", "--false-accept-rate", "0"], "x>0"),
        (["age", "portrait.png", "--to", "8", "-o", "a.png", "--timeout", "0"], "x>0"),
        (["age", "portrait.png", "--to", "8", "-o", "a.png", "--timeout", "inf"], "a timeout cannot be inf"),
        (["methods", "--server", ""], "give host:port"),
        (["methods", "--priority", "urgent"], "'interactive', 'batch'"),
        (["methods", "--retries", "-1"], "x>=0"),
    ],
)
def test_wrong_command_lines(arguments: list[str], message: str, run: Run, fake: Any) -> None:
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert message in result.stderr
    assert not arguments or "hint: see 'dorian" in result.stderr
    assert fake.requests == []
    assert [path.name for path in Path().iterdir()] == ["portrait.png"]


@pytest.mark.parametrize(
    ("command", "out"),
    [
        *itertools.product(
            [["age", "--to", "8"], ["age", "--sweep"], ["optimize"], ["reconstruct"]],
            ["portrait.png", "./portrait.png", "same.png", "linked.png"],
        ),
        (["age", "--to", "portrait"], "{age}.png"),
        (["age", "--face", "0=8"], "portrait.png"),
    ],
)
def test_the_photo_is_never_overwritten(out: str, command: list[str], run: Run, fake: Any) -> None:
    Path("same.png").hardlink_to("portrait.png")
    Path("linked.png").symlink_to("portrait.png")
    before = Path("portrait.png").read_bytes()
    _assert_fails(run(*command, "portrait.png", "-o", out), 2, "is the photo itself")
    _assert_fails(
        run("detect", "portrait.png", "--draw", out if "{" not in out else "linked.png"), 2, "is the photo itself"
    )
    assert Path("portrait.png").read_bytes() == before
    assert fake.requests == []


def test_rejected_photos(run: Run) -> None:
    Path("text.jpg").write_text("no image")
    _assert_fails(run("age", "missing.jpg", "--to", "8", "-o", "a.png"), 3, "missing.jpg: there is no such file")
    _assert_fails(run("reconstruct", "missing.jpg", "-o", "a.png"), 3, "missing.jpg: there is no such file")
    _assert_fails(run("optimize", "missing.jpg", "-o", "a.png"), 3, "missing.jpg: there is no such file")
    _assert_fails(run("detect", "missing.jpg"), 3, "missing.jpg: there is no such file")
    _assert_fails(run("compare", "portrait.png", "missing.jpg"), 3, "missing.jpg: there is no such file")
    _assert_fails(run("age", ".", "--to", "8", "-o", "a.png"), 3, "is a folder")
    _assert_fails(run("age", "text.jpg", "--to", "8", "-o", "a.png"), 3, "the photo is not an image")
    assert not Path("a.png").exists()


def test_rejected_options(run: Run) -> None:
    _assert_fails(run("age", "portrait.png", "--to=-3", "-o", "a.png"), 3, "an age cannot be -3")
    _assert_fails(
        run("age", "portrait.png", "--to", "70-79", "-o", "a.png"), 3, "no age group 70-79", "'dorian methods'"
    )
    for command in (["age", "--to", "8"], ["age", "--sweep"], ["reconstruct"]):
        result = run(*command, "portrait.png", "--method", "nonsense", "-o", "a.png")
        _assert_fails(result, 3, "nonsense", "hint: 'dorian methods'")


@pytest.mark.parametrize(
    ("code", "reason", "exit_code", "message"),
    [
        ("INVALID_ARGUMENT", "NO_FACE", 3, "hint: take a photo"),
        ("INVALID_ARGUMENT", "FACE_NOT_FOUND", 3, "hint: 'dorian detect PHOTO' lists the faces"),
        ("INVALID_ARGUMENT", "FACE_TOO_MANY", 3, "hint: 'dorian detect PHOTO' lists the faces"),
        ("INVALID_ARGUMENT", "FACE_UNUSABLE", 3, "hint: take a photo"),
        ("INVALID_ARGUMENT", "FILTER_UNKNOWN", 3, "hint: 'dorian methods'"),
        ("INVALID_ARGUMENT", "LATENT_UNSUITABLE", 3, "hint: a latent belongs to its photo and its method"),
        ("INVALID_ARGUMENT", "METHOD_UNSUITABLE", 3, "hint: 'dorian methods'"),
        ("INVALID_ARGUMENT", "TARGET_UNSUITABLE", 3, "hint: 'dorian methods'"),
        ("INVALID_ARGUMENT", "SETTING_OUT_OF_RANGE", 3, "dorian: the server's message"),
        ("NOT_FOUND", "METHOD_UNKNOWN", 3, "hint: 'dorian methods'"),
        ("UNAUTHENTICATED", "API_KEY_UNKNOWN", 3, "hint: give the server's API key in DORIAN_API_KEY"),
        ("PERMISSION_DENIED", "SCOPE_MISSING", 3, "dorian: the server's message"),
        ("NOT_FOUND", "BUNDLE_UNKNOWN", 3, "hint: 'dorian methods' without --bundle lists the bundles"),
        ("FAILED_PRECONDITION", "BUNDLE_BROKEN", 5, "hint: repair the bundle"),
        ("UNAVAILABLE", "", 4, "hint: is the server running?"),
        ("UNAVAILABLE", "NOT_READY", 4, "hint: try again"),
        ("UNAVAILABLE", "STOPPING", 4, "hint: try again"),
        ("RESOURCE_EXHAUSTED", "QUEUE_FULL", 5, "hint: try again"),
        ("DEADLINE_EXCEEDED", "DEADLINE_TOO_SHORT", 5, "hint: give it more time"),
        ("INTERNAL", "INTERNAL", 5, "hint: see the server's log"),
        ("UNIMPLEMENTED", "", 5, "UNIMPLEMENTED"),
    ],
)
def test_messages_hints_and_exit_codes(
    code: str, reason: str, exit_code: int, message: str, run: Run, fake: Any
) -> None:
    fake.fail_with_status(grpc.StatusCode[code], "the server's message", reason=reason)
    for command in (["age", "portrait.png", "--to", "8", "-o", "a.png"], ["methods"]):
        _assert_fails(run(*command), exit_code, "the server's message", message)
    assert not Path("a.png").exists()


def test_a_server_that_is_too_slow(run: Run, fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.delay = 60
    _assert_fails(run("methods", "--timeout", "0.5"), 5, "within 0.5 s", "hint: give it more time with --timeout")
    monkeypatch.setenv("DORIAN_TIMEOUT", "0.4")
    _assert_fails(run("methods"), 5, "within 0.4 s")


def test_a_result_that_cannot_be_written(run: Run) -> None:
    Path("a.png").mkdir()
    Path("a.png/portrait-8.png").mkdir()
    _assert_fails(run("age", "portrait.png", "--to", "8", "-o", "a.png"), 1, "cannot write")


@pytest.mark.parametrize(
    ("error", "message"), [(KeyboardInterrupt(), "interrupted"), (KeyError("x"), "unexpected KeyError")]
)
def test_unexpected_errors(error: BaseException, message: str, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(client: Client) -> None:
        raise error

    monkeypatch.setattr(Client, "bundle", fail)
    result = run("methods")
    assert (result.exit_code, message in result.stderr, "Traceback" in result.output) == (1, True, False)


@pytest.mark.parametrize(
    "command", [[], ["age"], ["detect"], ["compare"], ["optimize"], ["reconstruct"], ["methods"], ["reload"]]
)
def test_help_has_examples_and_exit_codes(command: list[str]) -> None:
    result = CliRunner().invoke(main, [*command, "--help"])
    assert result.exit_code == 0
    assert "Examples:\n" in result.stdout
    assert ("Exit codes:\n" in result.stdout) == (command == [])
    assert ("DORIAN_SERVER" in result.stdout and "DORIAN_TIMEOUT" in result.stdout) == (command != [])


def test_version() -> None:
    assert CliRunner().invoke(main, ["--version"], prog_name="dorian").stdout == "dorian 0.1.0\n"


def _process(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "dorian_client.cli", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def test_as_a_process(fake: Any, photo: Path, pixels: Pixels) -> None:
    done = _process("age", str(photo), "--to", "60+", "-o", "older.png", "--server", fake.address)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.endswith("wrote older.png\n")
    np.testing.assert_array_equal(_pixels("older.png")[1:], 255 - pixels[1:])


def test_as_a_process_without_a_server(photo: Path) -> None:
    with socket.socket() as unheard:
        unheard.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{unheard.getsockname()[1]}"
        done = _process("age", str(photo), "--to", "60+", "-o", "older.png", "--server", address)
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith(f"dorian: cannot reach a server at {address}: ")
    assert done.stderr.splitlines()[1] == "hint: is the server running? Give its address with --server HOST:PORT"
