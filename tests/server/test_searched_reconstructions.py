"""Reconstruct over a real socket, with latents that are searched: what each mode finds, in how many steps, and what is rejected."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_bundle import Bundle
from dorian_bundle.ages import PAPER_GROUPS
from dorian_bundle.graphs import MAX_BATCH_ROWS
from dorian_server.domain.requests import Objective
from dorian_server.runtimes.batcher import Batcher
from dorian_server.runtimes.session import Session
from dorian_server.settings import Limits, Load
from tests.server.recorded_queue import RecordedQueue
from tests.server.rejections import expect, rejected
from tests.server.tiny_searches import (
    LATENT,
    LEVELS,
    SIZE,
    YEARS_PER_BLUE,
    best_latent,
    drawn,
    level_of,
    loss_of,
    photo_of,
    start_of,
    terms_of,
    write_search_bundle,
)

Pixels = NDArray[np.uint8]
Write = Callable[..., bytes]
Read = Callable[[bytes], Pixels]
Call = Callable[..., pb.ReconstructResponse]

SECONDS = 120
MODES: dict[Objective, pb.ReconstructionMode] = {
    "pixelwise": pb.RECONSTRUCTION_MODE_PIXELWISE,
    "identity": pb.RECONSTRUCTION_MODE_IDENTITY,
    "blended": pb.RECONSTRUCTION_MODE_BLENDED,
}
INITIAL, IDENTITY = pb.RECONSTRUCTION_MODE_INITIAL, pb.RECONSTRUCTION_MODE_IDENTITY
L_BFGS_B, ADAM = pb.OPTIMIZER_L_BFGS_B, pb.OPTIMIZER_ADAM
GROUP = 5  # the age at which faces are drawn, unless another is said
LEVEL = float(LEVELS[GROUP])
AT = pb.Age(group=PAPER_GROUPS[GROUP].label)
FACE, OTHER = (220, 160, 60), (40, 90, 180)  # the brighter is the first
NEAR = 0.03  # of the best latent


@pytest.fixture
def reconstruct(searching: FaceAgingStub, write: Write) -> Call:
    """Calls Reconstruct with a photo of faces of these colours, drawn at ``AT``."""

    def call(*colours: tuple[int, int, int], stub: FaceAgingStub = searching, **fields: Any) -> pb.ReconstructResponse:
        image = pb.Image(data=write(photo_of(*(colours or (FACE,)))))
        return stub.Reconstruct(pb.ReconstructRequest(image=image, **{"source": AT} | fields), timeout=SECONDS)

    return call


@pytest.fixture
def line(monkeypatch: pytest.MonkeyPatch) -> RecordedQueue:
    """Who waits for a graph of losses and gradients, which servers that are started from now on run one at a time."""
    noted = RecordedQueue()

    def watched(session: Session, **settings: Any) -> Batcher:
        searched = "weights" in {item.name for item in session.signature.inputs}
        return Batcher(session, lanes=1, watch=noted if searched else settings["watch"])

    monkeypatch.setattr("dorian_server.serving.bundles.Batcher", watched)
    monkeypatch.setattr("dorian_server.serving.bundles.warm_up", lambda session: MAX_BATCH_ROWS)
    return noted


def options(optimizer: pb.Optimizer = pb.OPTIMIZER_UNSPECIFIED, steps: int = 0) -> pb.SearchOptions:
    return pb.SearchOptions(optimizer=optimizer, max_steps=steps)


def expect_drawn(face: pb.Reconstruction, colour: tuple[int, int, int], level: float, read: Read) -> None:
    """All that is said of a reconstruction is what its latent draws."""
    pixelwise, identity, _ = terms_of(face.latent, colour, level)
    assert face.pixel_error == pytest.approx(np.sqrt(pixelwise), abs=0.003), "pictures are in whole levels"
    assert face.identity_similarity == pytest.approx(1 - identity / 2, abs=0.003)
    assert (read(face.crop.data) == colour).all()
    picture = read(face.reconstruction.data)
    assert picture.shape == (SIZE, SIZE, 3)
    assert np.abs(picture / 255 - drawn(face.latent, level)).max() <= 0.51 / 255


# --- what is found ---


def test_the_first_approximation_takes_no_steps(reconstruct: Call, evaluations: Any, read: Read) -> None:
    for mode in (pb.RECONSTRUCTION_MODE_UNSPECIFIED, INITIAL):
        response = reconstruct(mode=mode, method="searching", search=options(ADAM, 9))
        (face,) = response.faces
        assert face.latent == pytest.approx(start_of(FACE), abs=1e-5)
        assert face.steps == 0
        expect_drawn(face, FACE, LEVEL, read)
        assert "optimise" not in {time.stage for time in response.times}
    assert evaluations.rows == []


@pytest.mark.parametrize("aim", MODES)
@pytest.mark.parametrize("optimizer", [L_BFGS_B, ADAM])
def test_each_mode_finds_what_it_aims_at(
    reconstruct: Call, read: Read, aim: Objective, optimizer: pb.Optimizer
) -> None:
    steps = 60 if optimizer == L_BFGS_B else 300
    (face,) = reconstruct(mode=MODES[aim], search=options(optimizer, steps)).faces
    best = best_latent(aim, FACE, LEVEL)
    assert face.latent == pytest.approx(best, abs=NEAR)
    assert loss_of(aim, best, FACE, LEVEL) <= loss_of(aim, face.latent, FACE, LEVEL)
    assert loss_of(aim, face.latent, FACE, LEVEL) < 0.5 * loss_of(aim, start_of(FACE), FACE, LEVEL)
    assert 1 < face.steps <= steps
    assert (face.source, face.source_given) == (AT, True)
    expect_drawn(face, FACE, LEVEL, read)


def test_each_mode_comes_nearer_by_its_own_measure(reconstruct: Call) -> None:
    faces = {mode: reconstruct(mode=mode, method="searching").faces[0] for mode in (INITIAL, *MODES.values())}
    initial, pixelwise, identity, blended = faces.values()
    assert pixelwise.pixel_error < 0.02 < initial.pixel_error
    assert identity.identity_similarity > 0.99 > initial.identity_similarity
    assert identity.pixel_error > initial.pixel_error, "pixels count for nothing there"
    assert blended.pixel_error < initial.pixel_error
    assert blended.identity_similarity > initial.identity_similarity
    assert len({tuple(face.latent) for face in faces.values()}) == 4


def test_the_best_is_given_where_steps_run_out(reconstruct: Call) -> None:
    losses = []
    for steps in (1, 2, 3, 5, 9):
        (face,) = reconstruct(mode=MODES["blended"], search=options(steps=steps)).faces
        losses.append(loss_of("blended", face.latent, FACE, LEVEL))
        assert face.steps == steps
    assert losses == sorted(losses, reverse=True)
    assert losses[0] == pytest.approx(loss_of("blended", start_of(FACE), FACE, LEVEL), abs=1e-5)


def test_the_age_at_which_a_face_is_drawn_counts(reconstruct: Call) -> None:
    for group, level in zip(PAPER_GROUPS, LEVELS, strict=True):
        (face,) = reconstruct(mode=MODES["pixelwise"], source=pb.Age(group=group.label)).faces
        assert face.latent == pytest.approx(best_latent("pixelwise", FACE, level), abs=NEAR)


def test_an_age_that_is_not_given_is_the_one_that_the_face_looks(reconstruct: Call, read: Read) -> None:
    (face,) = reconstruct(mode=MODES["pixelwise"], source=None).faces
    years = YEARS_PER_BLUE * FACE[2] / 255
    assert face.source.years == pytest.approx(years, abs=1e-3)
    assert not face.source_given
    assert face.latent == pytest.approx(best_latent("pixelwise", FACE, level_of(years)), abs=NEAR)
    expect_drawn(face, FACE, level_of(years), read)


# --- steps and stages ---


def test_steps_are_the_evaluations_that_were_made(reconstruct: Call, evaluations: Any) -> None:
    for search in (options(), options(ADAM, 25), options(steps=3)):
        evaluations.rows.clear()
        (face,) = reconstruct(mode=IDENTITY, search=search).faces
        assert face.steps == len(evaluations.rows)
        assert set(evaluations.rows) == {1}


@pytest.mark.parametrize(("asked", "taken"), [(25, 25), (0, 60), (500, 500)])
def test_as_many_steps_as_were_asked_for(reconstruct: Call, asked: int, taken: int) -> None:
    (face,) = reconstruct(mode=IDENTITY, search=options(ADAM, asked)).faces
    assert face.steps == taken


def test_the_usual_optimizer_is_l_bfgs_b(reconstruct: Call) -> None:
    unsaid, said, adam = (
        reconstruct(mode=IDENTITY, search=options(item)).faces[0] for item in (pb.OPTIMIZER_UNSPECIFIED, L_BFGS_B, ADAM)
    )
    assert unsaid == said
    assert unsaid.steps < 60 == adam.steps


def test_a_servers_limit_goes_before_the_usual_number_of_steps(
    serve: Callable[..., FaceAgingStub], searching_bundle: Bundle, reconstruct: Call, write: Write
) -> None:
    stub = serve(searching_bundle, limits=Limits(max_steps=7))
    (face,) = reconstruct(mode=IDENTITY, search=options(ADAM), stub=stub).faces
    assert face.steps == 7
    request = pb.ReconstructRequest(image=pb.Image(data=write(photo_of(FACE))), mode=IDENTITY, search=options(steps=8))
    words = "8 steps are out of range; they must be between 1 and 7, or 0 for the usual number"
    expect(rejected(stub.Reconstruct, request), "SETTING_OUT_OF_RANGE", "search.max_steps", words)


def test_where_it_comes_from_and_its_time_by_stage(reconstruct: Call, searching_bundle: Bundle) -> None:
    response = reconstruct(mode=IDENTITY)
    assert response.provenance == pb.Provenance(
        method="searching", bundle="tiny", bundle_version="1", bundle_sha256=searching_bundle.sha256
    )
    stages = ["decode", "detect", "align", "read", "encode", "optimise", "generate", "reread", "write"]
    assert [time.stage for time in response.times] == stages
    assert all(0 < time.seconds < SECONDS for time in response.times)


# --- several faces, several callers ---


def test_each_face_has_its_own_latent(reconstruct: Call, read: Read) -> None:
    alone = [reconstruct(colour, mode=MODES["blended"]).faces[0] for colour in (FACE, OTHER)]
    first, second = reconstruct(FACE, OTHER, mode=MODES["blended"]).faces
    assert [first.face.index, second.face.index] == [0, 1]
    for face, colour, before in ((first, FACE, alone[0]), (second, OTHER, alone[1])):
        assert face.latent == pytest.approx(best_latent("blended", colour, LEVEL), abs=NEAR)
        assert face.latent == pytest.approx(before.latent, abs=1e-3)
        expect_drawn(face, colour, LEVEL, read)


def test_named_faces_alone_are_searched(reconstruct: Call, evaluations: Any) -> None:
    names = [pb.FaceSelector(index=7), pb.FaceSelector(index=1)]
    face, lost = reconstruct(FACE, OTHER, mode=IDENTITY, faces=names).faces
    assert face.face.index == 1
    assert sum(evaluations.rows) == face.steps
    assert (lost.error.reason, lost.error.message) == ("FACE_NOT_FOUND", "no face is at index 7; 2 faces were found")
    assert (lost.steps, list(lost.latent)) == (0, [])


@pytest.mark.parametrize("callers", [2, 4])
def test_concurrent_searches_share_runs(
    serve: Callable[..., FaceAgingStub],
    searching_bundle: Bundle,
    reconstruct: Call,
    evaluations: Any,
    line: RecordedQueue,
    callers: int,
) -> None:
    """The first run waits until all have come; what they do then they do together, and find what they would alone."""
    colours = [FACE, OTHER, (200, 200, 90), (120, 60, 80)][:callers]
    alone = [reconstruct(colour, mode=IDENTITY, search=options(ADAM, 12)).faces[0] for colour in colours]
    stub = serve(searching_bundle, load=Load(workers=callers))
    evaluations.rows.clear()
    evaluations.before = lambda number: None if number else line.await_waiting(callers - 1)
    with ThreadPoolExecutor(callers) as pool:
        responses = pool.map(
            lambda colour: reconstruct(colour, mode=IDENTITY, search=options(ADAM, 12), stub=stub), colours
        )
        result = [response.faces[0] for response in responses]
    for face, before in zip(result, alone, strict=True):
        assert face.steps == 12
        assert face.latent == pytest.approx(before.latent, abs=1e-4)
    assert evaluations.rows[0] == 1
    assert evaluations.rows[1] >= callers - 1, "the first may be back in time"
    assert sum(evaluations.rows) == 12 * callers


def test_the_faces_of_a_request_share_runs(
    serve: Callable[..., FaceAgingStub],
    searching_bundle: Bundle,
    reconstruct: Call,
    evaluations: Any,
    line: RecordedQueue,
) -> None:
    stub = serve(searching_bundle)
    evaluations.before = lambda number: None if number else line.await_waiting(3)
    colours = (FACE, OTHER, (200, 200, 90), (120, 60, 80))
    faces = reconstruct(*colours, mode=IDENTITY, search=options(ADAM, 5), stub=stub).faces
    assert [face.steps for face in faces] == [5] * 4
    assert evaluations.rows[0] == 1
    assert evaluations.rows[1] >= 3
    assert sum(evaluations.rows) == 20


# --- which method ---


def test_an_empty_method_is_the_first_that_can(reconstruct: Call) -> None:
    for mode in (pb.RECONSTRUCTION_MODE_UNSPECIFIED, INITIAL):
        assert reconstruct(mode=mode).provenance.method == "encoding"
    for mode in MODES.values():
        response = reconstruct(mode=mode)
        assert response.provenance.method == "searching"
        assert response == response.__class__.FromString(response.SerializeToString())
        assert len(response.faces[0].latent) == LATENT


def test_methods_say_what_can_be_done_with_their_latents(searching: FaceAgingStub) -> None:
    methods = searching.ListMethods(pb.ListMethodsRequest(), timeout=SECONDS).methods
    assert {item.name: (item.family, item.reconstructs, item.optimises) for item in methods} == {
        "age_translator": ("age_translator", False, False),
        "encoding": ("age_cgan", True, False),
        "searching": ("age_cgan", True, True),
    }


# --- what is rejected ---


@pytest.mark.parametrize(
    ("fields", "reason", "field", "words"),
    [
        ({"mode": 9}, "SETTING_OUT_OF_RANGE", "mode", "known: INITIAL, PIXELWISE, IDENTITY, BLENDED"),
        ({"search": options(steps=501)}, "SETTING_OUT_OF_RANGE", "search.max_steps", "501 steps are out of range"),
        ({"search": options(steps=-1)}, "SETTING_OUT_OF_RANGE", "search.max_steps", "between 1 and 500, or 0 for"),
        ({"search": pb.SearchOptions(optimizer=3)}, "SETTING_OUT_OF_RANGE", "search.optimizer", "known: L_BFGS_B, AD"),
        ({"source": pb.Age(years=121)}, "AGE_OUT_OF_RANGE", "source", "age 121 is out of range"),
        ({"source": pb.Age(filter="old")}, "TARGET_UNSUITABLE", "source", "is no age that a face has"),
        ({"faces": [pb.FaceSelector(index=4)]}, "FACE_NOT_FOUND", "faces[0]", "no face is at index 4; 1 face was"),
        ({"method": "magic"}, "METHOD_UNKNOWN", "method", "it has age_translator, encoding, searching"),
        ({"method": "encoding"}, "METHOD_UNSUITABLE", "method", "cannot be searched; those of searching can"),
        ({"method": "age_translator"}, "METHOD_UNSUITABLE", "method", "reconstruct or optimise; searching can"),
    ],
)
def test_what_cannot_be_searched_is_rejected(
    searching: FaceAgingStub,
    write: Write,
    evaluations: Any,
    fields: dict[str, Any],
    reason: str,
    field: str,
    words: str,
) -> None:
    image = pb.Image(data=write(photo_of(FACE)))
    request = pb.ReconstructRequest(image=image, **{"mode": IDENTITY} | fields)
    expect(rejected(searching.Reconstruct, request), reason, field, words)
    assert evaluations.rows == []


def test_options_of_a_search_count_for_nothing_without_one(reconstruct: Call) -> None:
    assert reconstruct(search=pb.SearchOptions(optimizer=3, max_steps=-1)).faces == reconstruct().faces


def test_a_bundle_whose_latents_cannot_be_searched_says_so(
    serve: Callable[..., FaceAgingStub], tmp_path: Any, write: Write
) -> None:
    stub = serve(write_search_bundle(tmp_path / "bundle", "encoding"))
    (method,) = stub.ListMethods(pb.ListMethodsRequest(), timeout=SECONDS).methods
    assert (method.reconstructs, method.optimises) == (True, False)
    image = pb.Image(data=write(photo_of(FACE)))
    assert len(stub.Reconstruct(pb.ReconstructRequest(image=image), timeout=SECONDS).faces) == 1
    for name in ("", "encoding"):
        request = pb.ReconstructRequest(image=image, mode=IDENTITY, method=name)
        words = "the latents of encoding cannot be searched; those of no method can"
        expect(rejected(stub.Reconstruct, request), "METHOD_UNSUITABLE", "method", words)
