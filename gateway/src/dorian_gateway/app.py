"""The application: routes, page, limits and errors put together."""

from __future__ import annotations

from functools import partial
from importlib.metadata import version

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp

from dorian_client import DorianError
from dorian_gateway.calls import Server
from dorian_gateway.errors import GatewayError
from dorian_gateway.middleware import Limits, SecurityHeaders
from dorian_gateway.openapi import describe
from dorian_gateway.page_files import page_routes
from dorian_gateway.problems import respond_with_problem
from dorian_gateway.routes import make_health_router, make_router
from dorian_gateway.settings import Settings

_DESCRIPTION = """Ages faces in photos, through a Dorian server.

Bodies are `application/json` with photos in base64, or `multipart/form-data` with photos as files; fields that are lists may be
given several times there. Errors are `application/problem+json` with the reasons of the gRPC contract. Photos are kept in memory
for the time of a request, and nowhere else."""


def create_app(settings: Settings) -> ASGIApp:
    """Return the application.

    Args:
        settings: Its settings.

    Raises:
        OSError: The file of ``server_ca`` cannot be read.
    """
    server = Server(settings)
    app = FastAPI(
        title="Dorian", version=version("dorian-gateway"), description=_DESCRIPTION, docs_url=None, redoc_url=None
    )
    app.openapi = partial(describe, app)  # type: ignore[method-assign]
    app.include_router(make_router(settings, server))
    app.include_router(make_health_router(server))
    if settings.page:
        app.router.routes.extend(page_routes())
    for kind in (DorianError, GatewayError, HTTPException, RequestValidationError, Exception):
        app.add_exception_handler(kind, respond_with_problem)
    return SecurityHeaders(Limits(app, settings))
