"""Latents: how they are found, returned and used for ageing."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dorian.v1 import face_aging_pb2 as pb
from dorian_client import Box, Client
from dorian_client._requests import pick_method

Pixels = npt.NDArray[np.uint8]
SECOND = Box(50, 6, 12, 14)
BOXES = [
    pb.FaceSelector(box=pb.Box(x=8, y=4, width=32, height=40)),
    pb.FaceSelector(box=pb.Box(x=50, y=6, width=12, height=14)),
]


@pytest.mark.parametrize(
    ("mode", "optimizer", "expected"),
    [
        ("initial", "l-bfgs-b", (pb.RECONSTRUCTION_MODE_INITIAL, pb.OPTIMIZER_L_BFGS_B)),
        ("pixelwise", "adam", (pb.RECONSTRUCTION_MODE_PIXELWISE, pb.OPTIMIZER_ADAM)),
        ("identity", None, (pb.RECONSTRUCTION_MODE_IDENTITY, pb.OPTIMIZER_UNSPECIFIED)),
        ("blended", "adam", (pb.RECONSTRUCTION_MODE_BLENDED, pb.OPTIMIZER_ADAM)),
    ],
)
def test_ways_to_reconstruct(
    mode: str, optimizer: str | None, expected: tuple[int, int], client: Client, fake: Any, pixels: Pixels
) -> None:
    result = client.reconstruct(pixels, mode=mode, optimizer=optimizer, max_steps=7)
    (request,) = fake.requests
    assert ((request.mode, request.search.optimizer), request.search.max_steps) == (expected, 7)
    assert [face.steps for face in result.faces] == [0 if mode == "initial" else 7] * 2


def test_the_server_decides_what_is_not_given(client: Client, fake: Any, pixels: Pixels) -> None:
    client.reconstruct(pixels)
    client.reconstruct(pixels, mode="identity", max_steps=0)
    plain, searched = fake.requests
    assert (plain.mode, plain.search) == (pb.RECONSTRUCTION_MODE_INITIAL, pb.SearchOptions())
    assert (searched.mode, searched.search) == (pb.RECONSTRUCTION_MODE_IDENTITY, pb.SearchOptions())


@pytest.mark.parametrize("call", ["age", "sweep"])
@pytest.mark.parametrize(
    ("name", "budget"),
    [
        ("none", pb.OPTIMISATION_BUDGET_NONE),
        ("fast", pb.OPTIMISATION_BUDGET_FAST),
        ("full", pb.OPTIMISATION_BUDGET_FULL),
    ],
)
def test_ageing_after_a_search(name: str, budget: int, call: str, client: Client, fake: Any, pixels: Pixels) -> None:
    getattr(client, call)(pixels, **({"to": 60} if call == "age" else {}), optimisation=name)
    assert fake.requests[-1].optimisation == budget


@pytest.mark.parametrize(
    "latents",
    [
        {"largest": [0.5, -1], SECOND: (2.0,)},
        [("largest", np.array([0.5, -1], np.float32)), (SECOND, [2])],
        iter([("largest", (0.5, -1)), (SECOND, np.array([2.0]))]),
    ],
)
def test_ageing_from_latents(latents: Any, client: Client, fake: Any, pixels: Pixels) -> None:
    client.age(pixels, 60, latents=latents)
    assert list(fake.requests[0].latents) == [
        pb.FaceLatent(face=pb.FaceSelector(largest=True), latent=[0.5, -1]),
        pb.FaceLatent(face=BOXES[1], latent=[2]),
    ]


def test_reconstructions_are_accepted_as_latents(client: Client, fake: Any, pixels: Pixels) -> None:
    fake.unusable_faces = {0}
    reconstructions = client.reconstruct(pixels, faces=[0, 1, 7]).faces
    fake.unusable_faces = set()
    actual = client.optimize(pixels).result().reconstruction
    client.age(pixels, 60, latents=reconstructions)
    client.sweep(pixels, latents=actual)
    client.optimize(pixels, latent=actual.latent).result()
    *_, age, _, sweep, search = fake.requests
    latent = [0.5, -0.25, 0.1]
    assert list(age.latents) == [pb.FaceLatent(face=BOXES[1], latent=latent)]  # the others were not reconstructed
    assert list(sweep.latents) == [pb.FaceLatent(face=BOXES[0], latent=latent)]
    assert list(search.latent) == list(pb.FaceLatent(latent=latent).latent)


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"optimizer": "sgd"}, ValueError, "an optimizer cannot be 'sgd'; give one of l-bfgs-b, adam"),
        ({"max_steps": 2**31}, ValueError, "max_steps cannot be 2147483648; give a number of steps"),
        ({"max_steps": 1.5}, TypeError, "max_steps cannot be float; give a number of steps"),
        ({"max_steps": True}, TypeError, "max_steps cannot be bool"),
    ],
)
@pytest.mark.parametrize("call", ["reconstruct", "optimize"])
def test_wrong_ways_to_search(
    call: str, arguments: dict[str, Any], kind: type[Exception], message: str, client: Client, fake: Any, pixels: Pixels
) -> None:
    with pytest.raises(kind, match=message):
        getattr(client, call)(pixels, **arguments)
    assert fake.requests == []


@pytest.mark.parametrize("mode", ["exact", "", None])
def test_wrong_modes(mode: Any, client: Client, fake: Any, pixels: Pixels) -> None:
    with pytest.raises(
        ValueError, match=f"a mode cannot be {mode!r}; give one of initial, pixelwise, identity, blended"
    ):
        client.reconstruct(pixels, mode=mode)
    with pytest.raises(
        ValueError, match=f"a search's mode cannot be {mode!r}; give one of pixelwise, identity, blended"
    ):
        client.optimize(pixels, mode=mode)
    assert fake.requests == []


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"mode": "initial"}, ValueError, "'initial'; give one of pixelwise, identity, blended"),
        ({"face": "smallest"}, ValueError, "a face cannot be 'smallest'"),
        ({"face": [0]}, TypeError, "a face cannot be list"),
        ({"preview_every": "5"}, TypeError, "preview_every cannot be str; give a number of steps"),
        ({"latent": []}, ValueError, "a latent cannot be empty"),
        ({"latent": "0.5"}, TypeError, "a latent cannot be str; give a sequence of numbers"),
        ({"latent": 0.5}, TypeError, "a latent cannot be float; give a sequence of numbers"),
        ({"latent": ["0.5"]}, TypeError, "a number of a latent cannot be str"),
        ({"latent": np.zeros((1, 2))}, TypeError, "a number of a latent cannot be ndarray"),
    ],
)
def test_wrong_searches(
    arguments: dict[str, Any], kind: type[Exception], message: str, client: Client, fake: Any, pixels: Pixels
) -> None:
    with pytest.raises(kind, match=message):
        client.optimize(pixels, **arguments)
    assert fake.requests == []


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"optimisation": "slow"}, ValueError, "an optimisation cannot be 'slow'; give one of none, fast, full"),
        ({"latents": {0: []}}, ValueError, r"a latent cannot be empty; give the numbers that reconstruct\(\)"),
        ({"latents": {0: None}}, TypeError, "a latent cannot be NoneType"),
        ({"latents": {"smallest": [1.0]}}, ValueError, "a face cannot be 'smallest'"),
        (
            {"latents": [0.5, 0.25]},
            TypeError,
            r"latent cannot be 0.5; give a mapping from faces to latents, or \(face, l",
        ),
        ({"latents": np.zeros(2)}, TypeError, "give a mapping from faces to latents"),
    ],
)
def test_wrong_latents(
    arguments: dict[str, Any], kind: type[Exception], message: str, client: Client, fake: Any, pixels: Pixels
) -> None:
    with pytest.raises(kind, match=message):
        client.age(pixels, 60, **arguments)
    assert fake.requests == []


@pytest.mark.parametrize(
    ("needs", "chosen"),
    [({}, "painter"), ({"needs_latents": True}, "other"), ({"needs_latents": True, "needs_search": True}, "inverter")],
)
def test_without_a_name_the_first_method_that_can_is_chosen(
    needs: dict[str, bool], chosen: str, client: Client
) -> None:
    bundle = client.bundle()
    backwards = dataclasses.replace(bundle, methods=bundle.methods[::-1])  # painter, other, inverter
    assert pick_method(backwards, None, **needs).name == chosen
    assert (
        pick_method(backwards, "painter", **needs).name == "painter"
    )  # the server then rejects it, and names those that can
    assert pick_method(dataclasses.replace(bundle, methods=bundle.methods[2:]), None, **needs).name == "painter"
