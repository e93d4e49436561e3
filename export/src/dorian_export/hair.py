"""The networks that find hair and beards as graphs: ours, verified against torch, and the published one that finds people, as it is."""

from __future__ import annotations

from pathlib import Path
from shutil import copyfile

from torch import Tensor, nn

from dorian_bundle.graphs import Graph, GraphFile
from dorian_bundle.hair import NEAR_SIZE
from dorian_bundle.hair_networks import HairNetworks, hair_segmenter_signature, person_segmenter_signature
from dorian_bundle.stored_files import sha256_of
from dorian_export.errors import ExportError
from dorian_export.face_readers import averaged_network
from dorian_export.method_exporter import ExportJob
from dorian_export.onnx_writer import cast_like
from dorian_export.provenance import describe_provenance
from dorian_export.verified_export import BATCHES, export_verified, image_inputs, require_faces
from dorian_training.data.sources import MESH_NETWORK, PERSON_NETWORK
from dorian_training.networks.hair_segmenter import HairSegmenter, HairSegmenterShape

# The file that is made of the published network, whose terms and source are known here.
PERSON_SEGMENTER_SHA256 = "84daee84c67b8809a498b4d20a4edeedf2378fa8843875eac6350a3b7a9e2db0"

HAIR_CHECKPOINTS = {
    "hair_segmenter": "Run or checkpoint of the hair segmenter: which pixels around a face are hair and beard, which then grey with age.",
    "person_segmenter": "ONNX file of MediaPipe's selfie segmentation, for --hair-segmenter.",
}


class HairSegmenterGraph(nn.Module):
    """A hair segmenter whose image is RGB in [0, 1] and that gives how much of each pixel is hair, and beard, in [0, 1]."""

    def __init__(self, segmenter: nn.Module) -> None:
        super().__init__()
        self.segmenter = segmenter

    def forward(self, image: Tensor) -> Tensor:
        logits: Tensor = self.segmenter(cast_like(self.segmenter, image * 2 - 1))
        return logits.float().sigmoid()  # (batch, 2, size, size)


def export_hair_networks(job: ExportJob) -> tuple[HairNetworks, dict[str, Graph], dict[str, float]] | None:
    """Export the networks that find hair; ``None`` if ``job`` has none.

    Returns:
        The manifest's entry, the graphs by name, and by file the difference from torch, which the published network has none of.

    Raises:
        ParityError: If the graph differs too much from its network.
        ExportError: If one checkpoint lacks the other, is of another family, or is not the known file.
    """
    given = [name for name in HAIR_CHECKPOINTS if name in job.checkpoints]
    if not given:
        return None
    if len(given) < len(HAIR_CHECKPOINTS):
        raise ExportError(f"{given[0]} is given alone; hair is found by {' and '.join(HAIR_CHECKPOINTS)} together")
    network, metadata = averaged_network(
        job.checkpoints["hair_segmenter"], "hair_segmenter", HairSegmenterShape, HairSegmenter
    )
    views = job.faces.resized(NEAR_SIZE)
    require_faces(views)
    graph, differences = export_verified(
        "hair_segmenter",
        HairSegmenterGraph(network),
        hair_segmenter_signature(),
        image_inputs(views[: max(BATCHES)]),
        job.folder,
        job.precisions,
    )
    people = _copy_person_segmenter(job)
    differences |= {file.path: 0.0 for file in people.files}
    metrics = job.metrics_with("hair_segmenter", differences)
    entry = HairNetworks(
        hair_segmenter="hair_segmenter",
        person_segmenter="person_segmenter",
        provenance=describe_provenance(metadata, metrics, (MESH_NETWORK, PERSON_NETWORK)),
    )
    return entry, {"hair_segmenter": graph, "person_segmenter": people}, differences


def _copy_person_segmenter(job: ExportJob) -> Graph:
    path = job.checkpoints["person_segmenter"]
    if not path.is_file() or (sha256 := sha256_of(path)) != PERSON_SEGMENTER_SHA256:
        found = f"has the sha256 {sha256}" if path.is_file() else "is no file"
        raise ExportError(
            f"{path} {found}; the network that finds people, whose source and licence are known, has {PERSON_SEGMENTER_SHA256}"
        )
    target = Path("graphs") / "person_segmenter.fp32.onnx"
    copyfile(path, job.folder / target)
    return Graph(signature=person_segmenter_signature(), files=(GraphFile.of(job.folder, target.as_posix(), "fp32"),))
