"""The dorian command and latents: searches in progress, files of latents, and ageing from them."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import Result
from PIL import Image

from dorian.v1 import face_aging_pb2 as pb

Pixels = npt.NDArray[np.uint8]
Run = Callable[..., Result]
Start = Callable[..., "subprocess.Popen[str]"]
BOXES = [
    pb.FaceSelector(box=pb.Box(x=8, y=4, width=32, height=40)),
    pb.FaceSelector(box=pb.Box(x=50, y=6, width=12, height=14)),
]
LATENT = [0.5, -0.25, 0.1]
STEPS = [
    "step 0: loss 1.5, best 1.5, similarity 0.00",
    "step 1: loss 2, best 1.5, similarity 0.25",
    "step 2: loss 0.5, best 0.5, similarity 0.50",
    "step 3: loss 0.25, best 0.25, similarity 0.75",
]
WAIT = 5  # seconds within which a server must notice the end of a call


def _pixels(path: str | Path) -> Pixels:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB"))


def test_reconstructing_by_a_search(run: Run, fake: Any) -> None:
    arguments = ["--mode", "blended", "--optimizer", "adam", "--steps", "40", "--face", "0", "-o", "seen.png"]
    result = run("reconstruct", "portrait.png", *arguments)
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[0] == (
        "face 0: 32x40 at (8, 4), drawn as 34 (estimated), pixel error 0.125, similarity 0.62, by 40 steps"
    )
    (request,) = fake.requests
    assert (request.mode, request.search) == (
        pb.RECONSTRUCTION_MODE_BLENDED,
        pb.SearchOptions(optimizer=pb.OPTIMIZER_ADAM, max_steps=40),
    )


def test_reconstructing_without_a_search(run: Run, fake: Any) -> None:
    run("reconstruct", "portrait.png", "-o", "seen.png")
    (request,) = fake.requests
    assert (request.mode, request.search) == (pb.RECONSTRUCTION_MODE_INITIAL, pb.SearchOptions())


def test_optimize(run: Run, fake: Any, pixels: Pixels) -> None:
    result = run("optimize", "portrait.png", "-o", "drawn.png", "--latent", "latent.json")
    assert result.exit_code == 0, result.output
    assert result.stderr.splitlines() == STEPS
    assert result.stdout.splitlines() == [
        "face 0: 32x40 at (8, 4), drawn as 34 (estimated), pixel error 0.125, similarity 0.62, by 60 steps",
        "searched for 1.50 s",
        "wrote drawn.png",
        "wrote latent.json",
    ]
    np.testing.assert_array_equal(_pixels("drawn.png"), 255 - pixels[4:44, 8:40])
    assert sorted(path.name for path in Path().iterdir()) == ["drawn.png", "latent.json", "portrait.png"]
    (request,) = fake.requests
    request.ClearField("image")
    assert request == pb.OptimizeRequest(
        mode=pb.RECONSTRUCTION_MODE_IDENTITY,
        search=pb.SearchOptions(),
        preview_every=10,
        output=pb.OutputOptions(format=pb.IMAGE_FORMAT_PNG),
    )


def test_all_settings_of_a_search_reach_the_server(run: Run, fake: Any) -> None:
    arguments = ["--face", "50,6,12,14", "--mode", "pixelwise", "--optimizer", "l-bfgs-b", "--steps", "9"]
    arguments += ["--preview-every", "4", "--from", "60+", "--method", "inverter"]
    assert run("optimize", "portrait.png", "-o", "drawn.jpg", *arguments).exit_code == 0
    (request,) = fake.requests
    request.ClearField("image")
    assert request == pb.OptimizeRequest(
        face=BOXES[1],
        mode=pb.RECONSTRUCTION_MODE_PIXELWISE,
        source=pb.Age(group="60+"),
        method="inverter",
        search=pb.SearchOptions(optimizer=pb.OPTIMIZER_L_BFGS_B, max_steps=9),
        preview_every=4,
        output=pb.OutputOptions(format=pb.IMAGE_FORMAT_PNG),
    )
    with Image.open("drawn.jpg") as image:
        assert image.format == "JPEG"


def test_previews_into_a_folder(run: Run, pixels: Pixels) -> None:
    result = run("optimize", "portrait.png", "--preview-every", "2", "--previews", "new/folder", "-o", "out/")
    assert result.exit_code == 0, result.output
    assert "wrote 3 previews into new/folder" in result.stdout.splitlines()
    previews = sorted(Path("new/folder").iterdir())
    assert [path.name for path in previews] == ["portrait-0000.png", "portrait-0002.png", "portrait-0003.png"]
    for path, step in zip(previews, (0, 2, 3), strict=True):
        assert _pixels(path)[0, 0, 0] == step
        np.testing.assert_array_equal(_pixels(path)[1:], 255 - pixels[5:44, 8:40])
    np.testing.assert_array_equal(_pixels("out/portrait-optimised.png"), 255 - pixels[4:44, 8:40])


def test_a_search_that_fails_on_its_way_leaves_its_best(run: Run, fake: Any) -> None:
    fake.fail("INTERNAL", "the server's message", after=2)
    result = run("optimize", "portrait.png", "--preview-every", "1", "-o", "drawn.png", "--latent", "latent.json")
    assert (result.exit_code, result.stdout) == (5, "")
    assert result.stderr.splitlines() == [
        *STEPS[:3],
        "kept the best of the search up to step 2",
        "wrote drawn.png",
        "dorian: the server's message",
        "hint: see the server's log",
    ]
    assert _pixels("drawn.png")[0, 0, 0] == 2
    assert not Path("latent.json").exists()


def test_a_search_that_fails_before_its_first_preview_leaves_nothing(run: Run, fake: Any) -> None:
    fake.fail("METHOD_UNSUITABLE", "it has no encoder")
    result = run("optimize", "portrait.png", "-o", "drawn.png")
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.splitlines()[0] == "dorian: it has no encoder"
    assert result.stderr.splitlines()[1].startswith("hint: 'dorian methods'")
    assert not Path("drawn.png").exists()


def test_a_search_that_takes_too_long_leaves_its_best(run: Run, fake: Any) -> None:
    fake.pause_after = 0
    result = run("optimize", "portrait.png", "--timeout", "1", "-o", "drawn.png")
    assert result.exit_code == 5
    assert "hint: give it more time with --timeout" in result.stderr
    assert _pixels("drawn.png")[0, 0, 0] == 0
    assert fake.search_cancelled.wait(WAIT)


def test_a_face_that_fails_in_the_end(run: Run, fake: Any) -> None:
    fake.unusable_faces = {0}
    result = run("optimize", "portrait.png", "-o", "drawn.png", "--latent", "latent.json")
    assert (result.exit_code, result.stdout) == (3, "")
    assert "dorian: face 0: the face is seen from the side" in result.stderr
    assert [path.name for path in Path().iterdir()] == ["portrait.png"]


# Tests in the background inherit an ignored SIGINT. preexec_fn is no way out: gRPC's threads do not survive a fork.
HEARING = """
import signal
from dorian_client.cli.main import main
signal.signal(signal.SIGINT, signal.default_int_handler)
main(prog_name="dorian")
"""


@pytest.fixture
def start(fake: Any, photo: Path) -> Iterator[Start]:
    """Return a function that starts the command beside the photo as a process, which ends with the test."""
    started = []

    def begin(*arguments: str, stderr: int = subprocess.PIPE) -> subprocess.Popen[str]:
        command = [sys.executable, "-W", "error", "-c", HEARING, *arguments, "--server", fake.address]
        started.append(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def test_ctrl_c_ends_the_search_and_keeps_its_best(start: Start, fake: Any) -> None:
    fake.pause_after = 2
    process = start("optimize", "portrait.png", "-o", "drawn.png", "--preview-every", "1", "--latent", "latent.json")
    assert process.stderr is not None
    assert [process.stderr.readline().rstrip() for _ in range(3)] == STEPS[:3]
    assert not fake.search_cancelled.is_set()
    process.send_signal(signal.SIGINT)
    assert fake.search_cancelled.wait(WAIT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (1, "")
    assert err.splitlines() == [
        "kept the best of the search up to step 2",
        "wrote drawn.png",
        "",
        "dorian: interrupted",
    ]
    assert _pixels("drawn.png")[0, 0, 0] == 2
    assert sorted(path.name for path in Path().iterdir()) == ["drawn.png", "portrait.png"]


def test_on_a_terminal_one_line_is_overwritten(start: Start, fake: Any) -> None:
    terminal, stderr = pty.openpty()
    process = start("optimize", "portrait.png", "-o", "drawn.png", stderr=stderr)
    os.close(stderr)
    shown = b""
    try:
        while chunk := os.read(terminal, 4096):
            shown += chunk
    except OSError:  # the other end is closed
        pass
    finally:
        os.close(terminal)
    out, _ = process.communicate(timeout=30)
    assert process.returncode == 0, shown
    assert out.splitlines()[-1] == "wrote drawn.png"
    widths = [0, *map(len, STEPS)]
    lines = [step.ljust(width) for step, width in zip(STEPS, widths, strict=False)]
    assert shown.decode() == "".join(f"\r{line}" for line in lines) + "\r\n"


def test_latents_of_a_reconstruction_are_aged_from(run: Run, fake: Any) -> None:
    result = run("reconstruct", "portrait.png", "--method", "other", "-o", "seen.png", "--latents", "latents.json")
    assert result.stdout.splitlines()[-2:] == ["wrote seen.png", "wrote latents.json"]
    content = json.loads(Path("latents.json").read_text())
    assert content["method"] == "other"
    assert [(face["index"], face["box"]["x"], len(face["latent"])) for face in content["faces"]] == [
        (0, 8, 3),
        (1, 50, 3),
    ]

    result = run("age", "portrait.png", "--to", "60+", "--latent", "latents.json", "-o", "older.png")
    assert result.exit_code == 0, result.output
    assert fake.requests[-1].method == "other"
    assert list(fake.requests[-1].latents) == [pb.FaceLatent(face=face, latent=LATENT) for face in BOXES]


def test_faces_without_a_latent_are_left_out_of_the_file(run: Run, fake: Any) -> None:
    fake.unusable_faces = {0}
    run("reconstruct", "portrait.png", "-o", "seen.png", "--latents", "latents.json")
    assert [face["index"] for face in json.loads(Path("latents.json").read_text())["faces"]] == [1]


@pytest.mark.parametrize("targets", [["--to", "60+"], ["--sweep"], ["--face", "0=60+"]])
def test_latents_of_searches_are_aged_from(targets: list[str], run: Run, fake: Any) -> None:
    for face in ("0", "1"):
        run("optimize", "portrait.png", "--face", face, "-o", "drawn.png", "--latent", f"{face}.json")
    arguments = ["--latent", "1.json", "--latent", "0.json", "--method", "inverter", "-o", "older.png"]
    result = run("age", "portrait.png", *targets, *arguments)
    assert result.exit_code == 0, result.output
    assert fake.requests[-1].method == "inverter"
    latents = [pb.FaceLatent(face=face, latent=LATENT) for face in reversed(BOXES)]
    assert list(fake.requests[-1].latents) == latents


@pytest.mark.parametrize("targets", [["--to", "60+"], ["--sweep"]])
@pytest.mark.parametrize(
    ("arguments", "budget"),
    [
        ([], pb.OPTIMISATION_BUDGET_UNSPECIFIED),
        (["--optimisation", "none"], pb.OPTIMISATION_BUDGET_NONE),
        (["--optimisation", "fast"], pb.OPTIMISATION_BUDGET_FAST),
        (["--optimisation", "full"], pb.OPTIMISATION_BUDGET_FULL),
    ],
)
def test_ageing_after_a_search(arguments: list[str], budget: int, targets: list[str], run: Run, fake: Any) -> None:
    assert run("age", "portrait.png", *targets, *arguments, "-o", "older.png").exit_code == 0
    assert (fake.requests[-1].optimisation, list(fake.requests[-1].latents)) == (budget, [])


def test_latents_of_another_method(run: Run, fake: Any) -> None:
    run("reconstruct", "portrait.png", "-o", "seen.png", "--latents", "a.json")
    run("reconstruct", "portrait.png", "--method", "other", "-o", "seen.png", "--latents", "b.json")
    fake.requests.clear()
    for arguments in (["--method", "other", "--latent", "a.json"], ["--latent", "b.json", "--latent", "a.json"]):
        result = run("age", "portrait.png", "--to", "8", *arguments, "-o", "a.png")
        assert (result.exit_code, fake.requests) == (2, [])
        assert "dorian: latents of method 'inverter' cannot be used with method 'other'" in result.stderr


BOX = '{"x": 8, "y": 4, "width": 32, "height": 40}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("\xff", "is not JSON"),
        ("[]", "contains no method's latents; give a file that 'dorian reconstruct --latents' or"),
        ('{"method": "inverter"}', "contains no method's latents"),
        ('{"method": "", "faces": [{}]}', "contains no method's latents"),
        ('{"method": 1, "faces": [{}]}', "contains no method's latents"),
        ('{"method": "inverter", "faces": []}', "contains no method's latents"),
        ('{"method": "inverter", "faces": {"0": [1]}}', "contains no method's latents"),
        ('{"method": "inverter", "faces": [[1]]}', "has a face without a box of numbers or without a latent"),
        (f'{{"method": "inverter", "faces": [{{"box": {BOX}}}]}}', "has a face without"),
        (f'{{"method": "inverter", "faces": [{{"box": {BOX}, "latent": []}}]}}', "has a face without"),
        (f'{{"method": "inverter", "faces": [{{"box": {BOX}, "latent": "12"}}]}}', "has a face without"),
        (f'{{"method": "inverter", "faces": [{{"box": {BOX}, "latent": [1, "2"]}}]}}', "has a face without"),
        (f'{{"method": "inverter", "faces": [{{"box": {BOX}, "latent": [true]}}]}}', "has a face without"),
        (f'{{"method": "inverter", "faces": [{{"box": {BOX}, "latent": [NaN]}}]}}', "has a face without"),
        (f'{{"method": "inverter", "faces": [{{"box": {BOX}, "latent": [1{"0" * 400}]}}]}}', "has a face without"),
        ('{"method": "inverter", "faces": [{"box": {"x": 8}, "latent": [1]}]}', "has a face without"),
        ('{"method": "inverter", "faces": [{"index": 0, "latent": [1]}]}', "has a face without"),
        (f'{{"method": "inverter", "faces": [{{"box": {BOX}, "latent": [1]}}, {{}}]}}', "has a face without"),
    ],
)
def test_files_that_hold_no_latents(text: str, message: str, run: Run, fake: Any) -> None:
    Path("latent.json").write_text(text, encoding="latin-1")
    result = run("age", "portrait.png", "--to", "8", "--latent", "latent.json", "-o", "a.png")
    assert (result.exit_code, fake.requests) == (2, [])
    assert "dorian: Invalid value for '--latent': 'latent.json' " in result.stderr
    assert message in result.stderr
    assert "hint: see 'dorian age --help'" in result.stderr


def test_a_file_of_latents_by_hand(run: Run, fake: Any) -> None:
    Path("latent.json").write_text(f'{{"method": "inverter", "faces": [{{"box": {BOX}, "latent": [1, -2e-1]}}]}}')
    result = run("age", "portrait.png", "--to", "8", "--latent", "latent.json", "-o", "a.png")
    assert result.exit_code == 0, result.output
    assert list(fake.requests[0].latents) == [pb.FaceLatent(face=BOXES[0], latent=[1, -0.2])]


@pytest.mark.parametrize("name", ["missing.json", "."])
def test_files_of_latents_that_cannot_be_read(name: str, run: Run, fake: Any) -> None:
    result = run("age", "portrait.png", "--to", "8", "--latent", name, "-o", "a.png")
    assert (result.exit_code, fake.requests) == (2, [])
    assert f"cannot read {name!r}: " in result.stderr


@pytest.mark.parametrize("command", [["reconstruct", "--latents"], ["optimize", "--latent"]])
def test_the_photo_is_never_overwritten_by_latents(command: list[str], run: Run, fake: Any) -> None:
    Path("linked.json").symlink_to("portrait.png")
    result = run(*command, "linked.json", "portrait.png", "-o", "a.png")
    assert (result.exit_code, fake.requests) == (2, [])
    assert "is the photo itself" in result.stderr
