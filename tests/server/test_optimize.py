"""Optimize over a real socket: what is told step by step, the previews, the result, and what is rejected before and on the way."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_bundle import Bundle
from dorian_bundle.ages import PAPER_GROUPS
from dorian_server.domain.requests import Objective
from tests.server.rejections import Rejection, expect, rejected_at_once
from tests.server.tiny_searches import (
    LATENT,
    LEVELS,
    SIZE,
    best_latent,
    drawn,
    level_of,
    loss_of,
    photo_of,
    start_of,
    terms_of,
)

Pixels = NDArray[np.uint8]
Write = Callable[..., bytes]
Read = Callable[[bytes], Pixels]

SECONDS = 120
MODES: dict[Objective, pb.ReconstructionMode] = {
    "pixelwise": pb.RECONSTRUCTION_MODE_PIXELWISE,
    "identity": pb.RECONSTRUCTION_MODE_IDENTITY,
    "blended": pb.RECONSTRUCTION_MODE_BLENDED,
}
ADAM = pb.OPTIMIZER_ADAM
GROUP = 4
LEVEL = float(LEVELS[GROUP])
AT = pb.Age(group=PAPER_GROUPS[GROUP].label)
FACE, OTHER = (220, 160, 60), (40, 90, 180)  # the brighter is the first
STAGES = ["decode", "detect", "align", "read", "encode", "optimise", "generate", "reread", "write"]


class Told:
    """All messages of a call: its steps, and its result."""

    def __init__(self, messages: list[pb.OptimizeResponse]) -> None:
        assert [message.WhichOneof("kind") for message in messages] == ["progress"] * (len(messages) - 1) + ["result"]
        self.steps = [message.progress for message in messages[:-1]]
        self.result = messages[-1].result
        self.face = self.result.reconstruction
        self.previews = {step.step: step.preview for step in self.steps if step.HasField("preview")}


Call = Callable[..., Told]


@pytest.fixture
def request_of(write: Write) -> Callable[..., pb.OptimizeRequest]:
    """A request with a photo of faces of these colours, drawn at ``AT``."""

    def make(*colours: tuple[int, int, int], **fields: Any) -> pb.OptimizeRequest:
        image = pb.Image(data=write(photo_of(*(colours or (FACE,)))))
        return pb.OptimizeRequest(image=image, **{"source": AT} | fields)

    return make


@pytest.fixture
def optimize(searching: FaceAgingStub, request_of: Callable[..., pb.OptimizeRequest]) -> Call:
    """Calls Optimize with ``request_of``'s request, and reads it to its end."""

    def call(*colours: tuple[int, int, int], **fields: Any) -> Told:
        return Told(list(searching.Optimize(request_of(*colours, **fields), timeout=SECONDS)))

    return call


def options(optimizer: pb.Optimizer = pb.OPTIMIZER_UNSPECIFIED, steps: int = 0) -> pb.SearchOptions:
    return pb.SearchOptions(optimizer=optimizer, max_steps=steps)


# --- what is told ---


@pytest.mark.parametrize("optimizer", [pb.OPTIMIZER_L_BFGS_B, ADAM])
def test_every_step_is_told_in_order_and_then_the_result(
    optimize: Call, evaluations: Any, optimizer: pb.Optimizer
) -> None:
    told = optimize(mode=MODES["blended"], search=options(optimizer, 40))
    assert [step.step for step in told.steps] == list(range(len(told.steps)))
    assert len(told.steps) == told.face.steps == len(evaluations.rows)
    assert told.face.steps == 40 if optimizer == ADAM else 2 < told.face.steps < 40


@pytest.mark.parametrize("aim", MODES)
def test_the_start_is_what_the_encoder_says(optimize: Call, aim: Objective) -> None:
    start = optimize(mode=MODES[aim]).steps[0]
    pixelwise, identity, _ = terms_of(start_of(FACE), FACE, LEVEL)
    assert start.loss == pytest.approx(loss_of(aim, start_of(FACE), FACE, LEVEL), abs=1e-5)
    assert start.best_loss == start.loss
    assert start.pixel_error == pytest.approx(math.sqrt(pixelwise), abs=1e-5)
    assert start.identity_similarity == pytest.approx(1 - identity / 2, abs=1e-5)


@pytest.mark.parametrize("aim", MODES)
def test_the_best_loss_is_the_smallest_so_far_and_the_results(optimize: Call, aim: Objective) -> None:
    told = optimize(mode=MODES[aim], search=options(ADAM, 80))
    losses = [step.loss for step in told.steps]
    assert [step.best_loss for step in told.steps] == list(np.minimum.accumulate(losses))
    assert losses != sorted(losses, reverse=True), "Adam goes to and fro"
    assert told.steps[-1].best_loss == pytest.approx(loss_of(aim, told.face.latent, FACE, LEVEL), abs=1e-5)
    best = told.steps[int(np.argmin(losses))]
    assert told.face.pixel_error == pytest.approx(best.pixel_error, abs=0.003), "pictures are in whole levels"
    assert told.face.identity_similarity == pytest.approx(best.identity_similarity, abs=0.003)


@pytest.mark.parametrize("aim", MODES)
def test_the_result_is_what_reconstruct_gives(
    optimize: Call, searching: FaceAgingStub, request_of: Callable[..., pb.OptimizeRequest], aim: Objective
) -> None:
    told = optimize(mode=MODES[aim])
    request = pb.ReconstructRequest(image=request_of().image, mode=MODES[aim], source=AT)
    assert [told.face] == list(searching.Reconstruct(request, timeout=SECONDS).faces)
    assert told.face.latent == pytest.approx(best_latent(aim, FACE, LEVEL), abs=0.03)
    assert (told.face.source, told.face.source_given) == (AT, True)


def test_where_it_comes_from_and_its_time_by_stage(optimize: Call, searching_bundle: Bundle) -> None:
    told = optimize()
    assert told.result.provenance == pb.Provenance(
        method="searching", bundle="tiny", bundle_version="1", bundle_sha256=searching_bundle.sha256
    )
    assert [time.stage for time in told.result.times] == STAGES
    assert all(0 < time.seconds < SECONDS for time in told.result.times)


def test_a_request_that_says_nothing_is_for_the_identity_of_the_largest_face(optimize: Call) -> None:
    unsaid = optimize(FACE, OTHER, source=None)
    said = optimize(
        FACE,
        OTHER,
        source=None,
        mode=MODES["identity"],
        face=pb.FaceSelector(index=0),
        method="searching",
        search=options(pb.OPTIMIZER_L_BFGS_B, 60),
    )
    assert (unsaid.steps, unsaid.face) == (said.steps, said.face)
    assert not unsaid.face.source_given
    level = level_of(unsaid.face.source.years)
    assert unsaid.steps[0].loss == pytest.approx(loss_of("identity", start_of(FACE), FACE, level), abs=1e-5)
    assert unsaid.previews == {}


def test_a_face_is_chosen(optimize: Call) -> None:
    for face in (pb.FaceSelector(index=1), pb.FaceSelector(box=pb.Box(x=62, y=1, width=34, height=30))):
        told = optimize(FACE, OTHER, mode=MODES["pixelwise"], face=face)
        assert told.face.face.index == 1
        assert told.face.latent == pytest.approx(best_latent("pixelwise", OTHER, LEVEL), abs=0.03)


@pytest.mark.parametrize(("asked", "told"), [(1, 1), (5, 5), (0, 60), (500, 500)])
def test_as_many_steps_as_were_asked_for(optimize: Call, asked: int, told: int) -> None:
    assert len(optimize(search=options(ADAM, asked)).steps) == told


# --- previews ---


@pytest.mark.parametrize(("every", "due"), [(0, []), (1, [1, 2, 3, 4, 5, 6]), (3, [3, 6]), (6, [6]), (7, [])])
def test_previews_come_with_every_so_many_steps(optimize: Call, read: Read, every: int, due: list[int]) -> None:
    told = optimize(mode=MODES["blended"], search=options(ADAM, 7), preview_every=every)
    assert list(told.previews) == due
    for preview in told.previews.values():
        assert (preview.width, preview.height, preview.format) == (SIZE, SIZE, pb.IMAGE_FORMAT_PNG)
        assert read(preview.data).shape == (SIZE, SIZE, 3)


def test_a_preview_is_drawn_from_the_best_latent_so_far(optimize: Call, read: Read) -> None:
    """As the result is of a search that ends there."""
    told = optimize(mode=MODES["pixelwise"], search=options(ADAM, 22), preview_every=1)
    best = int(np.argmin([step.loss for step in told.steps]))
    assert 10 < best < 20, "worse steps follow"
    after = {preview.data for step, preview in told.previews.items() if step >= best}
    assert after == {told.face.reconstruction.data}
    assert told.previews[best // 2].data not in after
    for steps in (2, 10):
        (at_end,) = optimize(mode=MODES["pixelwise"], search=options(ADAM, steps), preview_every=steps - 1).previews
        ended = optimize(mode=MODES["pixelwise"], search=options(ADAM, steps))
        assert at_end == steps - 1
        assert told.previews[steps - 1] == ended.face.reconstruction
        colour = drawn(ended.face.latent, LEVEL)
        assert np.abs(read(told.previews[steps - 1].data) / 255 - colour).max() <= 0.51 / 255


def test_pictures_are_stored_as_asked(optimize: Call, read: Read) -> None:
    output = pb.OutputOptions(format=pb.IMAGE_FORMAT_JPEG, quality=90)
    told = optimize(search=options(steps=3), preview_every=1, output=output)
    for image in (*told.previews.values(), told.face.crop, told.face.reconstruction):
        assert (image.format, image.data[:2]) == (pb.IMAGE_FORMAT_JPEG, b"\xff\xd8")
        assert read(image.data).shape == (SIZE, SIZE, 3)


# --- where it starts ---


def test_a_given_latent_is_the_start(optimize: Call) -> None:
    start = [0.25, -1.5, 0.5, 2.0]
    told = optimize(mode=MODES["blended"], latent=start)
    assert told.steps[0].loss == pytest.approx(loss_of("blended", start, FACE, LEVEL), abs=1e-4)
    assert told.face.latent == pytest.approx(best_latent("blended", FACE, LEVEL), abs=0.03)
    alone = optimize(mode=MODES["blended"], latent=start, search=options(steps=1))
    assert (list(alone.face.latent), alone.face.steps) == (start, 1)


def test_a_search_goes_on_where_another_ended(optimize: Call) -> None:
    first = optimize(mode=MODES["blended"], search=options(steps=4))
    second = optimize(mode=MODES["blended"], latent=first.face.latent)
    assert second.steps[0].loss == pytest.approx(first.steps[-1].best_loss, abs=1e-6)
    assert second.steps[-1].best_loss < first.steps[-1].best_loss


# --- what is rejected ---


@pytest.mark.parametrize(
    ("fields", "reason", "field", "message"),
    [
        ({"mode": pb.RECONSTRUCTION_MODE_INITIAL}, "SETTING_OUT_OF_RANGE", "mode", "known: PIXELWISE, IDENTITY, BLEND"),
        ({"mode": 5}, "SETTING_OUT_OF_RANGE", "mode", "mode 5 cannot be taken here; known: PIXELWISE"),
        (
            {"search": pb.SearchOptions(optimizer=3)},
            "SETTING_OUT_OF_RANGE",
            "search.optimizer",
            "optimizer 3 is unknow",
        ),
        ({"search": options(steps=501)}, "SETTING_OUT_OF_RANGE", "search.max_steps", "between 1 and 500, or 0"),
        ({"search": options(steps=-2)}, "SETTING_OUT_OF_RANGE", "search.max_steps", "-2 steps are out of range"),
        ({"preview_every": -1}, "SETTING_OUT_OF_RANGE", "preview_every", "preview_every is -1; it must be a number"),
        ({"latent": [1.0] * 5}, "LATENT_UNSUITABLE", "latent", "latent has 5 numbers; searching has latents of 4"),
        ({"latent": [math.nan] * LATENT}, "LATENT_UNSUITABLE", "latent", "latents of 4, all from -100 to 100"),
        ({"latent": [0.0, 0.0, 0.0, math.inf]}, "LATENT_UNSUITABLE", "latent", "all from -100 to 100"),
        ({"face": pb.FaceSelector(index=1)}, "FACE_NOT_FOUND", "face", "no face is at index 1; 1 face was found"),
        ({"face": pb.FaceSelector()}, "SETTING_OUT_OF_RANGE", "face", "face names no face"),
        ({"source": pb.Age(years=-1)}, "AGE_OUT_OF_RANGE", "source", "age -1 is out of range"),
        ({"source": pb.Age()}, "TARGET_MISSING", "source", "source is empty"),
        ({"output": {"quality": 101}}, "SETTING_OUT_OF_RANGE", "output.quality", "quality 101"),
        ({"method": "magic"}, "METHOD_UNKNOWN", "method", "no method 'magic'"),
        ({"method": "encoding"}, "METHOD_UNSUITABLE", "method", "those of searching can"),
        (
            {"method": "age_translator"},
            "METHOD_UNSUITABLE",
            "method",
            "has no encoder, so it cannot reconstruct or opti",
        ),
        ({"image": pb.Image()}, "IMAGE_EMPTY", "image.data", "the image is empty"),
        ({"image": pb.Image(data=b"no photo")}, "IMAGE_UNREADABLE", "image.data", "cannot be decoded"),
    ],
)
def test_what_cannot_be_searched_is_rejected(
    searching: FaceAgingStub,
    request_of: Callable[..., pb.OptimizeRequest],
    evaluations: Any,
    fields: dict[str, Any],
    reason: str,
    field: str,
    message: str,
) -> None:
    request = request_of()
    if "image" in fields:
        request.ClearField("image")
    request.MergeFrom(pb.OptimizeRequest(**fields))
    if "source" in fields:
        request.source.CopyFrom(fields["source"])
    expect(rejected_at_once(searching.Optimize, request), reason, field, message)
    assert evaluations.rows == []


def test_a_photo_without_faces_is_rejected(searching: FaceAgingStub, write: Write) -> None:
    request = pb.OptimizeRequest(image=pb.Image(data=write(photo_of())))
    expect(rejected_at_once(searching.Optimize, request), "NO_FACE", "image.data", "no face was found")


def test_a_fault_of_ours_on_the_way_comes_after_the_steps_before_it(
    searching: FaceAgingStub,
    request_of: Callable[..., pb.OptimizeRequest],
    evaluations: Any,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(number: int) -> None:
        if number >= 3:
            raise RuntimeError("the secret of /etc/shadow")

    evaluations.before = fail
    told: list[pb.OptimizeResponse] = []
    with pytest.raises(grpc.RpcError) as caught:
        told.extend(iter(searching.Optimize(request_of(search=options(ADAM, 50)), timeout=SECONDS)))
    rejection = Rejection(caught.value)
    assert (rejection.code, rejection.info.reason) == ("INTERNAL", "INTERNAL")
    assert rejection.message == "the server failed; the request is not to blame"
    assert "secret" not in str(rejection.details)
    assert [message.progress.step for message in told] == [0, 1, 2]
    assert "the secret of /etc/shadow" in caplog.text, "operators must see it"
    (record,) = [record for record in caplog.records if record.name.startswith("dorian_server")]
    assert record.levelno == logging.ERROR
    evaluations.before = lambda number: None
    assert len(list(searching.Optimize(request_of(search=options(ADAM, 5)), timeout=SECONDS))) == 6
