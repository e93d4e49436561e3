"""The description of the routes for programs (OpenAPI 3.1): bodies, which the routes read themselves, and problems."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from dorian_gateway.problems import MEDIA_TYPE, Problem
from dorian_gateway.requests import AgeBody, CompareBody, DetectBody, MixBody, OptimizeBody, ReconstructBody
from dorian_gateway.responses import SearchResultOut, SearchStepOut

_BODIES: tuple[type[BaseModel], ...] = (AgeBody, DetectBody, CompareBody, MixBody, ReconstructBody, OptimizeBody)
_REF = "#/components/schemas/{model}"
_PHOTO = {"type": "string", "contentEncoding": "base64"}
_FILE = {"type": "string", "contentMediaType": "application/octet-stream"}
_FORM = "Form"  # ends the names of the schemas of multipart bodies

# The response of /v1/age and /v1/mix to a caller that accepts an image.
IMAGES: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "Photos with their reports; or, where the first type accepted is an image's, the one photo.",
        "content": {f"image/{name}": {"schema": _FILE} for name in ("jpeg", "png", "webp")},
    }
}


def describe_body(model: type[BaseModel]) -> dict[str, Any]:
    """Return the part of a route's description that says what its body is."""
    schemas = {"application/json": model.__name__, "multipart/form-data": f"{model.__name__}{_FORM}"}
    content = {media: {"schema": {"$ref": _REF.format(model=name)}} for media, name in schemas.items()}
    return {"requestBody": {"required": True, "content": content}}


def describe_problems() -> dict[int | str, dict[str, Any]]:
    """Return the responses of every route that fails."""
    schema = {"$ref": _REF.format(model=Problem.__name__)}
    return {"default": {"description": "Why the request failed.", "content": {MEDIA_TYPE: {"schema": schema}}}}


def describe_events() -> dict[int | str, dict[str, Any]]:
    """Return the response of a route that sends events."""
    names = {"step": SearchStepOut, "result": SearchResultOut, "problem": Problem}
    listed = ", ".join(f'"{name}" with {model.__name__}' for name, model in names.items())
    description = f"Events whose data is JSON: {listed}. The last is a result or a problem."
    return {200: {"description": description, "content": {"text/event-stream": {"schema": {"type": "string"}}}}}


def describe(app: FastAPI) -> dict[str, Any]:
    """Return the description of all routes."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, description=app.description, routes=app.routes, tags=app.openapi_tags
        )
        components = document.setdefault("components", {})
        components.setdefault("schemas", {}).update(_schemas())
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer", "description": "An API key."}}
        document["security"] = [{"key": []}, {}]
        app.openapi_schema = document
    return app.openapi_schema


def _schemas() -> dict[str, Any]:
    """Return the schemas of bodies, as JSON and as forms, of events and of problems."""
    written: tuple[type[BaseModel], ...] = (Problem, SearchStepOut, SearchResultOut)
    _, read = models_json_schema([(model, "validation") for model in _BODIES], ref_template=_REF)
    _, sent = models_json_schema([(model, "serialization") for model in written], ref_template=_REF)
    schemas: dict[str, Any] = {**read["$defs"], **sent["$defs"]}
    for model in _BODIES:
        schema = schemas[model.__name__]
        fields = {name: _as_part(field) for name, field in schema["properties"].items()}
        title = f"{model.__name__}{_FORM}"
        schemas[title] = {**schema, "properties": fields, "title": title}
    return schemas


def _as_part(field: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a field in a form, where photos are files."""
    if "items" in field:
        return {**field, "items": _as_part(field["items"])}
    is_photo = all(field.get(key) == value for key, value in _PHOTO.items())
    return {**{key: value for key, value in field.items() if key not in _PHOTO}, **_FILE} if is_photo else field
