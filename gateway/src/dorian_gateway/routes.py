"""The routes of HTTP: each reads a request, makes one call of the server, and writes its result."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Annotated, Any, TypeVar

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from dorian_client import AgeResult, AsyncClient, CompareResult, MixResult, Picture, ReconstructResult
from dorian_gateway.bodies import read_body
from dorian_gateway.calls import Caller, Server, read_caller, unless_gone
from dorian_gateway.errors import NotAcceptable
from dorian_gateway.events import EventStream, open_search
from dorian_gateway.openapi import IMAGES, describe_body, describe_events, describe_problems
from dorian_gateway.requests import AgeBody, CompareBody, DetectBody, MixBody, OptimizeBody, ReconstructBody
from dorian_gateway.responses import (
    AgeResponse,
    CompareResponse,
    DetectResponse,
    MethodsResponse,
    MixResponse,
    ReconstructResponse,
    media_type_of,
    render,
)
from dorian_gateway.settings import Settings

_Value = TypeVar("_Value")
_Body = TypeVar("_Body", bound=BaseModel)
_JSON = "application/json"
_VARY = {"Vary": "Accept"}
_CallerOf = Annotated[Caller, Depends(read_caller)]


class Faces:
    """The routes below /v1.

    Args:
        settings: The limits on bodies.
        server: The server that they call.
    """

    def __init__(self, settings: Settings, server: Server) -> None:
        self._settings = settings
        self._server = server

    async def age(self, request: Request, caller: _CallerOf) -> Response:
        """Return the photo with its faces changed to a target, or to each of several."""
        wanted = _wanted_image(request)

        async def send(client: AsyncClient, body: AgeBody) -> AgeResult:
            if wanted is not None and len(body.to) > 1:
                raise NotAcceptable("an image can hold one target; accept application/json for several", "to")
            options = body.to_options()
            options["format"] = options["format"] or wanted or None
            return await client.age(body.photo, body.to_targets(), **options)

        result = await self._call(request, caller, AgeBody, send)
        if wanted is None:
            return await _respond(AgeResponse, result)
        return _respond_with(result.photos[0].picture)

    async def mix(self, request: Request, caller: _CallerOf) -> Response:
        """Return the photo with some styles of its faces exchanged for those of other photos, or of an age."""
        wanted = _wanted_image(request)

        async def send(client: AsyncClient, body: MixBody) -> MixResult:
            options = body.to_options()
            options["format"] = options["format"] or wanted or None
            return await client.mix(body.photo, body.to_references(), **options)

        result = await self._call(request, caller, MixBody, send)
        return await _respond(MixResponse, result) if wanted is None else _respond_with(result.picture)

    async def detect(self, request: Request, caller: _CallerOf) -> Response:
        """Return where the faces of a photo are, and their estimated ages. A photo without a face is no error."""
        result = await self._call(request, caller, DetectBody, lambda client, body: client.detect(body.photo))
        return await _respond(DetectResponse, result)

    async def compare(self, request: Request, caller: _CallerOf) -> Response:
        """Tell whether a face of one photo and a face of another belong to the same person."""

        async def send(client: AsyncClient, body: CompareBody) -> CompareResult:
            return await client.compare(body.first, body.second, **body.to_arguments())

        return await _respond(CompareResponse, await self._call(request, caller, CompareBody, send))

    async def reconstruct(self, request: Request, caller: _CallerOf) -> Response:
        """Return, for each face, the crop that the networks see, its latent and what the generator draws from it."""

        async def send(client: AsyncClient, body: ReconstructBody) -> ReconstructResult:
            return await client.reconstruct(body.photo, **body.to_arguments())

        return await _respond(ReconstructResponse, await self._call(request, caller, ReconstructBody, send))

    async def optimize(self, request: Request, caller: _CallerOf) -> Response:
        """Search for the latent that draws one face best, and send its steps as server-sent events."""
        body = await read_body(request, OptimizeBody, self._settings)
        return await open_search(request, self._server, caller, body)

    async def methods(self, caller: _CallerOf) -> Response:
        """Return what the server has loaded: methods with their age groups and filters, version and licence."""
        async with self._server.open_client(caller) as client:
            return await _respond(MethodsResponse, await client.bundle())

    async def _call(
        self,
        request: Request,
        caller: Caller,
        model: type[_Body],
        send: Callable[[AsyncClient, _Body], Awaitable[_Value]],
    ) -> _Value:
        """Read the body, and call the server with it unless the caller goes away."""
        body = await read_body(request, model, self._settings)
        async with self._server.open_client(caller) as client:
            return await unless_gone(request, send(client, body))


def make_router(settings: Settings, server: Server) -> APIRouter:
    """Return the routes below /v1; see ``Faces``."""
    faces = Faces(settings, server)
    router = APIRouter(prefix="/v1", tags=["faces"], responses=describe_problems())
    posts: list[tuple[Any, type[BaseModel], type[BaseModel]]] = [
        (faces.detect, DetectBody, DetectResponse),
        (faces.compare, CompareBody, CompareResponse),
        (faces.reconstruct, ReconstructBody, ReconstructResponse),
    ]
    router.post("/age", response_model=AgeResponse, responses=IMAGES, openapi_extra=describe_body(AgeBody))(faces.age)
    router.post("/mix", response_model=MixResponse, responses=IMAGES, openapi_extra=describe_body(MixBody))(faces.mix)
    for route, body, response in posts:
        router.post(f"/{route.__name__}", response_model=response, openapi_extra=describe_body(body))(route)
    router.post(
        "/optimize",
        response_class=EventStream,
        responses=describe_events(),
        openapi_extra=describe_body(OptimizeBody),
    )(faces.optimize)
    router.get("/methods", response_model=MethodsResponse)(faces.methods)
    return router


def make_health_router(server: Server) -> APIRouter:
    """Return the routes that orchestrators ask."""
    router = APIRouter(tags=["health"])

    @router.get("/healthz")
    async def alive() -> dict[str, str]:
        """Tell that the gateway runs."""
        return {"status": "alive"}

    @router.get("/readyz", responses={503: {"description": "The server does not answer."}})
    async def ready() -> Response:
        """Tell whether the server behind the gateway answers."""
        is_ready = await server.is_ready()
        return JSONResponse({"status": "ready" if is_ready else "not ready"}, 200 if is_ready else 503)

    return router


async def _respond(model: type[Any], result: Any) -> Response:
    return Response(await asyncio.to_thread(render, model, result), media_type=_JSON, headers=_VARY)


def _respond_with(picture: Picture) -> Response:
    return Response(picture.data, media_type=media_type_of(picture), headers=_VARY)


def _wanted_image(request: Request) -> str | None:
    """Return the format of the image that the caller accepts instead of JSON, empty for any; None for JSON."""
    accepted = [part.partition(";")[0].strip().lower() for part in request.headers.get("accept", "").split(",")]
    first = next((item for item in accepted if item), "*/*")
    if not first.startswith("image/"):
        return None
    name = first.removeprefix("image/")
    if name == "*":
        return ""
    if name not in ("jpeg", "png", "webp"):
        raise NotAcceptable(f"{first[:80]} is no format of results; accept image/jpeg, image/png, image/webp or JSON")
    return name
