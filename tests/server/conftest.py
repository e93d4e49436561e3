"""Photos, networks whose answers are known, and a server on a real socket."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, cast

import grpc
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from dorian.v1.face_aging_pb2_grpc import FaceAgingStub
from dorian_bundle import Bundle, load_bundle
from dorian_bundle.face_detection import DetectedFace
from dorian_bundle.graphs import MAX_BATCH_ROWS, Signature
from dorian_server.domain.requests import Objective
from dorian_server.faces.reader import AgeEstimator, FaceEmbedder, FaceReader
from dorian_server.methods.age_cgan import AgeCgan
from dorian_server.methods.method import Method
from dorian_server.pipeline.latent_search import WEIGHTS
from dorian_server.pipeline.pipeline import Pipeline
from dorian_server.runtimes.onnx_runtime import OnnxRuntimeSession
from dorian_server.serving.bundles import build_pipeline
from dorian_server.serving.server import start
from dorian_server.settings import Limits, Settings
from tests.server.batcher_bench import Bench, MakeBench
from tests.server.tiny_methods import write_bundle
from tests.server.tiny_searches import write_search_bundle

ROOT = Path(__file__).resolve().parents[2]
DEFAULT_BUNDLE = ROOT / "models" / "default"
THREADS = 1
YEARS_PER_LEVEL = 0.5  # of a crop's mean blue, as ``FlatAgeEstimator`` reads it

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]

# --- photos ---


@pytest.fixture(scope="session")
def write() -> Callable[..., bytes]:
    """The bytes of a file with a picture, which is an array or Pillow's, in a format, with Pillow's options for it."""

    def save(picture: Pixels | Image.Image, kind: str = "PNG", **options: Any) -> bytes:
        image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        return buffer.getvalue()

    return save


@pytest.fixture(scope="session")
def read() -> Callable[[bytes], Pixels]:
    """The pixels of a picture's file."""
    return lambda data: np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))


@pytest.fixture
def noise() -> Pixels:
    """A picture (48, 64, 3), every pixel another, so that turned or mirrored ones differ."""
    return np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="session")
def astronaut_file() -> bytes:
    """``examples/astronaut.jpg``, 512×512: Eileen Collins, from the front."""
    return (ROOT / "examples" / "astronaut.jpg").read_bytes()


@pytest.fixture(scope="session")
def portrait(astronaut_file: bytes, read: Callable[[bytes], Pixels]) -> Pixels:
    """Her head alone (208, 224, 3), which is found faster."""
    return np.ascontiguousarray(read(astronaut_file)[:208, 112:336])


@pytest.fixture(scope="session")
def portrait_file(portrait: Pixels, write: Callable[..., bytes]) -> bytes:
    """``portrait`` in a PNG."""
    return write(portrait)


@pytest.fixture(scope="session")
def collage(astronaut_file: bytes, read: Callable[[bytes], Pixels]) -> Pixels:
    """Two of her (256, 400, 3): on the right as she is, and half as large on the left."""
    head = read(astronaut_file)[:256, 96:352]
    both = np.full((256, 400, 3), 128, np.uint8)
    both[:, 144:] = head
    both[64:192, 8:136] = np.asarray(Image.fromarray(head).resize((128, 128), Image.Resampling.LANCZOS))
    return both


@pytest.fixture(scope="session")
def huge_png() -> bytes:
    """A PNG whose header says 30,000×30,000 pixels, and that has none."""
    header = struct.pack(">IIBBBBB", 30_000, 30_000, 8, 2, 0, 0, 0)
    chunks = [(b"IHDR", header), (b"IDAT", b"no pixels"), (b"IEND", b"")]
    written = [
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(written)


# --- networks ---


@pytest.fixture(scope="session")
def default_bundle() -> Bundle:
    return load_bundle(DEFAULT_BUNDLE)


@pytest.fixture(scope="session")
def embedded(default_bundle: Bundle) -> Pipeline:
    """The embedded bundle's pipeline, as the server has it."""
    return build_pipeline(Settings(default_bundle.folder, threads=THREADS))


@pytest.fixture(scope="session")
def networks(embedded: Pipeline) -> AgeCgan:
    """The embedded bundle's Age-cGAN."""
    (method,) = (method for method in embedded.methods if isinstance(method, AgeCgan))
    return method


@pytest.fixture(scope="session")
def group_levels(networks: AgeCgan) -> Floats:
    """The green that ``flat_networks`` draw for each age group, in [0, 1]."""
    groups = len(networks.groups)
    return np.asarray([(40 + 25 * index) / 255 for index in range(groups)], dtype=np.float32)


@pytest.fixture(scope="session")
def years_of() -> Callable[[float], float]:
    """The age in years that ``flat_readers`` read from a crop of a mean blue of 0 to 255."""
    return lambda blue: blue * YEARS_PER_LEVEL


class FlatEncoder:
    """The latent is the crop's mean red, then zeros."""

    def __init__(self, signature: Signature) -> None:
        self.signature = signature

    def run(self, inputs: Mapping[str, Floats]) -> dict[str, Floats]:
        (image,) = inputs.values()
        latent = np.zeros((len(image), int(self.signature.outputs[0].shape[1])), dtype=np.float32)
        latent[:, 0] = image[:, 0].mean(axis=(1, 2))
        return {"latent": latent}


class FlatGenerator:
    """One colour all over: the latent's red, the condition's green (blended as the condition is), half blue."""

    def __init__(self, signature: Signature, levels: Floats) -> None:
        self.signature = signature
        self._levels = levels

    def run(self, inputs: Mapping[str, Floats]) -> dict[str, Floats]:
        latent, condition = inputs["latent"], inputs["condition"]
        assert len(latent) == len(condition)
        size = int(self.signature.outputs[0].shape[2])
        colours = np.stack([latent[:, 0], condition @ self._levels, np.full(len(latent), 0.5, np.float32)], axis=1)
        return {"image": np.tile(colours[..., None, None], (1, 1, size, size))}


class FlatAgeEstimator:
    """The age is told by the crop's mean blue."""

    def __init__(self, signature: Signature) -> None:
        self.signature = signature

    def run(self, inputs: Mapping[str, Floats]) -> dict[str, Floats]:
        ages = inputs["image"][:, 2].mean(axis=(1, 2)) * 255 * YEARS_PER_LEVEL
        return {"age": ages, "spread": np.full_like(ages, 4.0)}


class FlatFaceNet:
    """The embedding points to the crop's mean red, green and blue, which must not be black; then zeros."""

    def __init__(self, signature: Signature) -> None:
        self.signature = signature

    def run(self, inputs: Mapping[str, Floats]) -> dict[str, Floats]:
        colours = inputs["image"].mean(axis=(2, 3))
        embeddings = np.zeros((len(colours), int(self.signature.outputs[0].shape[1])), dtype=np.float32)
        embeddings[:, :3] = colours / np.linalg.norm(colours, axis=1, keepdims=True)
        return {"embedding": embeddings}


@pytest.fixture(scope="session")
def flat_networks(default_bundle: Bundle, networks: AgeCgan, group_levels: Floats) -> AgeCgan:
    """Networks of the embedded Age-cGAN's shapes that draw flat colours: red tells the latent, green the age.

    Its latents cannot be searched.
    """
    graphs = default_bundle.manifest.graphs
    roles = {role: networks.manifest.graphs[role] for role in ("encoder", "generator")}
    method = networks.manifest.model_copy(update={"graphs": roles, "embedding_size": None, "learned_under_mask": False})
    sessions = {
        method.graphs["encoder"]: FlatEncoder(graphs[method.graphs["encoder"]].signature),
        method.graphs["generator"]: FlatGenerator(graphs[method.graphs["generator"]].signature, group_levels),
    }
    return AgeCgan(method, sessions.__getitem__)


# --- faces and pipelines ---


class FixedDetector:
    """Finds the faces that it was given, and counts its calls."""

    def __init__(self, faces: Sequence[DetectedFace]) -> None:
        self.calls = 0
        self._faces = list(faces)

    def detect(self, pixels: Pixels) -> list[DetectedFace]:
        self.calls += 1
        return list(self._faces)


@pytest.fixture(scope="session")
def face_at(default_bundle: Bundle) -> Callable[[float, float, float], DetectedFace]:
    """A face whose aligned crop is the square at left, top, of a side, in whole pixels of the photo."""
    fractions = np.asarray(default_bundle.manifest.alignment.landmarks)

    def place(left: float, top: float, side: float) -> DetectedFace:
        return DetectedFace((left, top, side, side), fractions * side + (left - 0.5, top - 0.5), 0.75)

    return place


@pytest.fixture(scope="session")
def face_in_a_point() -> DetectedFace:
    """A face of 50 pixels whose landmarks lie in one point, so that it cannot be aligned."""
    return DetectedFace((5.0, 5.0, 50.0, 50.0), np.full((5, 2), 30.0), 0.6)


@pytest.fixture(scope="session")
def flat_readers(default_bundle: Bundle) -> tuple[AgeEstimator, FaceEmbedder]:
    """An age estimator and a FaceNet of the embedded bundle's shapes that read flat colours."""
    readers, graphs = default_bundle.manifest.readers, default_bundle.manifest.graphs
    return (
        AgeEstimator(readers.age_estimator, FlatAgeEstimator(graphs[readers.age_estimator.graph].signature)),
        FaceEmbedder(readers.facenet, FlatFaceNet(graphs[readers.facenet.graph].signature)),
    )


@pytest.fixture
def flat_pipeline(
    default_bundle: Bundle, flat_networks: AgeCgan, flat_readers: tuple[AgeEstimator, FaceEmbedder]
) -> Callable[..., tuple[Pipeline, FixedDetector]]:
    """A pipeline on ``flat_readers`` and ``flat_networks``, or other methods, that finds given faces; and the detector in it."""

    def build(
        *faces: DetectedFace, limits: Limits | None = None, methods: Sequence[Method] = (flat_networks,)
    ) -> tuple[Pipeline, FixedDetector]:
        detector = FixedDetector(faces)
        face_reader = FaceReader(detector, *flat_readers, default_bundle.manifest.alignment)
        return Pipeline(default_bundle, methods, face_reader, limits or Limits()), detector

    return build


# --- batchers ---


@pytest.fixture
def make_bench() -> Iterator[MakeBench]:
    """Makes batchers of a known graph, as ``Bench``; whoever waits there is let go at the end."""
    with ThreadPoolExecutor(64) as pool, ExitStack() as stack:

        def make(**settings: Any) -> Bench:
            bench = Bench(pool, **settings)
            stack.callback(bench.release)
            return bench

        yield make


# --- the server ---


@contextmanager
def full_batches() -> Iterator[None]:
    """Servers that are started meanwhile give each graph as many rows at once as there may be, however busy this machine is."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("dorian_server.serving.bundles.warm_up", lambda session: MAX_BATCH_ROWS)
        yield


@pytest.fixture(autouse=True)
def bare_aims(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each aim by itself, as in the paper: the tiny networks' answers are worked out for these weights."""
    bare: dict[Objective, tuple[float, float, float]] = {
        "pixelwise": (30.0, 0.0, 0.1),
        "identity": (0.0, 1.0, 0.1),
        "blended": (15.0, 1.0, 0.1),
    }
    for aim, weights in bare.items():
        monkeypatch.setitem(cast(dict[Objective, tuple[float, float, float]], WEIGHTS), aim, weights)


@pytest.fixture(scope="session")
def address() -> Iterator[str]:
    """Address of a server on the embedded bundle, with the settings that it has by default."""
    server = start(Settings(DEFAULT_BUNDLE, host="127.0.0.1", port=0, threads=THREADS))
    yield f"127.0.0.1:{server.port}"
    server.stop()


@pytest.fixture(scope="session")
def stub(address: str) -> Iterator[FaceAgingStub]:
    """The service at ``address``."""
    with grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)]) as channel:
        yield FaceAgingStub(channel)


@pytest.fixture(scope="session")
def several_bundle(default_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A bundle of a known age translator, the embedded Age-cGAN and known filters; see ``tiny_methods``."""
    return write_bundle(default_bundle, tmp_path_factory.mktemp("several") / "bundle")


@pytest.fixture(scope="session")
def several(several_bundle: Bundle) -> Iterator[FaceAgingStub]:
    """The service on ``several_bundle``, in full batches."""
    with full_batches():
        server = start(Settings(several_bundle.folder, host="127.0.0.1", port=0, threads=THREADS))
    with grpc.insecure_channel(
        f"127.0.0.1:{server.port}", options=[("grpc.max_receive_message_length", -1)]
    ) as channel:
        yield FaceAgingStub(channel)
    server.stop()


# --- searches ---


class Evaluations:
    """Every run of a graph of losses and gradients for a search: its ``rows``. ``before`` is called first, with its number."""

    def __init__(self) -> None:
        self.rows: list[int] = []
        self.before: Callable[[int], object] = lambda number: None


@pytest.fixture
def evaluations(monkeypatch: pytest.MonkeyPatch) -> Evaluations:
    """The evaluations of all servers in this process, as they happen."""
    noted = Evaluations()
    run = OnnxRuntimeSession.run

    def noting(session: OnnxRuntimeSession, inputs: Mapping[str, Floats]) -> dict[str, Floats]:
        if "weights" in inputs and inputs["weights"].any():  # a graph that is warmed is given nothing but 0
            noted.before(len(noted.rows))
            noted.rows.append(len(inputs["weights"]))
        return run(session, inputs)

    monkeypatch.setattr(OnnxRuntimeSession, "run", noting)
    return noted


@pytest.fixture(scope="session")
def searching_bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """An age translator, an Age-cGAN that cannot be searched, and one that can; see ``tiny_searches``."""
    folder = tmp_path_factory.mktemp("searching") / "bundle"
    return write_search_bundle(folder, "age_translator", "encoding", "searching")


@pytest.fixture
def serve() -> Iterator[Callable[..., FaceAgingStub]]:
    """Starts a server on a bundle, with some settings, for the time of the test."""
    with ExitStack() as stack:

        def begin(bundle: Bundle, **settings: Any) -> FaceAgingStub:
            server = start(Settings(bundle.folder, host="127.0.0.1", port=0, threads=THREADS, **settings))
            stack.callback(server.stop)
            return FaceAgingStub(stack.enter_context(grpc.insecure_channel(f"127.0.0.1:{server.port}")))

        yield begin


@pytest.fixture(scope="session")
def searching(searching_bundle: Bundle) -> Iterator[FaceAgingStub]:
    """The service on ``searching_bundle``."""
    server = start(Settings(searching_bundle.folder, host="127.0.0.1", port=0, threads=THREADS))
    with grpc.insecure_channel(f"127.0.0.1:{server.port}") as channel:
        yield FaceAgingStub(channel)
    server.stop()
