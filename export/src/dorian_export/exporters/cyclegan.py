"""CycleGAN: a checkpoint's two averaged translators as graphs, the filters old and young."""

from __future__ import annotations

from torch import Tensor, nn

from dorian_bundle.families.cyclegan import CycleGanMethod, cyclegan_signature
from dorian_bundle.graphs import Graph
from dorian_bundle.method_entry import Filter
from dorian_export.method_exporter import ExportJob, MethodExport, MethodExporter
from dorian_export.onnx_writer import cast_like
from dorian_export.provenance import describe_provenance
from dorian_export.verified_export import BATCHES, export_verified, image_inputs, require_faces, require_family
from dorian_training.checkpoint import load_network, load_weights
from dorian_training.networks.cyclegan import PRESETS, CycleGanShape, build_translator

_DESCRIPTION = "CycleGAN after Zhu et al. 2017: a translator from young faces to old ones, and one back."
_FILTERS = {"old": "Makes faces look old.", "young": "Makes faces look young."}


class FilterGraph(nn.Module):
    """A translator from one domain to another whose images are RGB in [0, 1]."""

    def __init__(self, translator: nn.Module) -> None:
        super().__init__()
        self.translator = translator

    def forward(self, image: Tensor) -> Tensor:
        translated: Tensor = self.translator(cast_like(self.translator, image * 2 - 1))  # (batch, 3, size, size)
        return translated.float() * 0.5 + 0.5


def export_cyclegan(job: ExportJob) -> MethodExport:
    """Export the translators of ``job.checkpoints["cyclegan"]``, a filter for each domain; see ``MethodExporter``."""
    weights, metadata = load_weights(job.checkpoints["cyclegan"])
    require_family(metadata, "cyclegan")
    shape = CycleGanShape.from_dict(metadata["shape"])
    crops = job.faces.resized(shape.size)
    require_faces(crops)
    inputs = image_inputs(crops[: max(BATCHES)])
    signature = cyclegan_signature(shape.size)
    graphs: dict[str, Graph] = {}
    differences: dict[str, float] = {}
    for domain in _FILTERS:
        network = build_translator(shape).eval().requires_grad_(False)
        load_network(network, weights, f"to_{domain}_ema")
        name = f"cyclegan_{domain}"
        graphs[name], file_differences = export_verified(
            name, FilterGraph(network), signature, inputs, job.folder, job.precisions
        )
        differences |= file_differences
    entry = CycleGanMethod(
        name="cyclegan",
        description=_DESCRIPTION,
        filters=tuple(
            Filter(name=domain, description=description, graph=f"cyclegan_{domain}")
            for domain, description in _FILTERS.items()
        ),
        crop_size=shape.size,
        provenance=describe_provenance(metadata, job.metrics_with("cyclegan", differences)),
    )
    return MethodExport(entry, graphs, differences)


EXPORTER = MethodExporter("Run or checkpoint of CycleGAN.", PRESETS["lean"].size, export_cyclegan)
