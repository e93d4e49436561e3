"""Bodies of requests: read within limits of bytes and seconds, and taken apart in memory; nothing is written to disk."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any, NoReturn, TypeVar, get_args, get_origin

from fastapi import Request
from pydantic import BaseModel, ValidationError
from starlette.datastructures import FormData, Headers
from starlette.formparsers import MultiPartException, MultiPartParser

from dorian_gateway.errors import BodyTimeout, BodyTooLarge, MediaTypeUnsupported, RequestInvalid
from dorian_gateway.problems import request_invalid
from dorian_gateway.settings import Settings

_Model = TypeVar("_Model", bound=BaseModel)
_MAX_PARTS = 512
_MAX_FIELD_BYTES = 4 * 2**20  # of a part that is no file: latents are the longest
# What JSON may have, so that it is read in milliseconds: numbers of 32 latents, and entries with their fields.
_MAX_COUNTS = {(b",",): 200_000, (b"[", b"{", b":"): 10_000}
_ADVICE = "send application/json with photos in base64, or multipart/form-data with photos as files"


async def read_body(request: Request, model: type[_Model], settings: Settings) -> _Model:
    """Read the body of a request.

    Args:
        request: The request.
        model: What the body has.
        settings: The limits.

    Raises:
        BodyTooLarge: It has more bytes than are read.
        BodyTimeout: It did not arrive in time.
        MediaTypeUnsupported: It is neither JSON nor multipart.
        RequestInvalid: It does not fit the model.
    """
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in ("application/json", "multipart/form-data"):
        raise MediaTypeUnsupported(f"the body's media type is {media_type[:80] or 'missing'}; {_ADVICE}")
    body = await _read_bytes(request, settings)
    try:
        if media_type == "application/json":
            _check_structure([body])
            return model.model_validate_json(body)
        form = await _parse_multipart(request.headers, body)
        _check_structure([part.encode() for _, part in form.multi_items() if isinstance(part, str)])
        return model.model_validate(await _read_form(form, model))
    except ValidationError as error:
        raise request_invalid(list(error.errors(include_url=False, include_input=False))) from None


async def _read_bytes(request: Request, settings: Settings) -> bytes:
    limit = settings.max_body_bytes
    length = request.headers.get("content-length", "0")
    if length.isdecimal() and int(length[:20]) > limit:
        _raise_too_large(limit)
    body = bytearray()
    try:
        async with asyncio.timeout(settings.body_timeout):
            async for chunk in request.stream():
                if len(body) + len(chunk) > limit:
                    _raise_too_large(limit)
                body += chunk
    except TimeoutError:
        raise BodyTimeout(f"the body did not arrive within {settings.body_timeout:g} s") from None
    return bytes(body)


def _check_structure(texts: Sequence[bytes]) -> None:
    """Raise RequestInvalid for JSON of more values than any request has; photos in base64 have none of these characters."""
    for characters, limit in _MAX_COUNTS.items():
        if sum(text.count(character) for text in texts for character in characters) > limit:
            raise RequestInvalid(f"the body has more than {limit} of {' and '.join(map(chr, b''.join(characters)))}")


def _raise_too_large(limit: int) -> NoReturn:
    raise BodyTooLarge(f"the body has more than {limit} bytes; send a smaller photo")


class _InMemoryParser(MultiPartParser):
    spool_max_size = 2**40  # the body is bounded already, and photos are not written to disk


async def _parse_multipart(headers: Headers, body: bytes) -> FormData:
    async def stream() -> AsyncGenerator[bytes, None]:
        yield body

    parser = _InMemoryParser(
        headers, stream(), max_files=_MAX_PARTS, max_fields=_MAX_PARTS, max_part_size=_MAX_FIELD_BYTES
    )
    try:
        return await parser.parse()
    except (MultiPartException, KeyError) as error:  # KeyError: of a content type without boundary
        raise RequestInvalid(f"the multipart body cannot be read: {error}") from None


async def _read_form(form: FormData, model: type[BaseModel]) -> dict[str, Any]:
    """Return the fields of a form by name; fields that are lists in the model may be given several times."""
    values: dict[str, Any] = {}
    for name, part in form.multi_items():
        value = _read_text(part, name) if isinstance(part, str) else await part.read()
        depth = _depth(model.model_fields[name].annotation) if name in model.model_fields else 0
        if depth:
            values.setdefault(name, []).extend(value if _is_whole(value, depth) else [value])
        elif name in values:
            raise RequestInvalid(f"{name} is given more than once", name)
        else:
            values[name] = value
    return values


def _read_text(text: str, name: str) -> Any:
    """Return the value that a text part stands for: JSON where it is that (45, true, {"filter": "old"}), else the text."""
    try:
        return json.loads(text, parse_constant=str)
    except ValueError:
        return text
    except RecursionError:
        raise RequestInvalid(f"{name} is nested too deeply", name) from None


def _depth(annotation: Any) -> int:
    """Return how deeply lists are nested in a field's type; 0 for one that is no list."""
    inner = max(map(_depth, get_args(annotation)), default=0)
    return inner + (get_origin(annotation) is list)


def _is_whole(value: Any, depth: int) -> bool:
    """Return whether a part has a field's whole list, and not one entry of it, which may itself be a list."""
    return isinstance(value, list) and (depth == 1 or any(isinstance(entry, list) for entry in value))
