"""The model card: what to know of a bundle before using it. Its text is in ``templates/``, a file per method family."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import cache

from jinja2 import Environment, PackageLoader, StrictUndefined

from dorian_bundle import Bundle
from dorian_bundle.families import Method
from dorian_bundle.licences import method_licences, network_licences
from dorian_bundle.manifest import Manifest


def curves_file(method: Method) -> str:
    """Return the name of the image of a method's learning curves."""
    return f"curves_{method.name}.png"


def render_card(manifest: Manifest, differences: Mapping[str, float], images: Collection[str]) -> str:
    """Return the card of a bundle, in Markdown.

    Args:
        manifest: The bundle's.
        differences: Largest difference from torch by graph file.
        images: Names of the images that lie beside the card; it shows no others.
    """
    templates = _templates()
    sections = [
        templates.get_template(f"methods/{method.family}.md.j2").render(
            method=method, images=images, curves=curves_file(method)
        )
        for method in manifest.methods
    ]
    return templates.get_template("card.md.j2").render(
        manifest=manifest,
        differences=differences,
        sections=sections,
        networks=network_licences(manifest),
        method_licences=method_licences(manifest),
    )


def render_card_of(bundle: Bundle) -> str:
    """Return the card of a bundle on disk, from its manifest and the images in its folder."""
    manifest = bundle.manifest
    readers = manifest.readers
    parts = (*manifest.methods, readers.detector, readers.landmark_refiner, readers.age_estimator, readers.facenet)
    provenances = [part.provenance for part in parts]
    for method in manifest.methods:
        provenances += method.further_provenances().values()
    differences = {
        path: difference
        for provenance in provenances
        for path, difference in provenance.metrics.get("onnx_difference", {}).items()
    }
    return render_card(manifest, differences, {path.name for path in bundle.folder.iterdir()})


@cache
def _templates() -> Environment:
    return Environment(
        loader=PackageLoader("dorian_export"),
        undefined=StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
