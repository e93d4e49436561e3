"""Which of a bundle's methods serves a request, and what is said of a target that a method cannot draw."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TypeGuard

from dorian_bundle import AgeError
from dorian_server.domain.errors import Reason, RequestError
from dorian_server.domain.requests import Age, AgeRequest
from dorian_server.methods.method import EncodingMethod, Method


def method_for(methods: Sequence[Method], request: AgeRequest) -> Method:
    """The first of ``methods`` that can draw all targets of ``request``, from latents if it needs them; or else the first of all."""
    return next((method for method in methods if _serves(method, methods, request)), methods[0])


def encodes(method: Method, searches: bool) -> TypeGuard[EncodingMethod]:
    """Whether ``method`` has an encoder and, with ``searches``, latents that can be searched."""
    return isinstance(method, EncodingMethod) and (method.searches or not searches)


def require_encoder(method: Method, methods: Sequence[Method], searches: bool = False) -> EncodingMethod:
    """``method``, if it ``encodes``; ``RequestError`` names those of ``methods`` that do."""
    if encodes(method, searches):
        return method
    able = ", ".join(each.manifest.name for each in methods if encodes(each, searches)) or "no method"
    if isinstance(method, EncodingMethod):
        words = f"the latents of {method.manifest.name} cannot be searched; those of {able} can"
    else:
        words = f"{method.manifest.name} has no encoder, so it cannot reconstruct or optimise; {able} can"
    raise RequestError(Reason.METHOD_UNSUITABLE, "method", words)


def require_known(request: AgeRequest, method: Method, methods: Sequence[Method]) -> None:
    """``RequestError`` for the first target or source of ``request`` that ``method``, one of ``methods``, cannot take."""
    for field, age in _targets(request):
        _require_target(age, method, methods, field)
    if request.needs_latents:
        require_encoder(method, methods, request.optimisation != "none")
    if request.source is not None:
        require_source(request.source, method, "source")
    for index, own in enumerate(request.face_targets):
        if own.source is not None:
            require_source(own.source, method, f"face_targets[{index}].source")


def require_source(age: Age, method: Method, field: str) -> None:
    """``RequestError`` for ``field`` unless a face can be told to ``method`` to have ``age``."""
    if age.filter is not None:
        words = f"the filter {age.filter!r} is no age that a face has; give an age group or a number of years"
        raise RequestError(Reason.TARGET_UNSUITABLE, field, words)
    if age.group is not None and not method.groups:
        words = f"{method.manifest.name} has no age groups; give a number of years, or no {field}"
        raise RequestError(Reason.AGE_GROUP_UNKNOWN, field, words)
    _require_age(age, method, field)


def _serves(method: Method, methods: Sequence[Method], request: AgeRequest) -> bool:
    if request.needs_latents and not encodes(method, request.optimisation != "none"):
        return False
    try:
        for field, age in _targets(request):
            _require_target(age, method, methods, field)
    except RequestError:
        return False
    return True


def _targets(request: AgeRequest) -> Iterator[tuple[str, Age]]:
    """Each target of ``request``, with its field."""
    for index, age in enumerate(request.targets):
        yield f"targets[{index}]", age
    for index, own in enumerate(request.face_targets):
        yield f"face_targets[{index}].target", own.target


def _require_target(age: Age, method: Method, methods: Sequence[Method], field: str) -> None:
    name, filters = method.manifest.name, [each.name for each in method.filters]
    if age.filter is not None and age.filter not in filters:
        words = f"{name} has no filter {age.filter!r}; the bundle has {_filters_of(methods)}"
        raise RequestError(Reason.FILTER_UNKNOWN, field, words)
    if age.filter is None and not method.groups:
        words = f"{name} draws no ages, but filters: {', '.join(filters)}"
        raise RequestError(Reason.TARGET_UNSUITABLE, field, words)
    if age.filter is None:
        _require_age(age, method, field)


def _require_age(age: Age, method: Method, field: str) -> None:
    try:
        age.years_in(method.groups)
    except AgeError as error:
        reason = Reason.AGE_OUT_OF_RANGE if age.group is None else Reason.AGE_GROUP_UNKNOWN
        raise RequestError(reason, field, str(error)) from error


def _filters_of(methods: Sequence[Method]) -> str:
    """All filters in words: "young, old (cyclegan)"."""
    known = [
        f"{', '.join(each.name for each in method.filters)} ({method.manifest.name})"
        for method in methods
        if method.filters
    ]
    return "; ".join(known) or "no filters"
