"""Putting a server together: bundle, sessions, pipeline, service, health, port."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from dorian.v1 import face_aging_pb2_grpc
from dorian_bundle import Bundle, BundleError, load
from dorian_bundle.manifest import AgeCganMethod, AgeTranslatorMethod, CycleGanMethod
from dorian_bundle.manifest import Method as MethodEntry
from dorian_server.detection import NetworkDetector
from dorian_server.errors import StartupError
from dorian_server.methods.age_cgan import AgeCgan
from dorian_server.methods.age_translator import AgeTranslator
from dorian_server.methods.cyclegan import CycleGan
from dorian_server.methods.method import Method
from dorian_server.pipeline import Pipeline
from dorian_server.reading import AgeReader, IdentityReader
from dorian_server.security.authentication import load_authentication
from dorian_server.security.credentials import load_credentials
from dorian_server.seeing import FaceViewer
from dorian_server.service import FaceAgingService
from dorian_server.sessions.onnx_runtime import OnnxRuntimeSession
from dorian_server.sessions.session import Session
from dorian_server.settings import Settings
from dorian_server.telemetry.calls import CallWatcher
from dorian_server.telemetry.telemetry import Telemetry

log = logging.getLogger(__name__)

# Room for what a request holds beside its photo, and for photos beyond the limit, so that they get an answer in words.
_MESSAGE_BYTES = 64 * 2**20
SERVICE_NAME = "dorian.v1.FaceAging"


def build_pipeline(settings: Settings) -> Pipeline:
    """The pipeline on ``settings.bundle``, every graph opened. ``StartupError`` says what is wrong with the bundle."""
    try:
        bundle = load(settings.bundle)
        viewer = build_viewer(bundle, lambda name: _session(bundle, name, settings))
        methods = [
            build_method(method, lambda name: _session(bundle, name, settings)) for method in bundle.manifest.methods
        ]
    except BundleError as error:
        raise StartupError(str(error)) from error
    return Pipeline(bundle, methods, viewer, settings.limits)


def build_method(manifest: MethodEntry, open_session: Callable[[str], Session]) -> Method:
    """The method that ``manifest`` describes, each graph opened, by its name, with ``open_session``."""
    match manifest:
        case AgeCganMethod():
            return AgeCgan(manifest, open_session)
        case AgeTranslatorMethod():
            return AgeTranslator(manifest, open_session)
        case CycleGanMethod():
            return CycleGan(manifest, open_session)


def build_viewer(bundle: Bundle, open_session: Callable[[str], Session]) -> FaceViewer:
    """The networks of ``bundle`` that see faces, each graph opened, by its name, with ``open_session``."""
    readers = bundle.manifest.readers
    return FaceViewer(
        NetworkDetector(readers, bundle.manifest.alignment, open_session),
        AgeReader(readers.age_estimator, open_session(readers.age_estimator.graph)),
        IdentityReader(readers.facenet, open_session(readers.facenet.graph)),
        bundle.manifest.alignment,
    )


def _session(bundle: Bundle, name: str, settings: Settings) -> Session:
    graph = bundle.manifest.graphs[name]
    # Some graphs come in one precision alone, whatever is asked for.
    chosen = next((file.precision for file in graph.files if file.precision == settings.precision), None)
    return OnnxRuntimeSession(bundle.graph_path(name, chosen), graph.signature, settings.threads)


def start(settings: Settings, telemetry: Telemetry | None = None) -> tuple[grpc.Server, int]:
    """Start serving, watched by ``telemetry``; returns the server, which must be kept, and its port.

    ``StartupError`` if it cannot start.
    """
    telemetry = telemetry or Telemetry()
    credentials = load_credentials(settings.security)
    authentication = load_authentication(settings, telemetry.metrics.refuse)
    pipeline = build_pipeline(settings)
    telemetry.metrics.tell_bundle(pipeline.bundle)
    server = grpc.server(
        ThreadPoolExecutor(settings.workers, thread_name_prefix="request"),
        options=[
            ("grpc.max_receive_message_length", _MESSAGE_BYTES),
            ("grpc.max_send_message_length", -1),
            ("grpc.so_reuseport", 0),
        ],
        interceptors=[CallWatcher(telemetry), *authentication],
    )
    service = FaceAgingService(pipeline, telemetry)
    face_aging_pb2_grpc.add_FaceAgingServicer_to_server(service, server)  # type: ignore[no-untyped-call]
    state = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(state, server)
    if settings.security.reflection:
        names = (SERVICE_NAME, health.SERVICE_NAME, reflection.SERVICE_NAME)
        reflection.enable_server_reflection(names, server)
    address = f"{settings.host}:{settings.port}"
    try:
        if credentials is None:
            port = server.add_insecure_port(address)
        else:
            port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise StartupError(f"cannot listen on {address}: {error}") from error
    server.start()
    for name in ("", SERVICE_NAME):
        state.set(name, health_pb2.HealthCheckResponse.SERVING)
    manifest = pipeline.bundle.manifest
    methods = ", ".join(method.name for method in manifest.methods)
    log.info("serving %s %s (%s) on %s:%d", manifest.name, manifest.version, methods, settings.host, port)
    return server, port
