"""The networks that every photo passes, whatever the method: their signatures and their entries in the manifest.

The exporter names inputs and outputs by these signatures, the manifest is checked against them, and the server feeds graphs
by them. Images are RGB in [0, 1]; pixel normalisation is inside the graphs.
"""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import Field

from dorian_bundle.age_interval import AgeIntervals
from dorian_bundle.entries import Entry, Provenance, require_graph
from dorian_bundle.graphs import BATCH, Graph, Signature, TensorSpec
from dorian_bundle.mesh import POINTS
from dorian_bundle.similarity_by_years import SimilarityByYears

# What the detector says of each cell of an image, and how many numbers; a cell is a square of one of the strides. Sides of an image
# are multiples of the last stride.
DETECTOR_OUTPUTS = {"cls": 1, "obj": 1, "bbox": 4, "kps": 10}
DETECTOR_STRIDES = (8, 16, 32)


def detector_signature() -> Signature:
    """Return the face detector's signature: an image of any size → ``cls``, ``obj``, ``bbox`` and ``kps`` of the cells of each stride.

    Cells are counted row by row. Of each: the probabilities of a face and of an object; then, in strides from the cell's left upper
    corner, the box's centre x and y, the natural logarithms of its width and height in strides; and x and y of five landmarks.
    """
    image = TensorSpec(name="image", shape=(BATCH, 3, "height", "width"))
    outputs = tuple(
        TensorSpec(name=f"{kind}_{stride}", shape=(BATCH, f"cells_{stride}", numbers))
        for kind, numbers in DETECTOR_OUTPUTS.items()
        for stride in DETECTOR_STRIDES
    )
    return Signature(inputs=(image,), outputs=outputs)


def landmark_refiner_signature(view_size: int) -> Signature:
    """Return the landmark refiner's signature: an aligned view → the points of ``dorian_bundle.mesh``, and how much is visible.

    Points are x and y as fractions of the view's side; ``visibility`` is the visible share of the face, 0 to 1.
    """
    image = TensorSpec(name="image", shape=(BATCH, 3, view_size, view_size))
    landmarks = TensorSpec(name="landmarks", shape=(BATCH, POINTS, 2))
    return Signature(inputs=(image,), outputs=(landmarks, TensorSpec(name="visibility", shape=(BATCH,))))


def age_estimator_signature(crop_size: int) -> Signature:
    """Return the age estimator's signature: aligned crop → age in years, and the standard deviation of its distribution."""
    image = TensorSpec(name="image", shape=(BATCH, 3, crop_size, crop_size))
    outputs = tuple(TensorSpec(name=name, shape=(BATCH,)) for name in ("age", "spread"))
    return Signature(inputs=(image,), outputs=outputs)


def facenet_signature(crop_size: int, embedding_size: int) -> Signature:
    """Return FaceNet's signature: aligned crop → embedding of length 1."""
    image = TensorSpec(name="image", shape=(BATCH, 3, crop_size, crop_size))
    return Signature(inputs=(image,), outputs=(TensorSpec(name="embedding", shape=(BATCH, embedding_size)),))


class FaceDetector(Entry):
    """The network that finds faces. A face counts from ``min_score`` on; see ``dorian_bundle.face_detection.find_faces``."""

    graph: str
    min_score: float = Field(gt=0, lt=1)
    provenance: Provenance

    def signature(self) -> Signature:
        return detector_signature()


class LandmarkRefiner(Entry):
    """The network that places the points of a detected face, and says how much of it can be seen.

    Its input is a view of ``view_size``, aligned by the detector's landmarks to the bundle's template, in which the face
    appears ``zoom`` times as large as in a crop.
    """

    graph: str
    view_size: int = Field(ge=16, le=1024)
    zoom: float = Field(gt=0, le=1)
    provenance: Provenance

    def signature(self) -> Signature:
        return landmark_refiner_signature(self.view_size)


class AgeEstimator(Entry):
    """The network that estimates the age of an aligned crop of ``crop_size``, and how sure its estimates are."""

    graph: str
    crop_size: int = Field(ge=16, le=1024)
    intervals: AgeIntervals
    provenance: Provenance

    def signature(self) -> Signature:
        return age_estimator_signature(self.crop_size)


class AcceptThreshold(Entry):
    """The cosine ``similarity`` that pairs of different people reach at the ``false_accept_rate``, as measured."""

    false_accept_rate: float = Field(gt=0, lt=1)
    similarity: float = Field(ge=-1, le=1)


class FaceNet(Entry):
    """The network that turns an aligned crop into an embedding, and which similarity says that two faces are one person's.

    ``similarity_by_years``: how alike photographs of one person are in its eyes, where that was measured.
    """

    graph: str
    crop_size: int = Field(ge=16, le=1024)
    embedding_size: int = Field(ge=1)
    thresholds: tuple[AcceptThreshold, ...] = Field(min_length=1)
    similarity_by_years: SimilarityByYears | None = None
    provenance: Provenance

    def signature(self) -> Signature:
        return facenet_signature(self.crop_size, self.embedding_size)


class FaceReaders(Entry):
    """The networks that every photo passes: they read faces and change nothing."""

    detector: FaceDetector
    landmark_refiner: LandmarkRefiner
    age_estimator: AgeEstimator
    facenet: FaceNet

    def graph_names(self) -> tuple[str, ...]:
        """Return the names of the graphs that every photo passes."""
        return (self.detector.graph, self.landmark_refiner.graph, self.age_estimator.graph, self.facenet.graph)

    def check_graphs(self, graphs: Mapping[str, Graph]) -> None:
        """Check the entries against the bundle's graphs.

        Raises:
            BundleError: If a graph is missing or of another signature.
        """
        for role, entry in (
            ("detector", self.detector),
            ("landmark refiner", self.landmark_refiner),
            ("age estimator", self.age_estimator),
            ("FaceNet", self.facenet),
        ):
            require_graph(graphs, role, entry.graph, entry.signature())
