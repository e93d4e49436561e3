"""OpenVINO beside ONNX Runtime: each graph on a real face, and the whole pipeline on a photo, in fp32 and in bf16."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dorian_bundle import Bundle, GraphFileError, GraphSignatureError
from dorian_bundle.graphs import Signature, TensorSpec
from dorian_bundle.tensors import crops_to_images
from dorian_server.domain.clock import Clock
from dorian_server.domain.errors import StartupError
from dorian_server.domain.requests import Age, AgeRequest
from dorian_server.images import decode
from dorian_server.pipeline.pipeline import Pipeline
from dorian_server.runtimes.onnx_runtime import OnnxRuntimeSession
from dorian_server.runtimes.options import Arithmetic
from dorian_server.serving.bundles import build_pipeline
from dorian_server.settings import Limits, Settings
from tests.server.test_sessions import DOUBLE_GRAPH, NAMES, READERS, inputs_for

if TYPE_CHECKING:
    from dorian_server.runtimes.openvino import OpenVinoSession

pytestmark = pytest.mark.skipif(
    find_spec("openvino") is None, reason="needs OpenVINO: pip install -e './server[openvino]'"
)

Floats = NDArray[np.float32]
Pixels = NDArray[np.uint8]

# Largest difference of any value of a graph's output from ONNX Runtime's, in parts of the output's largest value.
GRAPH_TOLERANCE: dict[str, float] = {"fp32": 2e-3, "bf16": 3e-2}
# Of the pipeline: ages in years, 1 − cosine of embeddings, grey levels of the pictures at most and in the mean.
YEARS = {"fp32": 0.1, "bf16": 0.5}
COSINE = {"fp32": 1e-5, "bf16": 1e-3}
MOST_LEVELS = {"fp32": 3, "bf16": 8}
MEAN_LEVELS = {"fp32": 0.02, "bf16": 0.2}
PIXELS = {"fp32": 0.01, "bf16": 1.0}  # of boxes and landmarks


def has_bf16() -> bool:
    from dorian_server.runtimes.openvino import ov

    return "BF16" in ov.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.fixture(params=["fp32", "bf16"])
def arithmetic(request: pytest.FixtureRequest) -> str:
    if request.param == "bf16" and not has_bf16():
        pytest.skip("this processor has no bf16")
    return str(request.param)


def opened(bundle: Bundle, name: str, arithmetic: Any = "fp32") -> OpenVinoSession:
    from dorian_server.runtimes.openvino import OpenVinoSession

    signature = bundle.manifest.graphs[name].signature
    return OpenVinoSession(bundle.graph_path(name), signature, threads=1, arithmetic=arithmetic)


def same_graph(bundle: Bundle, name: str) -> OnnxRuntimeSession:
    return OnnxRuntimeSession(bundle.graph_path(name), bundle.manifest.graphs[name].signature, threads=1)


@pytest.fixture(scope="module")
def face(embedded: Pipeline, portrait: Pixels) -> dict[int, Floats]:
    """Crops of the portrait's face (1, 3, size, size), by their size."""
    (actual,) = embedded.face_reader.detector.detect(portrait)
    return {size: crops_to_images(embedded.face_reader.crop(portrait, [actual], size)) for size in (64, 96, 150)}


def inputs_of(signature: Signature, face: dict[int, Floats], portrait: Pixels) -> dict[str, Floats]:
    """Three rows: real pictures where the graph takes any, ages from 10 to 60, and what ``inputs_for`` has for the rest."""
    known = {"source_age": np.float32([10, 30, 60]), "target_age": np.float32([60, 30, 10])}
    others = [spec for spec in signature.inputs if spec.name not in known]
    made = inputs_for(Signature(inputs=tuple(others), outputs=signature.outputs), 3)
    for spec in signature.inputs:
        if spec.name in known:
            made[spec.name] = known[spec.name]
        elif spec.name == "image":
            one = face[spec.shape[2]] if isinstance(spec.shape[2], int) else crops_to_images([portrait[:192, :192]])
            made["image"] = np.concatenate([one, one[..., ::-1], 1 - one])
    return made


# --- graphs ---


def test_every_graph_gives_what_onnx_runtime_gives(
    default_bundle: Bundle, face: dict[int, Floats], portrait: Pixels, arithmetic: str
) -> None:
    for name, graph in default_bundle.manifest.graphs.items():
        inputs = inputs_of(graph.signature, face, portrait)
        session = opened(default_bundle, name, arithmetic)
        assert session.signature == graph.signature
        actual, expected = session.run(inputs), same_graph(default_bundle, name).run(inputs)
        assert list(actual) == list(expected)
        for output, values in expected.items():
            assert (actual[output].shape, actual[output].dtype) == (values.shape, values.dtype)
            worst = np.abs(actual[output] - values).max() / max(1e-3, np.abs(values).max())
            assert worst < GRAPH_TOLERANCE[arithmetic], (name, output)


def test_bf16_is_what_runs(default_bundle: Bundle, face: dict[int, Floats], portrait: Pixels) -> None:
    if not has_bf16():
        pytest.skip("this processor has no bf16")
    signature = default_bundle.manifest.graphs["facenet"].signature
    inputs = inputs_of(signature, face, portrait)
    full, half, usual = (
        opened(default_bundle, "facenet", kind).run(inputs)["embedding"] for kind in ("fp32", "bf16", "auto")
    )
    assert not np.array_equal(full, half)
    assert np.array_equal(half, usual), "bf16 is the usual arithmetic where there is any"


@pytest.mark.parametrize("kind", ["auto", "bf16"])
def test_gradients_are_never_in_bf16(default_bundle: Bundle, kind: str) -> None:
    if not has_bf16():
        pytest.skip("this processor has no bf16")
    name = "age_cgan_latent_gradient"
    inputs = inputs_for(default_bundle.manifest.graphs[name].signature, 2)
    full, other = (opened(default_bundle, name, item).run(inputs) for item in ("fp32", kind))
    assert all(np.array_equal(values, other[output]) for output, values in full.items())


def test_bf16_on_a_processor_without_is_an_error(default_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    from dorian_server.runtimes import openvino

    monkeypatch.setattr(openvino.ov.Core, "get_property", lambda core, device, name: ["FP32"])
    with pytest.raises(StartupError, match="no bf16 arithmetic; ask for auto or fp32"):
        opened(default_bundle, "facenet", "bf16")
    opened(default_bundle, "facenet", "auto")


@pytest.mark.parametrize("name", [*NAMES, *READERS])
def test_results_stay_when_the_session_runs_again(default_bundle: Bundle, name: str) -> None:
    session = opened(default_bundle, name)
    first = session.run(inputs_for(session.signature, 2))
    kept = {output: values.copy() for output, values in first.items()}
    session.run(inputs_for(session.signature, 3))
    assert all(np.array_equal(values, first[output]) for output, values in kept.items())


def test_threads_share_a_session(default_bundle: Bundle) -> None:
    session = opened(default_bundle, "age_cgan_encoder")
    batches = [inputs_for(session.signature, batch) for batch in (1, 2, 3, 4)]
    expected = [session.run(inputs)["latent"] for inputs in batches]
    with ThreadPoolExecutor(4) as pool:
        actual = list(pool.map(session.run, batches * 5))
    assert all(np.allclose(a["latent"], b, atol=1e-5) for a, b in zip(actual, expected * 5, strict=True))


def test_threads_come_from_the_cgroup(default_bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    from dorian_server.runtimes import openvino

    monkeypatch.setattr(openvino, "available_cores", lambda: 1)
    signature = default_bundle.manifest.graphs["facenet"].signature
    session = openvino.OpenVinoSession(default_bundle.graph_path("facenet"), signature)
    assert session._model.get_property("INFERENCE_NUM_THREADS") == 1


# --- what is refused ---


def test_another_graph_than_the_manifest_says(default_bundle: Bundle) -> None:
    from dorian_server.runtimes.openvino import OpenVinoSession

    path = default_bundle.graph_path("age_cgan_encoder")
    for change in ({"shape": ("batch", 383)}, {"shape": (1, 384)}, {"name": "z"}, {"shape": ("batch", 384, 1)}):
        encoder = default_bundle.manifest.graphs["age_cgan_encoder"].signature
        wrong = Signature(inputs=encoder.inputs, outputs=(encoder.outputs[0].model_copy(update=change),))
        with pytest.raises(GraphSignatureError, match=rf"the file {path.name} has the signature .*, 384\]\), but"):
            OpenVinoSession(path, wrong, threads=1)


@pytest.mark.parametrize("data", [None, b"", b"this is no graph"])
def test_a_file_that_is_no_graph(default_bundle: Bundle, tmp_path: Path, data: bytes | None) -> None:
    from dorian_server.runtimes.openvino import OpenVinoSession

    if data is not None:
        (tmp_path / "g.onnx").write_bytes(data)
    signature = default_bundle.manifest.graphs["facenet"].signature
    with pytest.raises(GraphFileError, match=r"^g\.onnx cannot be opened by OpenVINO \d"):
        OpenVinoSession(tmp_path / "g.onnx", signature, threads=1)


def test_a_graph_of_another_number_type(tmp_path: Path) -> None:
    from dorian_server.runtimes.openvino import OpenVinoSession

    (tmp_path / "g.onnx").write_bytes(DOUBLE_GRAPH)
    x, y = (TensorSpec(name=name, shape=("batch", 2)) for name in "xy")
    with pytest.raises(GraphFileError, match=r"^x is of type f64; graphs take and give f32$"):
        OpenVinoSession(tmp_path / "g.onnx", Signature(inputs=(x,), outputs=(y,)), threads=1)


def test_openvino_reports_to_nobody() -> None:
    program = "import sys, dorian_server.runtimes.openvino; print(sys.modules['openvino_telemetry'])"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)
    assert (ended.stdout, ended.stderr) == ("None\n", "")


# --- the whole way of a photo ---


def aged(pipeline: Pipeline, photo: bytes, target: Age) -> Pixels:
    result = pipeline.age(AgeRequest(photo, [target]), pipeline.method_for(AgeRequest(photo, [target]), ""), Clock())
    return decode(result.images[0].image.data, Limits()).pixels


def test_the_pipeline_gives_what_it_gives_in_onnx_runtime(
    default_bundle: Bundle, embedded: Pipeline, portrait: Pixels, portrait_file: bytes, arithmetic: Arithmetic
) -> None:
    other = build_pipeline(Settings(default_bundle.folder, threads=1, runtime="openvino", arithmetic=arithmetic))
    recorded = [pipeline.detect(portrait_file, Clock()).faces for pipeline in (embedded, other)]
    (one,), (two,) = recorded
    assert np.abs(np.subtract(one.detected.box, two.detected.box)).max() < PIXELS[arithmetic]
    assert np.abs(one.detected.landmarks - two.detected.landmarks).max() < PIXELS[arithmetic]
    assert one.reading is not None
    assert two.reading is not None
    assert abs(one.reading.estimated_age - two.reading.estimated_age) < YEARS[arithmetic]
    assert 1 - float(one.reading.embedding @ two.reading.embedding) < COSINE[arithmetic]
    for target in (Age(years=70), Age(years=8), Age(filter="old")):
        off = np.abs(aged(embedded, portrait_file, target).astype(int) - aged(other, portrait_file, target))
        assert off.max() <= MOST_LEVELS[arithmetic], target
        assert off.mean() < MEAN_LEVELS[arithmetic], target
