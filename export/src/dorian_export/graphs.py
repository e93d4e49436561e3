"""Networks as graphs: wrapped, never edited, so that every graph takes and gives float32 RGB in [0, 1]."""

from __future__ import annotations

import copy
import logging
import warnings
from collections.abc import Mapping
from pathlib import Path

import onnx
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from dorian_bundle.graphs import Precision, Signature
from dorian_training.networks.age_estimator import expected_age

log = logging.getLogger(__name__)

OPSET = 18


class EncoderGraph(nn.Module):
    """An encoder whose image is RGB in [0, 1]. In half precision inside, if its weights are."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, image: Tensor) -> Tensor:
        latent: Tensor = self.encoder(_as(image * 2 - 1, self.encoder))
        return latent.float()


class GeneratorGraph(nn.Module):
    """A generator whose image is RGB in [0, 1]. In half precision inside, if its weights are."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, latent: Tensor, condition: Tensor) -> Tensor:
        image: Tensor = self.generator(_as(latent, self.generator), _as(condition, self.generator))
        return image.float() * 0.5 + 0.5


class AgeTranslatorGraph(nn.Module):
    """An age translator whose image is RGB in [0, 1], as is the scale of its delta. Ages stay in full precision."""

    def __init__(self, translator: nn.Module) -> None:
        super().__init__()
        self.translator = translator

    def forward(self, image: Tensor, source_age: Tensor, target_age: Tensor) -> Tensor:
        delta: Tensor = self.translator(_as(image * 2 - 1, self.translator), source_age, target_age)
        return delta.float() * 0.5


class FilterGraph(nn.Module):
    """A translator from one domain to another whose images are RGB in [0, 1]."""

    def __init__(self, translator: nn.Module) -> None:
        super().__init__()
        self.translator = translator

    def forward(self, image: Tensor) -> Tensor:
        translated: Tensor = self.translator(_as(image * 2 - 1, self.translator))
        return translated.float() * 0.5 + 0.5


class DetectorGraph(nn.Module):
    """A face detector whose image is RGB in [0, 1] and whose scores are probabilities."""

    def __init__(self, detector: nn.Module) -> None:
        super().__init__()
        self.detector = detector

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        maps = (level.float() for level in self.detector(_as(image * 2 - 1, self.detector)))
        return tuple(torch.cat([level[:, :1].sigmoid(), level[:, 1:]], dim=1) for level in maps)


class LandmarkRefinerGraph(nn.Module):
    """A landmark refiner whose image is RGB in [0, 1]."""

    def __init__(self, refiner: nn.Module) -> None:
        super().__init__()
        self.refiner = refiner

    def forward(self, image: Tensor) -> Tensor:
        landmarks: Tensor = self.refiner(_as(image * 2 - 1, self.refiner))
        return landmarks.float()


class AgeEstimatorGraph(nn.Module):
    """An age estimator whose image is RGB in [0, 1] and that gives the expected age in years."""

    def __init__(self, estimator: nn.Module) -> None:
        super().__init__()
        self.estimator = estimator

    def forward(self, image: Tensor) -> Tensor:
        return expected_age(self.estimator(_as(image * 2 - 1, self.estimator)).float())


class FaceNetGraph(nn.Module):
    """A FaceNet whose image is RGB in [0, 1]; it looks at the mirror image, too, and gives the direction of both's sum."""

    def __init__(self, facenet: nn.Module) -> None:
        super().__init__()
        self.facenet = facenet

    def forward(self, image: Tensor) -> Tensor:
        seen = _as(image * 2 - 1, self.facenet)
        return F.normalize(self.facenet(seen) + self.facenet(seen.flip(3)), dim=1)


def _as(tensor: Tensor, network: nn.Module) -> Tensor:
    return tensor.to(next(network.parameters()).dtype)


def in_precision(graph: nn.Module, precision: Precision) -> nn.Module:
    """A copy of ``graph`` for inference, its weights in ``precision``."""
    made = copy.deepcopy(graph).eval().requires_grad_(False).to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    result: nn.Module = made.half() if precision == "fp16" else made.float()
    return result


def write_onnx(graph: nn.Module, signature: Signature, path: Path, multiples: Mapping[str, int] | None = None) -> None:
    """Write ``graph`` to ``path`` with the names and axes of ``signature``.

    Named axes may have any length, or any multiple of what ``multiples`` say.
    """
    multiples = multiples or {}
    lengths = {
        name: torch.export.Dim(name, min=1) for spec in signature.inputs for name in spec.shape if isinstance(name, str)
    }
    varying = {name: multiples[name] * length if name in multiples else length for name, length in lengths.items()}
    # 2 where an axis may vary: the exporter takes lengths 0 and 1 for constants.
    example = tuple(
        torch.zeros([2 * multiples.get(size, 1) if isinstance(size, str) else size for size in spec.shape])
        for spec in signature.inputs
    )
    shapes = tuple(
        {axis: varying[name] for axis, name in enumerate(spec.shape) if isinstance(name, str)}
        for spec in signature.inputs
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            graph,
            example,
            dynamo=True,
            opset_version=OPSET,
            input_names=[spec.name for spec in signature.inputs],
            output_names=[spec.name for spec in signature.outputs],
            dynamic_shapes=shapes,
            optimize=True,
            external_data=False,
            verbose=False,
        )
    assert program is not None
    model = program.model_proto
    _name_axes(model, signature)
    del model.metadata_props[:]
    for node in model.graph.node:  # the exporter notes there where in the source each node came from
        del node.metadata_props[:]
        node.doc_string = ""
    onnx.checker.check_model(model, full_check=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(model, path)


def _name_axes(model: onnx.ModelProto, signature: Signature) -> None:
    values = [*model.graph.input, *model.graph.output]
    for value, spec in zip(values, [*signature.inputs, *signature.outputs], strict=True):
        for dimension, size in zip(value.type.tensor_type.shape.dim, spec.shape, strict=True):
            if isinstance(size, str):
                dimension.dim_param = size
