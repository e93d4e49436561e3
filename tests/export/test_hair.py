"""The networks that find hair as graphs: ours verified, the published one as it is, and both or none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime as ort
import pytest
import torch

from dorian_bundle.hair import NEAR_SIZE
from dorian_export.errors import ExportError
from dorian_export.faces import Faces
from dorian_export.hair import export_hair_networks
from dorian_export.method_exporter import ExportJob
from dorian_training.checkpoint import WEIGHTS_FILE, save_weights
from dorian_training.networks.hair_segmenter import HairSegmenter, HairSegmenterShape

PERSON_SEGMENTER = Path("models/checkpoints/person_segmenter/selfie_segmentation.onnx")
SHAPE = HairSegmenterShape(channels=(4, 8, 8, 8, 8))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("hair")
    about = {"family": "hair_segmenter", "stage": "hair_segmenter", "steps": 7, "earlier": [], "seed": 0}
    about |= {"data": {"fairface": 5}, "settings": {}, "shape": SHAPE.as_dict()}
    save_weights(folder / WEIGHTS_FILE, {"hair_segmenter_ema": HairSegmenter(SHAPE).state_dict()}, about)
    return folder


def job(faces: Faces, folder: Path, **checkpoints: Path) -> ExportJob:
    (folder / "graphs").mkdir(exist_ok=True)
    return ExportJob(checkpoints, faces, folder, ["fp16"], {"hair_segmenter": {"iou": 0.7}})


def test_both_networks_become_graphs(checkpoint: Path, seen: Faces, tmp_path: Path) -> None:
    given = {"hair_segmenter": checkpoint, "person_segmenter": PERSON_SEGMENTER}
    exported = export_hair_networks(job(seen, tmp_path, **given))
    assert exported is not None
    entry, graphs, differences = exported
    entry.check_graphs(graphs)
    assert set(graphs) == set(entry.graph_names())
    assert 0 < differences["graphs/hair_segmenter.fp16.onnx"] < 1e-2
    assert differences["graphs/person_segmenter.fp32.onnx"] == 0
    assert entry.provenance.metrics["iou"] == 0.7
    assert {network.name for network in entry.provenance.networks} == {
        "MediaPipe face mesh",
        "MediaPipe selfie segmentation",
    }
    assert entry.provenance.commercial_use
    assert (tmp_path / "graphs" / "person_segmenter.fp32.onnx").read_bytes() == PERSON_SEGMENTER.read_bytes()
    for graph in graphs.values():
        for file in graph.files:
            file.verify(tmp_path)


def test_a_graph_says_how_much_is_hair(checkpoint: Path, seen: Faces, tmp_path: Path) -> None:
    export_hair_networks(job(seen, tmp_path, hair_segmenter=checkpoint, person_segmenter=PERSON_SEGMENTER))
    session = ort.InferenceSession(
        str(tmp_path / "graphs" / "hair_segmenter.fp16.onnx"), providers=["CPUExecutionProvider"]
    )
    image = np.random.default_rng(0).random((2, 3, NEAR_SIZE, NEAR_SIZE), dtype=np.float32)
    (hair,) = session.run(["hair"], {"image": image})
    torch.manual_seed(0)
    with torch.no_grad():
        expected = HairSegmenter(SHAPE).eval()(torch.from_numpy(image) * 2 - 1).sigmoid().numpy()
    assert hair.dtype == np.float32
    assert np.abs(hair - expected).max() < 1e-2
    assert expected.std() > 1e-3


def test_without_them_there_is_none(seen: Faces, tmp_path: Path) -> None:
    assert export_hair_networks(job(seen, tmp_path)) is None


@pytest.mark.parametrize("name", ["hair_segmenter", "person_segmenter"])
def test_one_alone_is_refused(name: str, checkpoint: Path, seen: Faces, tmp_path: Path) -> None:
    given = {"hair_segmenter": checkpoint, "person_segmenter": PERSON_SEGMENTER}
    with pytest.raises(ExportError, match=f"{name} is given alone; .*hair_segmenter and person_segmenter together"):
        export_hair_networks(job(seen, tmp_path, **{name: given[name]}))


def test_another_network_that_finds_people_is_refused(checkpoint: Path, seen: Faces, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    other.write_bytes(PERSON_SEGMENTER.read_bytes() + b" ")
    for path, words in ((other, "has the sha256"), (tmp_path, "is no file")):
        with pytest.raises(ExportError, match=f"{words}.*whose source and licence are known"):
            export_hair_networks(job(seen, tmp_path, hair_segmenter=checkpoint, person_segmenter=path))
