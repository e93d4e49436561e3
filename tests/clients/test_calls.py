"""Each call of the client against a real gRPC server: what is sent, and what is returned in plain Python types."""

from __future__ import annotations

import dataclasses
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from dorian.v1 import face_aging_pb2 as pb
from dorian_client import AgeGroup, Box, Client, Filter, InternalError, NotFound, Provenance, ReachedTarget

Pixels = npt.NDArray[np.uint8]
BOXES = [Box(8, 4, 32, 40), Box(50, 6, 12, 14)]
LATENT = (0.5, -0.25, float(np.float32(0.1)))
PROVENANCE = Provenance("inverter", "fake-bundle", "1.2.3", "ab" * 32)


def test_one_age(client: Client, pixels: Pixels) -> None:
    result = client.age(pixels, 45)
    (photo,) = result.photos
    assert [face.box for face in photo.faces] == BOXES
    assert [face.score for face in photo.faces] == [0.75, 0.5]
    assert [face.source for face in photo.faces] == [34.25, 7.75]
    assert {(face.source_given, face.target, face.error) for face in photo.faces} == {(False, 45.0, None)}
    assert [face.estimated_age_after for face in photo.faces] == [56.75, 30.25]
    assert [face.identity_similarity for face in photo.faces] == [0.875, 0.75]
    assert (photo.target, result.faces_found) == (45.0, 2)
    assert (photo.picture.format, photo.picture.width, photo.picture.height) == ("png", 64, 48)
    assert result.provenance == PROVENANCE
    assert result.times == {"decode": 0.25, "generate": 0.5}
    assert result.seconds == 0.75


def test_several_ages_go_in_one_request_and_keep_their_order(client: Client, fake: Any, pixels: Pixels) -> None:
    ages: list[Any] = ["60+", 8, np.float32(45.5), np.int64(70), "0-18"]
    result = client.age(pixels, ages)
    assert [photo.target for photo in result.photos] == ["60+", 8.0, 45.5, 70.0, "0-18"]
    assert [photo.faces[0].target for photo in result.photos] == [photo.target for photo in result.photos]
    assert [photo.picture.to_array()[0, 0, 0] for photo in result.photos] == [0, 1, 2, 3, 4]
    assert len(fake.requests) == 1


def test_settings_reach_the_server(client: Client, fake: Any, pixels: Pixels) -> None:
    result = client.age(
        pixels, iter([30]), source="19-29", method="other", strength=np.float32(0.5), blend="replace", format="webp",
        quality=77, keep_metadata=True, keep_identity=0.8, keep_hair=True,
    )  # fmt: skip
    (request,) = fake.requests
    assert request.source == pb.Age(group="19-29")
    assert request.method == result.provenance.method == "other"
    assert request.output == pb.OutputOptions(format=pb.IMAGE_FORMAT_WEBP, quality=77, keep_metadata=True)
    assert (request.strength, request.blend, request.keep_identity) == (0.5, pb.BLEND_REPLACE, 0.8)
    assert request.keep_hair
    assert [report.reached for report in result.photos[0].faces] == [ReachedTarget(1, 30), ReachedTarget(0, None)]
    assert result.photos[0].picture.format == "webp"
    assert result.photos[0].faces[0].source_given


def test_nothing_is_set_that_was_not_given(client: Client, fake: Any, pixels: Pixels) -> None:
    client.age(pixels, 30)
    client.compare(pixels, pixels)
    request, comparison = fake.requests
    request.ClearField("image")
    assert request == pb.AgeTransformRequest(targets=[pb.Age(years=30)], output=pb.OutputOptions())
    for photo in ("first", "second"):
        comparison.ClearField(photo)
    assert comparison == pb.CompareFacesRequest()


@pytest.mark.parametrize("call", ["age", "sweep"])
def test_a_strength_of_nothing_is_not_left_out(call: str, client: Client, fake: Any, pixels: Pixels) -> None:
    getattr(client, call)(pixels, **({"to": 30} if call == "age" else {}), strength=0, blend="delta")
    assert fake.requests[-1].HasField("strength")
    assert (fake.requests[-1].strength, fake.requests[-1].blend) == (0, pb.BLEND_DELTA)


@pytest.mark.parametrize(
    ("method", "labels"), [(None, ["0-18", "19-29", "30-39", "60+"]), ("other", ["0-18", "19-29"])]
)
def test_a_sweep_requests_all_age_groups_at_once(
    method: str | None, labels: list[str], client: Client, fake: Any, pixels: Pixels
) -> None:
    result = client.sweep(pixels, method=method, source=25)
    assert [photo.faces[1].target for photo in result.photos] == labels
    assert result.photos[0].faces[0].source == 25.0
    assert [type(request) for request in fake.requests] == [pb.ListMethodsRequest, pb.AgeTransformRequest]
    assert fake.requests[1].method == (method or "inverter")  # the method whose groups these are


def test_a_sweep_of_an_unknown_method(client: Client, pixels: Pixels) -> None:
    with pytest.raises(NotFound, match="'nonsense'; the server has inverter, other, painter") as caught:
        client.sweep(pixels, method="nonsense")
    assert (caught.value.code, caught.value.reason, caught.value.field) == ("NOT_FOUND", "METHOD_UNKNOWN", "method")


def test_reconstruct(client: Client, pixels: Pixels) -> None:
    result = client.reconstruct(pixels, source=20)
    assert [face.box for face in result.faces] == BOXES
    face = result.faces[1]
    assert face.crop is not None
    assert face.picture is not None
    np.testing.assert_array_equal(face.crop.to_array(), pixels[6:20, 50:62])
    np.testing.assert_array_equal(face.picture.to_array(), 255 - pixels[6:20, 50:62])
    assert (face.latent, face.source, face.source_given, face.pixel_error) == (LATENT, 20.0, True, 0.125)
    assert (face.identity_similarity, face.steps, face.error) == (0.625, 0, None)
    assert (result.provenance, result.seconds) == (PROVENANCE, 0.5)


def test_methods_and_bundle(client: Client) -> None:
    bundle = client.bundle()
    assert (bundle.name, bundle.version, bundle.sha256) == ("fake-bundle", "1.2.3", "ab" * 32)
    assert (bundle.weights_licence, bundle.server_version) == ("CC0-1.0", "0.0.1")
    assert (bundle.false_accept_rates, bundle.bundles) == ((0.01, 0.001), ("fake-bundle",))
    first, second, third = client.methods()
    assert (first.name, first.family, first.description, first.crop_size) == ("inverter", "fake", "Inverts.", 64)
    assert (first.is_default, second.is_default) == (True, False)
    assert first.age_groups[0] == AgeGroup("0-18", 0, 18, 0.0)
    assert first.age_groups[-1] == AgeGroup("60+", 60, None, 60.0)
    assert (first.filters, third.age_groups, third.filters) == ((), (), (Filter("young"), Filter("old")))
    assert [filter.description for filter in third.filters] == ["Younger.", "Older."]
    abilities = [(method.reconstructs, method.optimises, method.changes_hair) for method in (first, second, third)]
    assert abilities == [(True, True, True), (True, False, False), (False, False, False)]


def test_results_are_frozen_and_free_of_messages(client: Client, pixels: Pixels) -> None:
    result = client.age(pixels, 45)
    with pytest.raises(dataclasses.FrozenInstanceError):
        result.photos = ()  # type: ignore[misc]
    pending: list[Any] = [dataclasses.asdict(result), dataclasses.asdict(client.reconstruct(pixels))]
    with client.optimize(pixels, preview_every=1) as search:
        pending += map(dataclasses.asdict, (*search, search.result()))
    pending += map(dataclasses.asdict, (client.bundle(), client.detect(pixels), client.compare(pixels, pixels)))
    while pending:
        value = pending.pop()
        assert type(value) in (dict, list, tuple, str, bytes, int, float, bool, type(None)), type(value)
        pending += value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else []


def test_messages_above_grpcs_default_limit_pass(client: Client) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (1200, 1500, 3), dtype=np.uint8)
    picture = client.age(noise, "60+").photos[0].picture
    assert len(picture.data) > 4 * 2**20
    np.testing.assert_array_equal(picture.to_array()[1:], 255 - noise[1:])


def test_threads_share_a_client(client: Client, pixels: Pixels) -> None:
    def age(shift: int) -> bool:
        photo = pixels + np.uint8(shift)
        return bool((client.age(photo, shift).photos[0].picture.to_array()[1:] == 255 - photo[1:]).all())

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(age, range(32)))


def test_a_closed_client_makes_no_calls(fake: Any) -> None:
    with Client(fake.address) as client:
        client.methods()
    client.close()
    with pytest.raises(ValueError, match="closed"):
        client.methods()


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"to": True}, TypeError, "an age cannot be bool"),
        ({"to": b"60+"}, TypeError, "an age cannot be bytes"),
        ({"to": [None]}, TypeError, "an age cannot be NoneType"),
        ({"to": 30, "source": [1]}, TypeError, "an age cannot be list"),
        (
            {"to": 30, "source": Filter("old")},
            TypeError,
            "a source age cannot be the filter 'old'; a filter can only be a target",
        ),
        ({"to": 30, "format": "gif"}, ValueError, "'gif'; give one of jpeg, png, webp"),
        ({"to": 30, "quality": 2**40}, ValueError, "a quality cannot be"),
        ({"to": 30, "strength": "1"}, TypeError, "a strength cannot be str; give a number"),
        ({"to": 30, "strength": True}, TypeError, "a strength cannot be bool"),
        ({"to": 30, "keep_identity": "much"}, TypeError, "an identity budget cannot be str; give a number"),
        ({"to": 30, "blend": "add"}, ValueError, "a blend cannot be 'add'; give one of delta, replace"),
    ],
)
def test_wrong_arguments(
    arguments: dict[str, Any], kind: type[Exception], message: str, client: Client, fake: Any, pixels: Pixels
) -> None:
    with pytest.raises(kind, match=message):
        client.age(pixels, **arguments)
    assert fake.requests == []


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"address": ""}, "empty"),
        ({"timeout": 0}, "timeout cannot be 0"),
        ({"retries": -1}, "retries cannot be -1; give 0"),
        ({"priority": "urgent"}, "'urgent'; give one of interactive, batch"),
    ],
)
def test_wrong_settings(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Client(**arguments)


def test_a_server_that_leaves_ages_out(client: Client, fake: Any, pixels: Pixels) -> None:
    fake.on_response = lambda response: pb.AgeTransformResponse(results=response.results[1:])
    with pytest.raises(InternalError, match="sent 1 photos for 2 targets"):
        client.age(pixels, [20, 30])
