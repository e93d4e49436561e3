"""What calls cost, told from their headers, and what is learned from those that are done."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from PIL import Image

from dorian_server.admission import cost
from dorian_server.admission.cost import Cost
from dorian_server.admission.estimates import Estimates
from dorian_server.domain.errors import RequestError
from dorian_server.domain.requests import (
    Age,
    AgeRequest,
    CompareRequest,
    FaceSelector,
    MixRequest,
    OptimizeRequest,
    Output,
    ReconstructRequest,
    ReferenceChoice,
    SearchSettings,
    StyleReference,
)
from dorian_server.settings import Limits

Write = Callable[..., bytes]
LIMITS = Limits()
YEARS = Age(years=60)


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def estimates(clock: Clock) -> Estimates:
    return Estimates(clock)


@pytest.fixture(scope="module")
def photo(write: Write) -> bytes:
    """Two megapixels."""
    return write(Image.new("RGB", (2000, 1000), "grey"), "JPEG")


# --- costs ---


def test_an_identity_budget_costs_its_search(photo: bytes) -> None:
    plain = cost.cost_of_ageing(AgeRequest(photo, [YEARS] * 3, faces=[FaceSelector()] * 2), LIMITS)
    held = cost.cost_of_ageing(AgeRequest(photo, [YEARS] * 3, faces=[FaceSelector()] * 2, keep_identity=0.5), LIMITS)
    assert held.units == plain.units | {"identity": 2 * 3 * 6}
    assert held.memory == plain.memory


def test_ageing_costs_by_pixels_targets_and_formats(photo: bytes, write: Write) -> None:
    one = cost.cost_of_ageing(AgeRequest(photo, [YEARS]), LIMITS)
    assert one.units["decode JPEG"] == 2
    assert one.units["write JPEG"] == one.units["paste"] == 2
    assert one.units["generate"] == one.units["reread"] == one.units["read"] == one.faces == 1
    assert one.units["detect"] == pytest.approx(0.1 + 2 * 0.96**2), "in a photo reduced to 1920 pixels"
    six = cost.cost_of_ageing(AgeRequest(photo, [YEARS] * 6, output=Output("PNG")), LIMITS)
    assert (six.units["write PNG"], six.units["generate"], six.units["decode JPEG"]) == (12, 6, 2)
    two_faces = AgeRequest(photo, [YEARS], faces=[FaceSelector(0), FaceSelector(1)])
    assert cost.cost_of_ageing(two_faces, LIMITS).units["generate"] == 2
    assert "decode PNG" in cost.cost_of_detection(write(Image.new("RGB", (64, 64))), LIMITS).units


def test_searches_cost_by_steps_and_can_give_way(photo: bytes) -> None:
    full, fast = (
        cost.cost_of_ageing(AgeRequest(photo, [YEARS], optimisation=budget), LIMITS) for budget in ("full", "fast")
    )
    assert full.units["optimise"] == 4 * fast.units["optimise"]
    searches = [
        full,
        cost.cost_of_reconstruction(ReconstructRequest(photo, search=SearchSettings(steps=7)), LIMITS),
        cost.cost_of_optimisation(OptimizeRequest(photo, SearchSettings(steps=0)), LIMITS),
    ]
    assert [call.units["optimise"] for call in searches[1:]] == [7, 60]
    assert all(call.is_search for call in searches)
    assert [call.is_endless for call in searches] == [False, False, True]
    others = [
        cost.cost_of_ageing(AgeRequest(photo, [YEARS]), LIMITS),
        cost.cost_of_reconstruction(ReconstructRequest(photo), LIMITS),
        cost.cost_of_detection(photo, LIMITS),
        cost.cost_of_comparison(CompareRequest(photo, photo), LIMITS),
    ]
    assert not any(call.is_search or "optimise" in call.units for call in others)
    assert others[-1].units["decode JPEG"] == 4, "two photos"


def test_mixing_costs_by_the_photos_of_references_too(photo: bytes, write: Write) -> None:
    small, large = (write(Image.new("RGB", size), "PNG") for size in ((1000, 1000), (6000, 4000)))
    alone = cost.cost_of_mixing(MixRequest(photo, choice=ReferenceChoice(YEARS), preset="mid"), LIMITS)
    assert (alone.units["decode JPEG"], alone.units["encode"], alone.units["read"], alone.faces) == (2, 1, 1, 1)
    references = [StyleReference(small), StyleReference(photo), StyleReference(large)]
    mixed = cost.cost_of_mixing(MixRequest(photo, references, preset="mid"), LIMITS)
    assert (mixed.units["decode JPEG"], mixed.units["decode PNG"]) == (4, 25)
    assert (mixed.units["encode"], mixed.units["read"], mixed.units["generate"], mixed.faces) == (4, 4, 1, 4)
    assert mixed.units["detect"] > alone.units["detect"] * 3
    assert mixed.message_bytes == 2 * len(photo) + len(small) + len(large)
    assert mixed.memory >= cost.cost_of_detection(large, LIMITS).memory > alone.memory
    assert not mixed.is_search


def test_memory_grows_with_pixels_and_what_is_made_of_them(write: Write) -> None:
    photo = write(Image.new("RGB", (6000, 4000)), "JPEG")

    def needed(targets: int = 1, with_delta: bool = False, **output: object) -> int:
        request = AgeRequest(photo, [YEARS] * targets, output=Output(**output), with_delta=with_delta)  # type: ignore[arg-type]
        return cost.cost_of_ageing(request, LIMITS).memory

    assert needed() < needed(format="PNG") < needed(4, format="PNG") < needed(7, format="PNG")
    assert needed() < needed(with_delta=True)
    assert needed(format="WEBP") < needed(format="WEBP", quality=100)
    assert cost.cost_of_detection(photo, LIMITS).memory <= needed()


# --- responses that would be too large ---


def test_too_many_targets_of_a_large_photo_are_rejected_before_any_work(photo: bytes) -> None:
    limits = Limits(max_response_bytes=30_000_000)
    cost.cost_of_ageing(AgeRequest(photo, [YEARS] * 4, output=Output("PNG")), limits)
    cost.cost_of_ageing(AgeRequest(photo, [YEARS] * 6), limits)
    with pytest.raises(RequestError) as caught:
        cost.cost_of_ageing(AgeRequest(photo, [YEARS] * 6, output=Output("PNG")), limits)
    assert (caught.value.reason, caught.value.field) == ("TARGET_TOO_MANY", "targets")
    assert str(caught.value) == (
        "6 photos of 2000×1000 pixels as PNG may have 37,200,000 bytes, and a response has at most 30,000,000 bytes; "
        "ask for at most 4 targets, or for JPEG"
    )


def test_a_photo_whose_answer_alone_is_too_large_is_rejected(photo: bytes) -> None:
    with pytest.raises(RequestError, match="send a smaller photo, or ask for JPEG") as caught:
        cost.cost_of_ageing(AgeRequest(photo, [YEARS], output=Output("PNG")), Limits(max_response_bytes=6_000_000))
    assert (caught.value.reason, caught.value.field) == ("IMAGE_TOO_LARGE", "image.data")


def test_no_response_that_is_let_in_passes_protobufs_limit() -> None:
    with pytest.raises(ValueError, match="less than or equal"):
        Limits(max_response_bytes=2**31)


def test_a_photo_beyond_a_limit_is_rejected_before_it_waits(photo: bytes) -> None:
    limits = Limits(max_pixels=1_000_000)
    for reckon in (
        lambda: cost.cost_of_ageing(AgeRequest(photo, [YEARS]), limits),
        lambda: cost.cost_of_detection(photo, limits),
        lambda: cost.cost_of_reconstruction(ReconstructRequest(photo), limits),
        lambda: cost.cost_of_optimisation(OptimizeRequest(photo, SearchSettings()), limits),
    ):
        with pytest.raises(RequestError, match="at most 1,000,000 pixels") as caught:
            reckon()
        assert caught.value.field == "image.data"
    with pytest.raises(RequestError, match="the second photo: the image is empty") as caught:
        cost.cost_of_comparison(CompareRequest(photo, b""), LIMITS)
    assert (caught.value.reason, caught.value.field) == ("IMAGE_EMPTY", "second.data")
    empty = StyleReference(b"")
    with pytest.raises(RequestError, match=r"references\[1\]: the image is empty") as caught:
        cost.cost_of_mixing(MixRequest(photo, [StyleReference(photo), empty], preset="mid"), LIMITS)
    assert (caught.value.reason, caught.value.field) == ("IMAGE_EMPTY", "references[1].image.data")
    with pytest.raises(RequestError, match="at most 1,000,000 pixels") as caught:
        cost.cost_of_mixing(MixRequest(photo, preset="mid"), limits)
    assert caught.value.field == "image.data"


# --- learning ---

LARGE = Cost({"decode JPEG": 48, "detect": 4, "read": 1, "generate": 1, "paste": 48, "write JPEG": 48, "rest": 1})
SMALL = Cost(
    {"decode JPEG": 0.25, "detect": 0.3, "read": 1, "generate": 1, "paste": 0.25, "write JPEG": 0.25, "rest": 1}
)
STAGES_OF_LARGE = {"decode": 0.5, "detect": 0.4, "read": 0.01, "generate": 0.01, "paste": 0.1, "write": 0.4}


def test_one_large_photo_teaches_what_small_ones_take(estimates: Estimates) -> None:
    estimates.record(LARGE, 1.425, STAGES_OF_LARGE, faces=1)
    expected = 0.25 * 1.0 / 48 + 0.3 * 0.1 + 0.02 + 0.005
    assert estimates.expected(LARGE) == estimates.fastest(LARGE) == pytest.approx(1.425)
    assert estimates.expected(SMALL) == estimates.fastest(SMALL) == pytest.approx(expected)
    assert expected < 0.07, "and not the second that the large one took"


def test_many_faces_teach_what_one_takes(estimates: Estimates) -> None:
    estimates.record(SMALL, 2.1, {"decode": 0.01, "read": 1.0, "generate": 1.0}, faces=20)
    assert estimates.fastest(SMALL) == pytest.approx(0.01 + 0.1 + 0.09)


def test_stages_that_a_call_did_without_teach_nothing(estimates: Estimates) -> None:
    searched = Cost({"decode JPEG": 1, "optimise": 15, "rest": 1}, is_search=True)
    estimates.record(searched, 0.2, {"decode": 0.1}, faces=1)
    assert estimates.expected(searched) == pytest.approx(0.2 + 15 * 0.1)


def test_two_photos_of_different_formats_share_the_time_of_decoding(estimates: Estimates) -> None:
    both = Cost({"decode JPEG": 1, "decode PNG": 1, "rest": 1})
    estimates.record(both, 0.14, {"decode": 0.14})
    assert estimates.expected(Cost({"decode JPEG": 1})) == pytest.approx(0.04), "as 2 to 5, as was expected"
    assert estimates.expected(Cost({"decode PNG": 1})) == pytest.approx(0.1)


def test_what_was_fastest_fades_unless_it_is_confirmed(estimates: Estimates, clock: Clock) -> None:
    call = Cost({"generate": 1})
    estimates.record(call, 1.0)
    clock.now += 30
    assert estimates.fastest(call) == pytest.approx(0.5)
    estimates.record(call, 1.2)
    assert estimates.fastest(call) == pytest.approx(1.0)
    clock.now += 300
    assert estimates.fastest(call) < 0.01
    assert estimates.expected(call) > 1.0, "which only calls change"
