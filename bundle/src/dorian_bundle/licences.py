"""Which networks and methods of a bundle may be used commercially, and what stands in the way of the others."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dorian_bundle.entries import Provenance, Source
from dorian_bundle.face_readers import FaceReaders
from dorian_bundle.families import Method
from dorian_bundle.manifest import Manifest


@dataclass(frozen=True)
class NetworkLicence:
    """The terms of one part of a bundle: a face reader, or the networks of a method.

    Attributes:
        name: What the part is called.
        licence: Its weights' licence.
        sources: The data and the networks that they come from.
        obstacles: What forbids commercial use; empty where it is free.
    """

    name: str
    licence: str
    sources: tuple[Source, ...]
    obstacles: tuple[str, ...]

    @property
    def commercial_use(self) -> bool:
        """Whether commercial use is free."""
        return not self.obstacles


@dataclass(frozen=True)
class MethodLicence:
    """Whether a method may be used commercially, with the face readers that every photo passes.

    Attributes:
        name: The method's name.
        obstacles: The parts that stand in the way, each with its reasons; empty where commercial use is free.
    """

    name: str
    obstacles: tuple[str, ...]

    @property
    def commercial_use(self) -> bool:
        """Whether commercial use is free."""
        return not self.obstacles


def reader_licences(readers: FaceReaders) -> tuple[NetworkLicence, ...]:
    """Return the terms of each face reader, in the order that photos pass them."""
    entries: Mapping[str, Provenance] = {
        "face detector": readers.detector.provenance,
        "landmark refiner": readers.landmark_refiner.provenance,
        "age estimator": readers.age_estimator.provenance,
        "FaceNet": readers.facenet.provenance,
    }
    return tuple(_network_licence(name, provenance) for name, provenance in entries.items())


def network_licences(manifest: Manifest) -> tuple[NetworkLicence, ...]:
    """Return the terms of each face reader, then of each method's own networks, in the manifest's order."""
    methods = (part for method in manifest.methods for part in _own_licences(method))
    return (*reader_licences(manifest.readers), *methods)


def method_licence(method: Method, readers: FaceReaders) -> MethodLicence:
    """Return whether ``method``, with ``readers``, may be used commercially."""
    parts = (*_own_licences(method), *reader_licences(readers))
    return MethodLicence(
        method.name, tuple(f"{part.name}: {', '.join(part.obstacles)}" for part in parts if part.obstacles)
    )


def method_licences(manifest: Manifest) -> tuple[MethodLicence, ...]:
    """Return for each method of ``manifest``, in its order, whether it may be used commercially."""
    return tuple(method_licence(method, manifest.readers) for method in manifest.methods)


def _own_licences(method: Method) -> tuple[NetworkLicence, ...]:
    parts = {method.name: method.provenance, **method.further_provenances()}
    return tuple(_network_licence(name, provenance) for name, provenance in parts.items())


def _network_licence(name: str, provenance: Provenance) -> NetworkLicence:
    sources = _merge((*provenance.data, *provenance.networks))
    obstacles: tuple[str, ...] = ()
    if not provenance.commercial_use:
        unfree = tuple(f"{source.name} ({source.licence})" for source in sources if not source.commercial_use)
        obstacles = unfree or (provenance.licence,)
    return NetworkLicence(name, provenance.licence, sources, obstacles)


def _merge(sources: Sequence[Source]) -> tuple[Source, ...]:
    """Return each source once, as sets are listed once per part of them that was used."""
    plain = (
        Source(name=source.name, licence=source.licence, commercial_use=source.commercial_use) for source in sources
    )
    return tuple(dict.fromkeys(plain))
