"""Which methods of a bundle a server serves, by the licences that it is set to."""

from __future__ import annotations

import logging
from dataclasses import replace

from dorian_bundle import Bundle
from dorian_bundle.licences import method_licences, reader_licences
from dorian_server.domain.errors import StartupError
from dorian_server.pipeline.withheld_methods import WithheldMethod
from dorian_server.settings import Licences

log = logging.getLogger(__name__)


def select_licensed(bundle: Bundle, licences: Licences) -> tuple[Bundle, tuple[WithheldMethod, ...]]:
    """Return ``bundle`` with the methods that ``licences`` allow, and the other methods.

    The graphs of the others are not in what is returned; its hash stays that of the manifest on disk.

    Raises:
        StartupError: None is allowed, or one of the networks that every photo passes is not.
    """
    if licences == "all":
        return bundle, ()
    manifest = bundle.manifest
    readers = [part for part in reader_licences(manifest.readers) if not part.commercial_use]
    if readers:
        parts = "; ".join(f"{part.name}: {', '.join(part.obstacles)}" for part in readers)
        message = "every photo passes networks that are not free for commercial use"
        raise StartupError(
            f"--licences commercial: the bundle {manifest.name} cannot be served, as {message} ({parts})"
        )
    terms = method_licences(manifest)
    free = [method.name for method in terms if method.commercial_use]
    withheld = tuple(
        WithheldMethod(entry, licence.obstacles)
        for entry, licence in zip(manifest.methods, terms, strict=True)
        if not licence.commercial_use
    )
    reasons = "; ".join(obstacle for method in withheld for obstacle in method.obstacles)
    if not free:
        message = f"the bundle {manifest.name} has no method that is free for commercial use ({reasons})"
        raise StartupError(f"--licences commercial: {message}; serve another bundle, or --licences all")
    if withheld:
        log.info("%s: left out, as they are not free for commercial use: %s", manifest.name, reasons)
    return replace(bundle, manifest=manifest.subset(free)), withheld
