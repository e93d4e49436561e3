"""From a bundle on disk to a pipeline that is ready: every graph opened, warm, and behind a batcher of its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Thread

from dorian_bundle import Bundle, BundleError, load
from dorian_bundle.manifest import AgeCganMethod, AgeTranslatorMethod, CycleGanMethod
from dorian_bundle.manifest import Method as MethodEntry
from dorian_server.domain.errors import StartupError
from dorian_server.faces.detector import NetworkDetector
from dorian_server.faces.networks import AgeReader, IdentityReader
from dorian_server.faces.reader import FaceViewer
from dorian_server.methods.age_cgan import AgeCgan
from dorian_server.methods.age_translator import AgeTranslator
from dorian_server.methods.cyclegan import CycleGan
from dorian_server.methods.method import Method
from dorian_server.pipeline import latent_search as search
from dorian_server.pipeline.pipeline import Pipeline
from dorian_server.runtimes.batcher import Batcher
from dorian_server.runtimes.cores import share_of_cores
from dorian_server.runtimes.elastic import Company, ElasticSession
from dorian_server.runtimes.factory import SessionOptions, open_session
from dorian_server.runtimes.session import Session
from dorian_server.runtimes.warmup import sample_inputs, warm
from dorian_server.settings import Settings
from dorian_server.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

# Runs of one graph at a time: while one waits for the slowest of its threads, or copies, the other has the cores.
_LANES = 2


def build_pipeline(settings: Settings) -> Pipeline:
    """The pipeline on ``settings.bundle``, as a server would have it. ``StartupError`` says what is wrong with the bundle."""
    try:
        return open_bundle(load(settings.bundle), settings, Metrics())
    except BundleError as error:
        raise StartupError(str(error)) from error


def open_bundle(bundle: Bundle, settings: Settings, metrics: Metrics) -> Pipeline:
    """The pipeline on ``bundle``; its batches are counted in ``metrics``.

    ``BundleError`` for a graph that cannot be opened, ``StartupError`` for a runtime that is not there.
    """
    company = Company()
    Thread(target=search.prepare, name="prepare").start()  # a search that comes before it has ended waits for it
    with ThreadPoolExecutor(thread_name_prefix="open") as pool:
        sessions = pool.map(lambda name: _session(bundle, name, settings, company), bundle.manifest.graphs)
        batchers = {
            name: Batcher(session, lanes=_LANES, delay=settings.load.batch_delay, watch=metrics.batches.of(name))
            for name, session in zip(bundle.manifest.graphs, sessions, strict=True)
        }
    for batcher in batchers.values():  # one after the other, as they are timed
        batcher.most_rows = warm(batcher.session)
    log.info("rows at once: %s", ", ".join(f"{name} {batcher.most_rows}" for name, batcher in batchers.items()))
    viewer = build_viewer(bundle, batchers.__getitem__)
    methods = [build_method(method, batchers.__getitem__) for method in bundle.manifest.methods]
    return Pipeline(bundle, methods, viewer, settings.limits)


def build_method(manifest: MethodEntry, open_graph: Callable[[str], Session]) -> Method:
    """The method that ``manifest`` describes, each graph opened, by its name, with ``open_graph``."""
    match manifest:
        case AgeCganMethod():
            return AgeCgan(manifest, open_graph)
        case AgeTranslatorMethod():
            return AgeTranslator(manifest, open_graph)
        case CycleGanMethod():
            return CycleGan(manifest, open_graph)


def build_viewer(bundle: Bundle, open_graph: Callable[[str], Session]) -> FaceViewer:
    """The networks of ``bundle`` that see faces, each graph opened, by its name, with ``open_graph``."""
    readers = bundle.manifest.readers
    return FaceViewer(
        NetworkDetector(readers, bundle.manifest.alignment, open_graph),
        AgeReader(readers.age_estimator, open_graph(readers.age_estimator.graph)),
        IdentityReader(readers.facenet, open_graph(readers.facenet.graph)),
        bundle.manifest.alignment,
    )


def _session(bundle: Bundle, name: str, settings: Settings, company: Company) -> Session:
    graph = bundle.manifest.graphs[name]
    # Some graphs come in one precision alone, whatever is asked for.
    chosen = next((file.precision for file in graph.files if file.precision == settings.precision), None)

    def opened(threads: int) -> Session:
        options = SessionOptions(
            threads, graph.file(chosen).precision, settings.arithmetic, engine_cache=settings.engine_cache
        )
        return open_session(settings.runtime, bundle.graph_path(name, chosen), graph.signature, options)

    cores = share_of_cores(settings.load.processes)
    if settings.threads or cores == 1 or settings.runtime != "onnxruntime":
        return opened(settings.threads or cores)
    wide, narrow = opened(cores), opened(1)
    narrow.run(sample_inputs(narrow.signature, 1))
    return ElasticSession(wide, narrow, company)
