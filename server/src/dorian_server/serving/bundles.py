"""The bundles that are served, by name, from their folders to pipelines that are ready; any can be reloaded while it serves."""

from __future__ import annotations

import logging
import threading
import types
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from dorian_bundle import Bundle, BundleError, load_bundle
from dorian_bundle.face_detection import MAX_SIDE
from dorian_bundle.face_shape import load_face_shape
from dorian_bundle.families import Method as MethodEntry
from dorian_bundle.families.ae_stylegan import AeStyleGanMethod
from dorian_bundle.families.age_cgan import AgeCganMethod
from dorian_bundle.families.age_translator import AgeTranslatorMethod
from dorian_bundle.families.cyclegan import CycleGanMethod
from dorian_bundle.skin_detail import load_skin_detail
from dorian_bundle.stored_files import StoredFile
from dorian_bundle.style_library import load_style_library
from dorian_server.admission.memory import trim_memory
from dorian_server.domain.errors import Reason, RequestError, StartupError
from dorian_server.faces.detector import NetworkDetector
from dorian_server.faces.reader import AgeEstimator, FaceEmbedder, FaceReader
from dorian_server.methods.ae_stylegan import AeStyleGan
from dorian_server.methods.age_cgan import AgeCgan
from dorian_server.methods.age_translator import AgeTranslator
from dorian_server.methods.cyclegan import CycleGan
from dorian_server.methods.method import Method
from dorian_server.pipeline import latent_search
from dorian_server.pipeline.pipeline import Pipeline
from dorian_server.runtimes.batcher import Batcher
from dorian_server.runtimes.cores import share_of_cores
from dorian_server.runtimes.elastic import ElasticSession, RunCounter
from dorian_server.runtimes.factory import open_session
from dorian_server.runtimes.options import SessionOptions
from dorian_server.runtimes.session import Session
from dorian_server.runtimes.warmup import sample_inputs, warm_up
from dorian_server.serving.licensed_bundles import select_licensed
from dorian_server.settings import Settings
from dorian_server.telemetry.metrics import Metrics

log = logging.getLogger(__name__)

# Runs of one graph at a time: while one waits for the slowest of its threads, or copies, the other has the cores.
_LANES = 2


@dataclass(frozen=True)
class LoadedBundle:
    """A bundle that is served as ``name``; ``has_changed``: whether it differs from what was served before it was loaded."""

    name: str
    pipeline: Pipeline
    has_changed: bool


class Bundles:
    """The bundles of a server, none of them open at first; safe to call from several threads.

    Args:
        default: Folder of the bundle that requests get unless they name one. Its name is that in its manifest.
        extra: Folders of the others, by name.
        open_bundle: Makes a pipeline that is ready to serve.
        held: Bundles that are opened first, by their folders, in place of what the folders hold now.
    """

    def __init__(
        self,
        default: Path,
        extra: Mapping[str, Path],
        open_bundle: Callable[[Bundle], Pipeline],
        held: Mapping[Path, Bundle] = types.MappingProxyType({}),
    ) -> None:
        self._held = held
        self._default, self._extra, self._open_bundle = default, dict(extra), open_bundle
        self._folders: dict[str, Path] = {}
        self._pipelines: dict[str, Pipeline] = {}
        self._reloading = threading.Lock()
        self._is_closed = False

    def open(self) -> None:
        """Open all bundles.

        Raises:
            StartupError: One cannot be opened, or two have one name.
        """
        default = self._open(self._default)
        name = default.bundle.manifest.name
        if name in self._extra:
            raise StartupError(f"two bundles are called {name!r}; give the extra one another name")
        pipelines = {name: default} | {extra: self._open(folder) for extra, folder in self._extra.items()}
        self._folders, self._pipelines = {name: self._default, **self._extra}, pipelines
        trim_memory()

    @property
    def names(self) -> list[str]:
        """The names of all open bundles, the default one first."""
        return list(self._folders)

    def pipeline(self, name: str) -> Pipeline:
        """Return what serves the bundle ``name``, or the default one for an empty name. A reload does not change it.

        Raises:
            RequestError: No bundle is open yet or any more, or none is called ``name``.
        """
        if self._is_closed:
            raise RequestError(
                Reason.STOPPING, "", "the server is stopping; the call was not begun, and another server may answer it"
            )
        pipelines = self._pipelines
        if not pipelines:
            raise RequestError(Reason.NOT_READY, "", "the server is starting; its bundles are not open yet")
        if not name:
            return next(iter(pipelines.values()))
        if name not in pipelines:
            message = f"there is no bundle {name!r} here, but {', '.join(self.names)}"
            raise RequestError(Reason.BUNDLE_UNKNOWN, "bundle", message)
        return pipelines[name]

    def close(self) -> None:
        """Give no pipeline to calls that begin from now on; those in progress keep theirs."""
        self._is_closed = True

    def reload(self, name: str = "") -> list[LoadedBundle]:
        """Load the bundle ``name`` again, or all for an empty name.

        They serve once all of them are ready; those that have not changed keep their pipelines. The default one keeps its name.

        Raises:
            RequestError: One cannot be opened, and then none is replaced; otherwise as ``pipeline``.
        """
        self.pipeline(name)
        names = [name] if name else self.names
        with self._reloading:
            opened = {name: self._reopen(name) for name in names}
            before, self._pipelines = self._pipelines, {**self._pipelines, **opened}
            trim_memory()
        bundles = [LoadedBundle(name, pipeline, pipeline is not before[name]) for name, pipeline in opened.items()]
        for bundle in bundles:
            version = bundle.pipeline.bundle.manifest.version
            log.info("bundle %s: %s %s", bundle.name, version, "loaded" if bundle.has_changed else "unchanged")
        return bundles

    def _open(self, folder: Path) -> Pipeline:
        try:
            return self._open_bundle(self._held[folder] if folder in self._held else load_bundle(folder))
        except BundleError as error:
            raise StartupError(str(error)) from error

    def _reopen(self, name: str) -> Pipeline:
        current = self._pipelines[name]
        try:
            bundle = load_bundle(self._folders[name])
            return current if bundle.sha256 == current.bundle.sha256 else self._open_bundle(bundle)
        except Exception as error:  # whatever it is, the current one serves on
            is_ours = not isinstance(error, BundleError | StartupError)
            log.error("bundle %s stays what it was: %s", name, error, exc_info=is_ours)
            message = f"the bundle {name!r} stays what it was: {error}"
            raise RequestError(Reason.BUNDLE_BROKEN, "bundle", message) from error


def build_pipeline(settings: Settings) -> Pipeline:
    """Open ``settings.bundle`` as a server would, without one.

    Raises:
        StartupError: The bundle or the runtime cannot be used.
    """
    try:
        return open_bundle(load_bundle(settings.bundle), settings, Metrics())
    except BundleError as error:
        raise StartupError(str(error)) from error


def open_bundle(bundle: Bundle, settings: Settings, metrics: Metrics) -> Pipeline:
    """Open every graph that the methods to serve need, warm it, and put a batcher before it.

    Args:
        bundle: The bundle.
        settings: How to open it.
        metrics: Count its batches.

    Returns:
        The pipeline, ready to serve.

    Raises:
        BundleError: A graph cannot be opened.
        StartupError: The runtime is not installed, or the settings' licences leave nothing to serve.
    """
    bundle, withheld = select_licensed(bundle, settings.licences)
    counter = RunCounter()
    # A search that comes before it has ended waits for it.
    threading.Thread(target=latent_search.import_optimizers, name="prepare").start()
    with ThreadPoolExecutor(thread_name_prefix="open") as pool:
        sessions = pool.map(lambda name: _open_graph(bundle, name, settings, counter), bundle.manifest.graphs)
        batchers = {
            name: Batcher(session, lanes=_LANES, delay=settings.load.batch_delay, watch=metrics.batches.of(name))
            for name, session in zip(bundle.manifest.graphs, sessions, strict=True)
        }
    for batcher in batchers.values():  # one after the other, as they are timed
        batcher.max_rows = warm_up(batcher.session)
    log.info("rows at once: %s", ", ".join(f"{name} {batcher.max_rows}" for name, batcher in batchers.items()))
    face_reader = build_face_reader(bundle, batchers.__getitem__, settings.look)
    methods = [build_method(method, batchers.__getitem__, bundle.file_path) for method in bundle.manifest.methods]
    return Pipeline(bundle, methods, face_reader, settings.limits, withheld)


def build_method(
    manifest: MethodEntry, open_graph: Callable[[str], Session], file_path: Callable[[StoredFile], Path]
) -> Method:
    """Return the method that ``manifest`` describes; ``open_graph`` opens its graphs by their names, and ``file_path`` finds its files."""
    match manifest:
        case AgeCganMethod():
            return AgeCgan(manifest, open_graph)
        case AgeTranslatorMethod():
            detail = load_skin_detail(file_path(manifest.detail)) if manifest.detail else None
            shape = load_face_shape(file_path(manifest.shape)) if manifest.shape else None
            return AgeTranslator(manifest, open_graph, detail, shape)
        case CycleGanMethod():
            return CycleGan(manifest, open_graph)
        case AeStyleGanMethod():
            library = load_style_library(
                file_path(manifest.library), manifest.levels, manifest.style, manifest.structure
            )
            return AeStyleGan(manifest, open_graph, library)


def build_face_reader(bundle: Bundle, open_graph: Callable[[str], Session], look: int = MAX_SIDE) -> FaceReader:
    """Return the networks of ``bundle`` that read faces; ``open_graph`` opens their graphs by their names, ``look`` as for ``find_faces``."""
    readers = bundle.manifest.readers
    return FaceReader(
        NetworkDetector(readers, bundle.manifest.alignment, open_graph, look),
        AgeEstimator(readers.age_estimator, open_graph(readers.age_estimator.graph)),
        FaceEmbedder(readers.facenet, open_graph(readers.facenet.graph)),
        bundle.manifest.alignment,
    )


def _open_graph(bundle: Bundle, name: str, settings: Settings, counter: RunCounter) -> Session:
    manifest = bundle.manifest
    graph = manifest.graphs[name]
    # Some graphs come in one precision only, whatever the settings say.
    precision = next((file.precision for file in graph.files if file.precision == settings.precision), None)

    def open_on(threads: int) -> Session:
        options = SessionOptions(
            threads, graph.file(precision).precision, settings.arithmetic, engine_cache=settings.engine_cache
        )
        return open_session(settings.runtime, bundle.graph_path(name, precision), graph.signature, options)

    cores = share_of_cores(settings.load.processes)
    if settings.threads or cores == 1 or settings.runtime != "onnxruntime":
        return open_on(settings.threads or cores)
    wide = open_on(cores)
    # The networks of other methods than the default one are rarely asked for: a second copy of each would mostly take memory.
    is_frequent = name in {*manifest.readers.graph_names(), *manifest.methods[0].graph_names()}
    narrow = open_on(1) if is_frequent else wide
    narrow.run(sample_inputs(narrow.signature, 1))
    return ElasticSession(wide, narrow, counter)
