"""The bundles that are served, by name; any can be read anew while it serves."""

from __future__ import annotations

import ctypes
import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from dorian_bundle import Bundle, BundleError, load
from dorian_server.domain.errors import Reason, RequestError, StartupError
from dorian_server.pipeline.pipeline import Pipeline

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class ServedBundle:
    """A bundle by its name here; ``changed``: whether it is another than before it was read."""

    name: str
    pipeline: Pipeline
    changed: bool


class Bundles:
    """The bundle in the folder ``first``, by the name in its manifest, and those in ``further`` by theirs, none of them open yet.

    ``open_bundle`` makes a pipeline that is ready to serve. Safe to call from several threads.
    """

    def __init__(self, first: Path, further: Mapping[str, Path], open_bundle: Callable[[Bundle], Pipeline]) -> None:
        self._first, self._further, self._open_bundle = first, dict(further), open_bundle
        self._folders: dict[str, Path] = {}
        self._pipelines: dict[str, Pipeline] = {}
        self._reloading = threading.Lock()
        self._is_closed = False

    def open(self) -> None:
        """Open all. ``StartupError`` if one cannot be, or two have one name."""
        first = self._opened(self._first)
        name = first.bundle.manifest.name
        if name in self._further:
            raise StartupError(f"two bundles are called {name!r}; give the further one another name")
        pipelines = {name: first} | {each: self._opened(folder) for each, folder in self._further.items()}
        self._folders, self._pipelines = {name: self._first, **self._further}, pipelines
        _give_back_memory()

    @property
    def names(self) -> list[str]:
        return list(self._folders)

    def pipeline(self, name: str) -> Pipeline:
        """What serves the bundle ``name``, or the first for an empty name. It stays what it is when the bundle is read anew.

        ``RequestError`` before they are open, once they are closed, and for another name.
        """
        if self._is_closed:
            raise RequestError(
                Reason.STOPPING, "", "the server stops; the call was not begun, and another may answer it"
            )
        pipelines = self._pipelines
        if not pipelines:
            raise RequestError(Reason.NOT_READY, "", "the server is starting; its bundles are not open yet")
        return pipelines[self._known(name) if name else next(iter(pipelines))]

    def close(self) -> None:
        """Give nobody a pipeline from now on. Those who have one keep it."""
        self._is_closed = True

    def reload(self, name: str = "") -> list[ServedBundle]:
        """Read the bundle ``name`` anew, or all for an empty name. Each serves once all are ready, those that have not changed as before.

        ``RequestError`` if one cannot be opened: then all stay what they were. The first keeps its name. Otherwise as ``pipeline``.
        """
        self.pipeline(name)
        chosen = [name] if name else self.names
        with self._reloading:
            opened = {each: self._opened_anew(each) for each in chosen}
            before, self._pipelines = self._pipelines, {**self._pipelines, **opened}
            _give_back_memory()
        served = [ServedBundle(each, pipeline, pipeline is not before[each]) for each, pipeline in opened.items()]
        for each in served:
            manifest = each.pipeline.bundle.manifest
            log.info("bundle %s: %s %s", each.name, manifest.version, "from now on" if each.changed else "as before")
        return served

    def _opened(self, folder: Path) -> Pipeline:
        try:
            return self._open_bundle(load(folder))
        except BundleError as error:
            raise StartupError(str(error)) from error

    def _opened_anew(self, name: str) -> Pipeline:
        serving = self._pipelines[name]
        try:
            bundle = load(self._folders[name])
            return serving if bundle.sha256 == serving.bundle.sha256 else self._open_bundle(bundle)
        except Exception as error:  # whatever it is, the old one serves on
            is_ours = not isinstance(error, BundleError | StartupError)
            log.error("bundle %s stays what it was: %s", name, error, exc_info=is_ours)
            message = f"the bundle {name!r} stays what it was: {error}"
            raise RequestError(Reason.BUNDLE_BROKEN, "bundle", message) from error

    def _known(self, name: str) -> str:
        if name not in self._folders:
            message = f"there is no bundle {name!r} here, but {', '.join(self.names)}"
            raise RequestError(Reason.BUNDLE_UNKNOWN, "bundle", message)
        return name


def _give_back_memory() -> None:
    """Opening takes memory that serving does not; glibc would keep it, and more with each bundle that is read anew."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc alone has it
    if trim is not None:
        trim(0)
