"""Valid calls, each with a check of its response."""

from __future__ import annotations

import io
import math
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

import grpc
from PIL import Image

from bench.load import photos
from bench.load.calls import FULL, OK, PATIENCE, outcome
from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingStub

GROUPS = ("0-18", "19-29", "30-39", "40-49", "50-59", "60+")
BATCH = (("dorian-priority", "batch"),)
_STEPS = 5  # of a search


@dataclass(frozen=True)
class Server:
    """Where calls go: ``stub`` on a connection that several share, and ``address`` for those who want one of their own."""

    stub: FaceAgingStub
    address: str


Make = Callable[[Server, Random], Awaitable[str]]


@dataclass(frozen=True)
class Kind:
    """A kind of call: how to ``make`` one, what may become of it, and how ``often`` it comes, relative to the others."""

    name: str
    often: float
    make: Make
    allowed: frozenset[str]


def kind(name: str, often: float, make: Make, *allowed: str) -> Kind:
    """A kind that also may find the queue full."""
    return Kind(name, often, make, frozenset([*allowed, FULL]))


async def checked(call: Awaitable[Any], wrong: Callable[[Any], str]) -> str:
    """What becomes of ``call``; an answer that ``wrong`` finds fault with is no good one."""
    answers: list[Any] = []

    async def take() -> None:
        answers.append(await call)

    word = await outcome(take())
    fault = wrong(answers[0]) if word == OK else ""
    return f"wrong answer: {fault}" if fault else word


def good_kinds() -> list[Kind]:
    return [
        kind("age, one target", 30, _age(1), OK),
        kind("age, six targets", 2, _age(6), OK),
        kind("age, batch", 6, _age(1, BATCH), OK),
        kind("age, 512 by 512", 2, _age_large, OK),
        kind("age, searched", 0.3, _age_searched, OK),
        kind("detect", 16, _detect, OK),
        kind("compare", 6, _compare, OK),
        Kind("methods", 8, _methods, frozenset([OK])),
        kind("reconstruct", 3, _reconstruct(pb.RECONSTRUCTION_MODE_INITIAL), OK),
        kind("reconstruct, identity", 1, _reconstruct(pb.RECONSTRUCTION_MODE_IDENTITY), OK),
        kind("optimize, to the end", 1, _optimize, OK),
    ]


def age_request(photo: bytes, count: int = 1, choice: Random | None = None) -> pb.AgeTransformRequest:
    """One photo to ``count`` ages."""
    groups = (choice or Random(0)).sample(GROUPS, count)
    return pb.AgeTransformRequest(image=pb.Image(data=photo), targets=[pb.Age(group=group) for group in groups])


def optimize_request(steps: int = _STEPS) -> pb.OptimizeRequest:
    return pb.OptimizeRequest(
        image=pb.Image(data=photos.head()), search=pb.SearchOptions(max_steps=steps), preview_every=2
    )


def _age(count: int, metadata: Sequence[tuple[str, str]] = ()) -> Make:
    def make(server: Server, choice: Random) -> Awaitable[str]:
        request = age_request(photos.head(), count, choice)
        call = server.stub.AgeTransform(request, timeout=PATIENCE, metadata=metadata)
        return checked(call, lambda answer: wrong_pictures(answer, count, photos.HEAD_SIZE))

    return make


def _age_large(server: Server, choice: Random) -> Awaitable[str]:
    call = server.stub.AgeTransform(age_request(photos.person(), 1, choice), timeout=PATIENCE)
    return checked(call, lambda answer: wrong_pictures(answer, 1, photos.PERSON_SIZE))


def _age_searched(server: Server, choice: Random) -> Awaitable[str]:
    request = age_request(photos.head(), 1, choice)
    request.optimisation = pb.OPTIMISATION_BUDGET_FAST
    call = server.stub.AgeTransform(request, timeout=PATIENCE)
    return checked(call, lambda answer: wrong_pictures(answer, 1, photos.HEAD_SIZE))


def _detect(server: Server, choice: Random) -> Awaitable[str]:
    call = server.stub.DetectFaces(pb.DetectFacesRequest(image=pb.Image(data=photos.head())), timeout=PATIENCE)
    return checked(call, lambda answer: "" if len(answer.faces) == 1 else f"{len(answer.faces)} faces")


def _compare(server: Server, choice: Random) -> Awaitable[str]:
    same = choice.random() < 0.5
    second = photos.head() if same else photos.other_head()
    request = pb.CompareFacesRequest(first=pb.Image(data=photos.head()), second=pb.Image(data=second))
    call = server.stub.CompareFaces(request, timeout=PATIENCE)
    return checked(call, lambda answer: "" if answer.same_person == same else f"similarity {answer.similarity:.2f}")


def _methods(server: Server, choice: Random) -> Awaitable[str]:
    call = server.stub.ListMethods(pb.ListMethodsRequest(), timeout=PATIENCE)
    return checked(call, lambda answer: "" if answer.methods else "no methods")


def _reconstruct(mode: pb.ReconstructionMode) -> Make:
    def make(server: Server, choice: Random) -> Awaitable[str]:
        request = pb.ReconstructRequest(
            image=pb.Image(data=photos.head()), mode=mode, search=pb.SearchOptions(max_steps=_STEPS)
        )
        return checked(server.stub.Reconstruct(request, timeout=PATIENCE), lambda answer: _wrong_faces(answer.faces))

    return make


def _optimize(server: Server, choice: Random) -> Awaitable[str]:
    call = server.stub.Optimize(optimize_request(), timeout=PATIENCE)
    return checked(read_all(call), _wrong_search)


async def read_all(call: grpc.aio.UnaryStreamCall[Any, Any]) -> list[pb.OptimizeResponse]:
    return [message async for message in call]


def _wrong_search(messages: Sequence[pb.OptimizeResponse]) -> str:
    if not messages or messages[-1].WhichOneof("kind") != "result":
        return "no result"
    steps = [message.progress.step for message in messages[:-1]]
    if steps != list(range(len(steps))):
        return f"steps {steps}"
    return _wrong_faces([messages[-1].result.reconstruction])


def _wrong_faces(faces: Sequence[pb.Reconstruction]) -> str:
    if len(faces) != 1:
        return f"{len(faces)} faces"
    if not faces[0].latent or not all(map(math.isfinite, faces[0].latent)):
        return "no latent"
    return _wrong_picture(faces[0].reconstruction, None)


def wrong_pictures(answer: pb.AgeTransformResponse, count: int, size: tuple[int, int]) -> str:
    """What is wrong with ``answer``, which must have ``count`` whole pictures of ``size``; nothing if it is good."""
    if len(answer.results) != count:
        return f"{len(answer.results)} pictures"
    for result in answer.results:
        if [face.error.reason for face in result.faces] != [""]:
            return "a face was left as it was"
        if fault := _wrong_picture(result.image, size):
            return fault
    return ""


def _wrong_picture(image: pb.Image, size: tuple[int, int] | None) -> str:
    try:
        with Image.open(io.BytesIO(image.data)) as opened:
            opened.load()
    except OSError as error:
        return f"a picture that cannot be read: {error}"
    if opened.size != (image.width, image.height) or opened.size != (size or opened.size):
        return f"a picture of {opened.size}"
    return ""
