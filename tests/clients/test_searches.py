"""Latent searches, whose response is a stream: requests, steps, results, and what ends a search early."""

from __future__ import annotations

import dataclasses
import gc
import itertools
import operator
import threading
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import numpy.typing as npt
import pytest

from dorian.v1 import face_aging_pb2 as pb
from dorian_client import (
    Cancelled,
    Client,
    ConnectionFailed,
    DeadlineExceeded,
    DorianError,
    Face,
    InternalError,
    InvalidRequest,
    NoFaceError,
    Provenance,
    Search,
    ServerError,
)

Pixels = npt.NDArray[np.uint8]
WAIT = 5  # seconds within which a server must notice the end of a call


def test_all_settings_reach_the_server(client: Client, fake: Any, pixels: Pixels) -> None:
    client.optimize(
        pixels, face=1, mode="blended", optimizer="adam", max_steps=np.int64(200), preview_every=5, latent=[0.5, 2],
        source="60+", method="inverter", format="webp", quality=77,
    ).result()  # fmt: skip
    (request,) = fake.requests
    assert request.image.data.startswith(b"\x89PNG")
    request.ClearField("image")
    assert request == pb.OptimizeRequest(
        face=pb.FaceSelector(index=1),
        mode=pb.RECONSTRUCTION_MODE_BLENDED,
        source=pb.Age(group="60+"),
        method="inverter",
        search=pb.SearchOptions(optimizer=pb.OPTIMIZER_ADAM, max_steps=200),
        preview_every=5,
        latent=[0.5, 2],
        output=pb.OutputOptions(format=pb.IMAGE_FORMAT_WEBP, quality=77),
    )


def test_nothing_is_set_that_was_not_given(client: Client, fake: Any, pixels: Pixels) -> None:
    client.optimize(pixels).result()
    (request,) = fake.requests
    request.ClearField("image")
    assert request == pb.OptimizeRequest(
        mode=pb.RECONSTRUCTION_MODE_IDENTITY, search=pb.SearchOptions(), output=pb.OutputOptions()
    )


def test_steps_and_result(client: Client, fake: Any, pixels: Pixels) -> None:
    with client.optimize(pixels, preview_every=2, max_steps=40) as search:
        steps = list(search)
    assert [(step.step, step.loss, step.best_loss) for step in steps] == [
        (0, 1.5, 1.5),
        (1, 2, 1.5),
        (2, 0.5, 0.5),
        (3, 0.25, 0.25),
    ]
    assert [(step.identity_similarity, step.pixel_error) for step in steps] == [
        (0, 0.5),
        (0.25, 0.375),
        (0.5, 0.25),
        (0.75, 0.125),
    ]
    previews = [step.preview.to_array() if step.preview is not None else None for step in steps]
    assert [preview is None for preview in previews] == [False, True, False, False]
    for step, preview in enumerate(previews):
        if preview is not None:
            assert preview[0, 0, 0] == step
            np.testing.assert_array_equal(preview[1:], 255 - pixels[5:44, 8:40])
    with pytest.raises(dataclasses.FrozenInstanceError):
        steps[0].step = 1  # type: ignore[misc]

    result = search.result()
    drawing = result.reconstruction
    assert isinstance(drawing.face, Face)
    assert drawing.picture is not None
    assert (drawing.face.index, drawing.steps, drawing.error) == (0, 40, None)
    assert drawing.latent == (0.5, -0.25, float(np.float32(0.1)))
    np.testing.assert_array_equal(drawing.picture.to_array(), 255 - pixels[4:44, 8:40])
    assert result.provenance == Provenance("inverter", "fake-bundle", "1.2.3", "ab" * 32)
    assert (result.times, result.seconds) == ({"optimise": 1.5}, 1.5)
    assert (search.result(), list(search)) == (result, [])
    assert not fake.search_cancelled.is_set()


def test_a_result_passes_over_the_steps_before_it(client: Client, pixels: Pixels) -> None:
    search = client.optimize(pixels)
    assert next(search).step == 0
    assert search.result().reconstruction.steps == 60
    search.cancel()
    assert search.result().reconstruction.steps == 60  # a search that is done stays done


def test_steps_come_while_the_search_goes_on(client: Client, fake: Any, pixels: Pixels) -> None:
    fake.pause_after = 1
    with client.optimize(pixels) as search:
        assert [next(search).step, next(search).step] == [0, 1]
        assert not fake.search_cancelled.is_set()


def _leave_with(search: Search) -> None:
    with search:
        next(search)


def _leave_with_an_error(search: Search) -> None:
    next(search)
    with pytest.raises(KeyError), search:
        raise KeyError


def _cancel(search: Search) -> None:
    next(search)
    search.cancel()


@pytest.mark.parametrize("leave", [_leave_with, _leave_with_an_error, _cancel])
def test_leaving_early_ends_the_search_on_the_server(
    leave: Callable[[Search], None], client: Client, fake: Any, pixels: Pixels
) -> None:
    fake.pause_after = 0
    search = client.optimize(pixels)
    leave(search)
    assert fake.search_cancelled.wait(WAIT)
    assert list(search) == []
    with pytest.raises(Cancelled, match="cancelled before it had a result"):
        search.result()
    assert isinstance(Cancelled("x"), DorianError)


def test_an_unreferenced_search_is_cancelled(client: Client, fake: Any, pixels: Pixels) -> None:
    fake.pause_after = 0
    for step in client.optimize(pixels):
        assert step.step == 0
        break
    gc.collect()
    assert fake.search_cancelled.wait(WAIT)


def test_another_thread_may_cancel(client: Client, fake: Any, pixels: Pixels) -> None:
    fake.pause_after = 0
    search = client.optimize(pixels)
    next(search)
    later = threading.Timer(0.1, search.cancel)
    later.start()
    with pytest.raises(Cancelled):
        search.result()  # waits for steps until then
    later.join()
    assert fake.search_cancelled.wait(WAIT)


def test_closing_the_client_ends_its_searches(client: Client, fake: Any, pixels: Pixels) -> None:
    fake.pause_after = 0
    search = client.optimize(pixels)
    next(search)
    client.close()
    with pytest.raises(ServerError):
        search.result()
    assert fake.search_cancelled.wait(WAIT)
    with pytest.raises(ValueError, match="closed"):
        client.optimize(pixels)


@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [("INTERNAL", "INTERNAL", InternalError), ("INVALID_ARGUMENT", "NO_FACE", NoFaceError)],
)
@pytest.mark.parametrize("after", [None, 0, 2])
def test_errors_in_the_stream(
    after: int | None, code: str, reason: str, kind: type[ServerError], client: Client, fake: Any, pixels: Pixels
) -> None:
    fake.fail_with_status(
        grpc.StatusCode[code],
        "the server's message",
        reason=reason,
        field="latent",
        metadata={"limit": "16"},
        after=after,
    )
    with client.optimize(pixels) as search:
        steps = map(operator.attrgetter("step"), search)
        before = list(itertools.islice(steps, 0 if after is None else after + 1))
        with pytest.raises(ServerError, match="the server's message") as caught:
            next(steps)
    assert before == list(range(len(before)))
    error = caught.value
    assert (type(error), error.code, error.reason, error.field) == (kind, code, reason, "latent")
    assert error.metadata == {"limit": "16"}
    assert isinstance(error.__cause__, grpc.RpcError)
    with pytest.raises(kind):  # it was not cancelled, but failed
        search.result()


def test_errors_of_the_server(client: Client, pixels: Pixels) -> None:
    with pytest.raises(InvalidRequest) as caught:
        client.optimize(b"no image").result()
    assert (caught.value.reason, caught.value.field) == ("IMAGE_UNREADABLE", "image.data")


def test_a_search_that_takes_too_long(fake: Any, pixels: Pixels) -> None:
    with Client(fake.address, timeout=10) as client:
        client.methods()
        fake.pause_after, client.timeout = 0, 0.5
        search = client.optimize(pixels)
        assert next(search).step == 0
        with pytest.raises(DeadlineExceeded, match=r"within 0\.5 s"):
            next(search)
    assert fake.search_cancelled.wait(WAIT)


def test_a_server_that_is_not_there(pixels: Pixels) -> None:
    with Client("127.0.0.1:1", timeout=5) as client:
        search = client.optimize(pixels)
        with pytest.raises(ConnectionFailed, match=r"cannot reach a server at 127\.0\.0\.1:1"):
            next(search)


def test_a_server_that_leaves_the_result_out(client: Client, fake: Any, pixels: Pixels) -> None:
    fake.on_response = lambda response: None if response.HasField("result") else response
    with pytest.raises(InternalError, match="without a result"):
        client.optimize(pixels).result()


def test_a_face_that_fails_in_the_end(client: Client, fake: Any, pixels: Pixels) -> None:
    fake.unusable_faces = {0}
    drawing = client.optimize(pixels).result().reconstruction
    assert drawing.error is not None
    assert (drawing.error.reason, drawing.picture, drawing.latent, drawing.steps) == ("FACE_UNUSABLE", None, (), 0)
