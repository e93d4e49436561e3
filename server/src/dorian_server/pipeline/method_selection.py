"""Method selection: which of a bundle's methods serves a request, and the errors for a target that a method cannot draw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeGuard

from dorian_bundle import AgeError
from dorian_server.domain.errors import Reason, RequestError
from dorian_server.domain.requests import Age, AgeRequest
from dorian_server.methods.method import EncodingMethod, Method
from dorian_server.methods.mixing import MixingMethod


def list_targets(request: AgeRequest) -> Iterator[tuple[str, Age]]:
    """Yield each target of ``request`` after its field."""
    for index, age in enumerate(request.targets):
        yield f"targets[{index}]", age
    for index, face_target in enumerate(request.face_targets):
        yield f"face_targets[{index}].target", face_target.target


def select_method(methods: Sequence[Method], request: AgeRequest) -> Method:
    """Return the first of ``methods`` that can serve ``request``, or else the first of all."""
    return next((method for method in methods if _can_serve(method, methods, request)), methods[0])


def can_encode(method: Method, searchable: bool) -> TypeGuard[EncodingMethod]:
    """Return whether ``method`` has an encoder and, if ``searchable``, whether its latents can be searched."""
    return isinstance(method, EncodingMethod) and (method.is_searchable or not searchable)


def require_encoder(method: Method, methods: Sequence[Method], searchable: bool = False) -> EncodingMethod:
    """Return ``method`` if ``can_encode`` holds for it.

    Raises:
        RequestError: It does not; the message names those of ``methods`` for which it does.
    """
    if can_encode(method, searchable):
        return method
    names = ", ".join(other.manifest.name for other in methods if can_encode(other, searchable)) or "no method"
    if isinstance(method, EncodingMethod):
        message = f"the latents of {method.manifest.name} cannot be searched; those of {names} can"
    else:
        message = f"{method.manifest.name} has no encoder, so it cannot reconstruct or optimise; {names} can"
    raise RequestError(Reason.METHOD_UNSUITABLE, "method", message)


def require_mixing(method: Method, methods: Sequence[Method]) -> MixingMethod:
    """Return ``method`` if it mixes styles.

    Raises:
        RequestError: It does not; the message names those of ``methods`` that do.
    """
    if isinstance(method, MixingMethod):
        return method
    names = ", ".join(other.manifest.name for other in methods if isinstance(other, MixingMethod)) or "no method"
    message = f"{method.manifest.name} has no styles to mix; {names} of this bundle can"
    raise RequestError(Reason.METHOD_UNSUITABLE, "method", message)


def check_request(request: AgeRequest, method: Method, methods: Sequence[Method]) -> None:
    """Raise ``RequestError`` for the first target or source age of ``request`` that ``method`` does not take.

    Args:
        request: The request.
        method: What is to serve it.
        methods: All methods of the bundle, for the message.
    """
    for field, age in list_targets(request):
        _check_target(age, method, methods, field)
    if request.needs_latents:
        require_encoder(method, methods, request.optimisation != "none")
    if request.source is not None:
        check_source(request.source, method, "source")
    for index, face_target in enumerate(request.face_targets):
        if face_target.source is not None:
            check_source(face_target.source, method, f"face_targets[{index}].source")


def check_source(age: Age, method: Method, field: str) -> None:
    """Raise ``RequestError`` for ``field`` unless ``method`` takes ``age`` as a source age."""
    if age.filter is not None:
        message = f"the filter {age.filter!r} is no age that a face has; give an age group or a number of years"
        raise RequestError(Reason.TARGET_UNSUITABLE, field, message)
    if age.group is not None and not method.groups:
        message = f"{method.manifest.name} has no age groups; give a number of years, or no {field}"
        raise RequestError(Reason.AGE_GROUP_UNKNOWN, field, message)
    _check_age(age, method, field)


def _can_serve(method: Method, methods: Sequence[Method], request: AgeRequest) -> bool:
    if request.needs_latents and not can_encode(method, request.optimisation != "none"):
        return False
    try:
        for field, age in list_targets(request):
            _check_target(age, method, methods, field)
    except RequestError:
        return False
    return True


def _check_target(age: Age, method: Method, methods: Sequence[Method], field: str) -> None:
    name, filters = method.manifest.name, [entry.name for entry in method.filters]
    if age.filter is not None and age.filter not in filters:
        message = f"{name} has no filter {age.filter!r}; the bundle has {_list_filters(methods)}"
        raise RequestError(Reason.FILTER_UNKNOWN, field, message)
    if age.filter is None and not method.groups:
        message = f"{name} draws no ages, but filters: {', '.join(filters)}"
        raise RequestError(Reason.TARGET_UNSUITABLE, field, message)
    if age.filter is None:
        _check_age(age, method, field)


def _check_age(age: Age, method: Method, field: str) -> None:
    try:
        age.years_in(method.groups)
    except AgeError as error:
        reason = Reason.AGE_OUT_OF_RANGE if age.group is None else Reason.AGE_GROUP_UNKNOWN
        raise RequestError(reason, field, str(error)) from error


def _list_filters(methods: Sequence[Method]) -> str:
    """Return all filters for a message: "young, old (cyclegan)"."""
    lists = [
        f"{', '.join(entry.name for entry in method.filters)} ({method.manifest.name})"
        for method in methods
        if method.filters
    ]
    return "; ".join(lists) or "no filters"
