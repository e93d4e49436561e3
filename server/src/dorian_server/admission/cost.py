"""What a request costs: its work, in units that are learned apart, and its memory; told from its headers, before any work."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dorian_bundle.face_detection import MAX_SIDE
from dorian_server.admission import memory
from dorian_server.domain.errors import Reason, RequestError
from dorian_server.domain.requests import (
    BUDGET_STEPS,
    DEFAULT_STEPS,
    SEARCH_BUDGETS,
    AgeRequest,
    CompareRequest,
    MixRequest,
    OptimizeRequest,
    ReconstructRequest,
    SearchSettings,
)
from dorian_server.images import FORMATS, PhotoHeader, read_photo_header
from dorian_server.settings import Limits

MEGAPIXEL = 1e6
REST = "rest"  # the unit of what no stage of a request is timed for; one in each request
# Stages whose work grows with the faces that change, which are not known before the photo is decoded.
FACE_STAGES = frozenset({"read", "encode", "optimise", "generate", "identity", "reread"})
_REDUCED = 0.1  # megapixels; the detector sees every photo in small, too


@dataclass(frozen=True)
class Cost:
    """How much work and memory a request is.

    Args:
        units: How many units of each kind of work it is, by a name that begins with the stage in which the work is done: megapixels
            of "decode JPEG", faces of "read", steps of "optimise".
        faces: Faces that ``units`` counts on.
        memory: Bytes that the work takes at its peak.
        message_bytes: Bytes of its photos' files, which it takes from the start.
        is_search: Whether it searches latents step by step, and can give way between them.
        is_endless: Whether the work ends when the caller's deadline does, so that no deadline is too short for it.
    """

    units: Mapping[str, float]
    faces: int = 1
    memory: int = 0
    message_bytes: int = 0
    is_search: bool = False
    is_endless: bool = False


def stage_of(unit: str) -> str:
    """Return the stage in which the work of ``unit`` is done."""
    return unit.partition(" ")[0]


def cost_of_ageing(request: AgeRequest, limits: Limits) -> Cost:
    """Return the cost of ``request``.

    Raises:
        RequestError: Its photo breaks one of ``limits``, or the photos that it asks for may be larger than a response.
    """
    header = read_photo_header(request.data, limits, request.output.format)
    targets = max(1, len(request.targets))
    faces = max(1, len(request.faces) + len(request.face_targets))
    response_bytes = _check_response(header, request, targets, limits)
    output_format = request.output.format or header.format
    search = SEARCH_BUDGETS[request.optimisation]
    drawn = {"read": faces, "generate": faces * targets, "reread": faces * targets}
    pixels = targets * header.pixels / MEGAPIXEL
    units = _photo_units([header]) | drawn | {"paste": pixels, f"write {output_format}": pixels}
    if search is not None:
        units |= {"optimise": faces * search.steps}
    if request.keep_identity is not None:
        units |= {"identity": faces * targets * (1 + BUDGET_STEPS)}
    needed = memory.ageing_bytes(header, output_format, request.output.quality, request.with_delta, response_bytes)
    return Cost(units, faces, needed + 3 * len(request.data), len(request.data), is_search=search is not None)


def cost_of_mixing(request: MixRequest, limits: Limits) -> Cost:
    """Return the cost of ``request``, the photos of its references included.

    Raises:
        RequestError: A photo breaks one of ``limits``, or the photo that it asks for may be larger than a response.
    """
    references = []
    for index, reference in enumerate(request.references):
        try:
            references.append(read_photo_header(reference.data, limits))
        except RequestError as error:
            field = f"references[{index}]"
            raise RequestError(error.reason, f"{field}.image.data", f"{field}: {error}") from error
    header = read_photo_header(request.data, limits, request.output.format)
    changed, response_bytes = max(1, len(request.faces)), _check_response(header, request, 1, limits)
    faces = changed + len(references)
    output_format, pixels = request.output.format or header.format, header.pixels / MEGAPIXEL
    units = _photo_units([header, *references]) | {"read": faces, "encode": faces}
    units |= {"generate": changed, "reread": changed, "paste": pixels, f"write {output_format}": pixels}
    needed = memory.ageing_bytes(header, output_format, request.output.quality, request.with_delta, response_bytes)
    needed = max([needed, *(memory.reading_bytes([reference]) for reference in references)])  # one after the other
    message_bytes = len(request.data) + sum(len(reference.data) for reference in request.references)
    return Cost(units, faces, needed + 3 * message_bytes, message_bytes)


def cost_of_reconstruction(request: ReconstructRequest, limits: Limits) -> Cost:
    """Return the cost of ``request``; ``RequestError`` if its photo breaks one of ``limits``."""
    header = read_photo_header(request.data, limits)
    faces = max(1, len(request.faces))
    units = _photo_units([header]) | {"read": faces, "encode": faces, "generate": faces, "reread": faces}
    if request.search is not None:
        units |= {"optimise": faces * _steps(request.search)}
    data = request.data
    return Cost(units, faces, _reading_bytes([header], data), len(data), is_search=request.search is not None)


def cost_of_optimisation(request: OptimizeRequest, limits: Limits) -> Cost:
    """Return the cost of ``request``; ``RequestError`` if its photo breaks one of ``limits``."""
    header = read_photo_header(request.data, limits)
    units = _photo_units([header]) | dict.fromkeys(("read", "encode", "generate", "reread"), 1.0)
    units |= {"optimise": _steps(request.search)}
    needed = _reading_bytes([header], request.data)
    return Cost(units, 1, needed, len(request.data), is_search=True, is_endless=True)


def cost_of_detection(data: bytes, limits: Limits) -> Cost:
    """Return the cost of detecting the faces of the photo in ``data``; ``RequestError`` if it breaks one of ``limits``."""
    header = read_photo_header(data, limits)
    return Cost(_photo_units([header]) | {"read": 1}, 1, _reading_bytes([header], data), len(data))


def cost_of_comparison(request: CompareRequest, limits: Limits) -> Cost:
    """Return the cost of ``request``; ``RequestError`` if a photo breaks one of ``limits``."""
    headers = []
    for name, data in (("first", request.first), ("second", request.second)):
        try:
            headers.append(read_photo_header(data, limits))
        except RequestError as error:
            raise RequestError(error.reason, f"{name}.data", f"the {name} photo: {error}") from error
    data = request.first + request.second
    return Cost(_photo_units(headers) | {"read": 2}, 2, _reading_bytes(headers, data), len(data))


def _steps(search: SearchSettings) -> int:
    return max(1, search.steps or DEFAULT_STEPS)


def _photo_units(headers: Sequence[PhotoHeader]) -> dict[str, float]:
    """Return the units of decoding photos and detecting their faces."""
    units = {REST: 1.0}
    for header in headers:
        decoding = f"decode {header.format}"
        units[decoding] = units.get(decoding, 0.0) + header.pixels / MEGAPIXEL
        units["detect"] = units.get("detect", 0.0) + _REDUCED + _seen_pixels(header) / MEGAPIXEL
    return units


def _seen_pixels(header: PhotoHeader) -> float:
    """Return the pixels of the photo as the detector sees it."""
    longest = max(header.image.width, header.image.height)
    return header.pixels * min(1.0, MAX_SIDE / longest) ** 2


def _reading_bytes(headers: Sequence[PhotoHeader], data: bytes) -> int:
    return memory.reading_bytes(headers) + 3 * len(data)


def _check_response(header: PhotoHeader, request: AgeRequest | MixRequest, targets: int, limits: Limits) -> int:
    """Return the bytes that the response may have at most; ``RequestError`` if it would be larger than ``limits`` allow."""
    output_format = request.output.format or header.format
    photo_bytes = memory.photo_file_bytes(header, output_format, request.output.quality, request.with_delta)
    if targets * photo_bytes <= limits.max_response_bytes:
        return targets * photo_bytes
    label = FORMATS[output_format].label
    size = f"{header.image.width}×{header.image.height} pixels as {label}"
    most = f"a response has at most {limits.max_response_bytes:,} bytes"
    if photo_bytes > limits.max_response_bytes:
        message = f"a photo of {size} may have {photo_bytes:,} bytes, and {most}; send a smaller photo, or ask for JPEG"
        raise RequestError(Reason.IMAGE_TOO_LARGE, "image.data", message)
    fitting = limits.max_response_bytes // photo_bytes
    message = f"{targets} photos of {size} may have {targets * photo_bytes:,} bytes, and {most}; ask for at most {fitting} targets, or for JPEG"
    raise RequestError(Reason.TARGET_TOO_MANY, "targets", message)
