"""Latents that are searched, from outside: the embedded bundle's gradient, the SDK and the command, and ageing from what they find."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from subprocess import CompletedProcess

import numpy as np
import pytest
from PIL import Image

from dorian_client import Client
from dorian_client.errors import InvalidRequest
from tests.e2e.server_process import ServerProcess, dorian, start_server

Run = Callable[..., CompletedProcess[str]]
STEPS = 15  # as many as the fast budget of ageing has


@pytest.fixture(scope="module")
def client(server: ServerProcess) -> Iterator[Client]:
    with Client(server.address) as client:
        yield client


@pytest.fixture
def run(server: ServerProcess, environment: dict[str, str]) -> Run:
    """Runs the command, which must not fail."""

    def run(*arguments: object) -> CompletedProcess[str]:
        done = dorian(server, environment, *arguments)
        assert done.returncode == 0, done.stderr
        return done

    return run


def test_a_search_comes_nearer_by_what_it_aims_at(client: Client, photo: Path) -> None:
    modes = ("initial", "pixelwise", "identity", "blended")
    faces = {mode: client.reconstruct(photo, mode=mode, max_steps=STEPS).faces[0] for mode in modes}
    initial, pixelwise, identity, blended = faces.values()
    assert pixelwise.pixel_error < 0.97 * initial.pixel_error
    assert identity.identity_similarity > initial.identity_similarity + 0.01
    assert blended.identity_similarity > initial.identity_similarity + 0.01
    assert initial.steps == 0
    assert all(1 < face.steps <= STEPS for mode, face in faces.items() if mode != "initial")


def test_a_search_is_told_step_by_step(client: Client, photo: Path) -> None:
    with client.optimize(photo, max_steps=STEPS, preview_every=5, format="png") as search:
        steps = list(search)
        result = search.result()
    assert [step.step for step in steps] == list(range(len(steps)))
    assert [step.step for step in steps if step.preview is not None] == list(range(5, len(steps), 5))
    assert steps[-1].best_loss < 0.7 * steps[0].loss
    reconstruction = result.reconstruction
    assert reconstruction.steps == len(steps)
    assert reconstruction.latent == client.reconstruct(photo, mode="identity", max_steps=STEPS).faces[0].latent


def test_a_search_that_is_left_leaves_the_server_free(photo: Path) -> None:
    """It has one place."""
    running = start_server("--bundle", "models/default", "--workers", "1", "--max-steps", "100000")
    try:
        with Client(running.address) as client:
            with client.optimize(photo, optimizer="adam", max_steps=100_000) as search:
                assert [next(search).step for _ in range(3)] == [0, 1, 2]
            assert client.methods()
            with pytest.raises(InvalidRequest, match="between 1 and 100000"):
                client.reconstruct(photo, mode="identity", max_steps=100_001)
    finally:
        assert running.stop() == 0


def test_a_face_is_aged_from_the_latent_that_was_found(run: Run, photo: Path, tmp_path: Path) -> None:
    """The file of a search does what ageing with the same search does."""
    latents, pictures = tmp_path / "latents.json", {}
    run("reconstruct", photo, "--mode", "identity", "--steps", STEPS, "-o", tmp_path / "seen.png", "--latents", latents)
    assert json.loads(latents.read_bytes())["method"] == "age_cgan"
    for name, flags in {
        "given": ["--latent", latents],
        "searched": ["--optimisation", "fast"],
        "neither": ["--method", "age_cgan"],
    }.items():
        run("age", photo, "--to", "60+", *flags, "-o", tmp_path / f"{name}.png")
        with Image.open(tmp_path / f"{name}.png") as picture:
            pictures[name] = np.asarray(picture)
    assert np.array_equal(pictures["given"], pictures["searched"])
    assert not np.array_equal(pictures["given"], pictures["neither"])


def test_the_command_shows_a_search(run: Run, photo: Path, tmp_path: Path) -> None:
    out, latent, previews = tmp_path / "drawn.png", tmp_path / "latent.json", tmp_path / "previews"
    flags = ["--optimizer", "adam", "--steps", 7, "--preview-every", 3, "--previews", previews, "--latent", latent]
    done = run("optimize", photo, "-o", out, *flags)
    assert "step 6: loss" in done.stderr
    assert sorted(path.name for path in previews.iterdir()) == ["astronaut-0003.png", "astronaut-0006.png"]
    with Image.open(out) as image:
        assert image.size == (64, 64)
    (face,) = json.loads(latent.read_bytes())["faces"]
    assert len(face["latent"]) == 384
