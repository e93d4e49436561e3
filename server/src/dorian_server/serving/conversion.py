"""Conversion between protobuf messages and domain types."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from dorian.v1 import face_aging_pb2 as pb
from dorian_bundle.licences import method_licences
from dorian_bundle.style_levels import PRESET_LEVELS, PRESETS
from dorian_server import __version__
from dorian_server.domain.clock import Clock
from dorian_server.domain.errors import Reason, RequestError
from dorian_server.domain.requests import (
    DEFAULT_QUALITY,
    Age,
    AgeRequest,
    BlendMode,
    CompareRequest,
    FaceLatent,
    FaceSelector,
    FaceTarget,
    ImageFormat,
    Objective,
    OptimizeRequest,
    OptimizerName,
    Output,
    ReconstructRequest,
    SearchBudget,
    SearchSettings,
)
from dorian_server.domain.results import (
    AgedImage,
    AgeResult,
    ComparisonResult,
    DetectionResult,
    EncodedImage,
    FaceReading,
    FailedFace,
    ReconstructedFace,
    SearchProgress,
)
from dorian_server.faces.reader import FaceReader
from dorian_server.images import FORMATS, list_labels
from dorian_server.methods.method import Method
from dorian_server.methods.mixing import MixingMethod
from dorian_server.pipeline.method_selection import can_encode
from dorian_server.pipeline.pipeline import Pipeline
from dorian_server.serving.face_conversion import write_age, write_error, write_face, write_match, write_report

_BLENDS: Mapping[pb.Blend, BlendMode] = {
    pb.BLEND_UNSPECIFIED: "delta",
    pb.BLEND_DELTA: "delta",
    pb.BLEND_REPLACE: "replace",
}
_OBJECTIVES: Mapping[pb.ReconstructionMode, Objective] = {
    pb.RECONSTRUCTION_MODE_PIXELWISE: "pixelwise",
    pb.RECONSTRUCTION_MODE_IDENTITY: "identity",
    pb.RECONSTRUCTION_MODE_BLENDED: "blended",
}
_OPTIMIZERS: Mapping[pb.Optimizer, OptimizerName] = {
    pb.OPTIMIZER_UNSPECIFIED: "l-bfgs-b",
    pb.OPTIMIZER_L_BFGS_B: "l-bfgs-b",
    pb.OPTIMIZER_ADAM: "adam",
}
_BUDGETS: Mapping[pb.OptimisationBudget, SearchBudget] = {
    pb.OPTIMISATION_BUDGET_UNSPECIFIED: "none",
    pb.OPTIMISATION_BUDGET_NONE: "none",
    pb.OPTIMISATION_BUDGET_FAST: "fast",
    pb.OPTIMISATION_BUDGET_FULL: "full",
}
_FORMATS: Mapping[pb.ImageFormat, ImageFormat] = {
    getattr(pb, f"IMAGE_FORMAT_{image_format}"): image_format for image_format in FORMATS
}
_FORMAT_CODES = {name: code for code, name in _FORMATS.items()}


def out_of_range(field: str, message: str) -> RequestError:
    """Return the error for a setting that has no such value."""
    return RequestError(Reason.SETTING_OUT_OF_RANGE, field, message)


def read_age(message: pb.Age, field: str) -> Age:
    """Return the age or the filter in ``message``; ``RequestError`` if neither is set."""
    kind = message.WhichOneof("kind")
    if kind == "group":
        return Age(group=message.group)
    if kind == "years":
        return Age(years=message.years)
    if kind == "filter":
        return Age(filter=message.filter)
    raise RequestError(
        Reason.TARGET_MISSING, field, f"{field} is empty; set an age group, a number of years or a filter"
    )


def read_output(message: pb.OutputOptions) -> Output:
    """Return the output options in ``message``; ``RequestError`` for an unknown format or a quality beyond 100."""
    if message.format != pb.IMAGE_FORMAT_UNSPECIFIED and message.format not in _FORMATS:
        raise out_of_range("output.format", f"image format {message.format} is unknown; known: {list_labels()}")
    if not 0 <= message.quality <= 100:
        raise out_of_range(
            "output.quality",
            f"quality {message.quality} is out of range; it must be between 1 and 100, or 0 for {DEFAULT_QUALITY}",
        )
    return Output(_FORMATS.get(message.format), message.quality or DEFAULT_QUALITY, message.keep_metadata)


def read_blend(blend: pb.Blend) -> BlendMode:
    """Return what ``blend`` means; ``RequestError`` for an unknown one."""
    if blend not in _BLENDS:
        raise out_of_range("blend", f"blend {blend} is unknown; known: DELTA, REPLACE")
    return _BLENDS[blend]


def read_selector(message: pb.FaceSelector, field: str) -> FaceSelector:
    """Return the selector in ``message``; ``RequestError`` if none is set, or one that can name no face."""
    kind = message.WhichOneof("kind")
    if kind == "largest" and message.largest:
        return FaceSelector()
    if kind == "index" and message.index >= 0:
        return FaceSelector(index=message.index)
    if kind == "box":
        box = message.box
        if box.width > 0 and box.height > 0 and np.isfinite([box.x, box.y, box.width, box.height]).all():
            return FaceSelector(box=(box.x, box.y, box.width, box.height))
    raise out_of_range(
        field, f"{field} names no face; set largest to true, an index from 0 on, or a box with a width and a height"
    )


def read_age_request(message: pb.AgeTransformRequest) -> AgeRequest:
    """Return all of ``message`` but its method; ``RequestError`` for what is invalid by itself."""
    if message.optimisation not in _BUDGETS:
        raise out_of_range("optimisation", f"optimisation {message.optimisation} is unknown; known: NONE, FAST, FULL")
    return AgeRequest(
        data=message.image.data,
        targets=[read_age(age, f"targets[{index}]") for index, age in enumerate(message.targets)],
        source=_read_source(message, "source"),
        faces=read_selectors(message),
        face_targets=[
            FaceTarget(
                read_selector(target.face, f"face_targets[{index}].face"),
                read_age(target.target, f"face_targets[{index}].target"),
                _read_source(target, f"face_targets[{index}].source"),
            )
            for index, target in enumerate(message.face_targets)
        ],
        strength=message.strength if message.HasField("strength") else 1.0,
        blend=read_blend(message.blend),
        output=read_output(message.output),
        with_delta=message.with_delta,
        optimisation=_BUDGETS[message.optimisation],
        latents=[
            FaceLatent(read_selector(entry.face, f"latents[{index}].face"), np.asarray(entry.latent, dtype=np.float32))
            for index, entry in enumerate(message.latents)
        ],
        keep_identity=message.keep_identity if message.HasField("keep_identity") else None,
        keep_hair=message.keep_hair,
    )


def read_reconstruct_request(message: pb.ReconstructRequest) -> ReconstructRequest:
    """Return all of ``message`` but its method; ``RequestError`` for what is invalid by itself."""
    search = None
    if message.mode not in (pb.RECONSTRUCTION_MODE_UNSPECIFIED, pb.RECONSTRUCTION_MODE_INITIAL):
        search = _read_search(message.mode, message.search, "INITIAL, ")
    source = _read_source(message, "source")
    return ReconstructRequest(message.image.data, source, read_selectors(message), read_output(message.output), search)


def read_optimize_request(message: pb.OptimizeRequest) -> OptimizeRequest:
    """Return all of ``message`` but its method; ``RequestError`` for what is invalid by itself."""
    if message.preview_every < 0:
        raise out_of_range(
            "preview_every",
            f"preview_every is {message.preview_every}; it must be a number of steps, or 0 for no previews",
        )
    return OptimizeRequest(
        data=message.image.data,
        search=_read_search(message.mode or pb.RECONSTRUCTION_MODE_IDENTITY, message.search, ""),
        face=read_selector(message.face, "face") if message.HasField("face") else FaceSelector(),
        source=_read_source(message, "source"),
        preview_every=message.preview_every,
        start=np.asarray(message.latent, dtype=np.float32) if message.latent else None,
        output=read_output(message.output),
    )


def _read_search(mode: pb.ReconstructionMode, message: pb.SearchOptions, others: str) -> SearchSettings:
    """Return how to search for ``mode``; ``others`` are the modes that need no search, for the error message."""
    if mode not in _OBJECTIVES:
        raise out_of_range("mode", f"mode {mode} cannot be taken here; known: {others}PIXELWISE, IDENTITY, BLENDED")
    if message.optimizer not in _OPTIMIZERS:
        raise out_of_range("search.optimizer", f"optimizer {message.optimizer} is unknown; known: L_BFGS_B, ADAM")
    return SearchSettings(_OBJECTIVES[mode], _OPTIMIZERS[message.optimizer], message.max_steps)


def read_compare_request(message: pb.CompareFacesRequest) -> CompareRequest:
    """Return all of ``message``; ``RequestError`` for what is invalid by itself."""
    faces = [
        read_selector(getattr(message, name), name) if message.HasField(name) else FaceSelector()
        for name in ("first_face", "second_face")
    ]
    return CompareRequest(message.first.data, message.second.data, faces[0], faces[1], message.false_accept_rate)


def _read_source(
    message: pb.AgeTransformRequest | pb.ReconstructRequest | pb.OptimizeRequest | pb.FaceTarget, field: str
) -> Age | None:
    return read_age(message.source, field) if message.HasField("source") else None


def read_selectors(
    message: pb.AgeTransformRequest | pb.ReconstructRequest | pb.MixStylesRequest,
) -> list[FaceSelector]:
    """Return the selectors in ``message``; ``RequestError`` as ``read_selector``."""
    return [read_selector(selector, f"faces[{index}]") for index, selector in enumerate(message.faces)]


def write_image(image: EncodedImage) -> pb.Image:
    """Return an image and its size."""
    return pb.Image(data=image.data, format=_FORMAT_CODES[image.format], width=image.width, height=image.height)


def write_times(clock: Clock) -> list[pb.StageTime]:
    """Return the seconds of each stage."""
    return [pb.StageTime(stage=stage, seconds=seconds) for stage, seconds in clock.seconds.items()]


def write_provenance(pipeline: Pipeline, method: Method | None = None) -> pb.Provenance:
    """Return which bundle, and which ``method`` if there is one, a result comes from."""
    bundle = pipeline.bundle
    return pb.Provenance(
        method=method.manifest.name if method else "",
        bundle=bundle.manifest.name,
        bundle_version=bundle.manifest.version,
        bundle_sha256=bundle.sha256,
    )


def write_aged_image(image: AgedImage, reader: FaceReader) -> pb.AgedImage:
    """Return a photo whose faces have changed, with a report per face."""
    return pb.AgedImage(
        image=write_image(image.image),
        faces=[write_report(face, reader) for face in image.faces],
        delta=write_image(image.delta) if image.delta else None,
    )


def write_age_result(result: AgeResult, pipeline: Pipeline, method: Method, clock: Clock) -> pb.AgeTransformResponse:
    """Return the response of ``AgeTransform``: a result per image, each with a report per face."""
    return pb.AgeTransformResponse(
        results=[write_aged_image(image, pipeline.face_reader) for image in result.images],
        provenance=write_provenance(pipeline, method),
        times=write_times(clock),
        faces_found=result.face_count,
    )


def write_reconstructions(
    faces: Sequence[ReconstructedFace | FailedFace], pipeline: Pipeline, method: Method, clock: Clock
) -> pb.ReconstructResponse:
    """Return the response of ``Reconstruct``: for each face its reconstruction, or why there is none."""
    return pb.ReconstructResponse(
        faces=[_write_reconstruction(face, pipeline.face_reader) for face in faces],
        provenance=write_provenance(pipeline, method),
        times=write_times(clock),
    )


def write_optimized(face: ReconstructedFace, pipeline: Pipeline, method: Method, clock: Clock) -> pb.OptimizeResult:
    """Return the last message of ``Optimize``: the face drawn from the best latent."""
    return pb.OptimizeResult(
        reconstruction=_write_reconstruction(face, pipeline.face_reader),
        provenance=write_provenance(pipeline, method),
        times=write_times(clock),
    )


def _write_reconstruction(face: ReconstructedFace | FailedFace, reader: FaceReader) -> pb.Reconstruction:
    if isinstance(face, FailedFace):
        return pb.Reconstruction(
            face=write_face(face.face, reader) if face.face else None, error=write_error(face.error)
        )
    return pb.Reconstruction(
        face=write_face(face.face, reader),
        crop=write_image(face.crop),
        reconstruction=write_image(face.image),
        latent=face.latent.tolist(),
        source=write_age(face.source),
        source_given=face.source_given,
        pixel_error=face.pixel_error,
        identity_similarity=face.similarity,
        identity_match=write_match(reader.embedder.match(face.similarity)),
        steps=face.steps,
    )


def write_progress(progress: SearchProgress, pipeline: Pipeline) -> pb.OptimizeProgress:
    """Return the message of ``Optimize`` for a step of the search."""
    return pb.OptimizeProgress(
        step=progress.step,
        loss=progress.loss,
        best_loss=progress.best_loss,
        identity_similarity=progress.similarity,
        identity_match=write_match(pipeline.face_reader.embedder.match(progress.similarity)),
        pixel_error=progress.pixel_error,
        preview=write_image(progress.preview) if progress.preview else None,
    )


def write_detections(detected: DetectionResult, pipeline: Pipeline, clock: Clock) -> pb.DetectFacesResponse:
    """Return the response of ``DetectFaces``."""
    return pb.DetectFacesResponse(
        faces=[write_face(face, pipeline.face_reader) for face in detected.faces],
        width=detected.width,
        height=detected.height,
        provenance=write_provenance(pipeline),
        times=write_times(clock),
    )


def write_comparison(compared: ComparisonResult, pipeline: Pipeline, clock: Clock) -> pb.CompareFacesResponse:
    """Return the response of ``CompareFaces``."""
    return pb.CompareFacesResponse(
        first=write_face(compared.first, pipeline.face_reader),
        second=write_face(compared.second, pipeline.face_reader),
        first_embedding=_write_embedding(compared.first.reading),
        second_embedding=_write_embedding(compared.second.reading),
        similarity=compared.similarity,
        distance=2 - 2 * compared.similarity,
        same_person=compared.match.same_person,
        threshold=compared.match.threshold,
        false_accept_rate=compared.match.false_accept_rate,
        identity_match=write_match(compared.match),
        provenance=write_provenance(pipeline),
        times=write_times(clock),
    )


def _write_embedding(reading: FaceReading | None) -> list[float]:
    return reading.embedding.tolist() if reading else []


def write_methods(pipeline: Pipeline, bundles: Sequence[str], workers: int) -> pb.ListMethodsResponse:
    """Return the response of ``ListMethods``.

    Args:
        pipeline: The bundle's, whose methods are told, the default first.
        bundles: The names of all bundles.
        workers: Requests that are worked on at once.
    """
    manifest = pipeline.bundle.manifest
    licences = dict.fromkeys(method.provenance.licence for method in manifest.methods)
    response = pb.ListMethodsResponse(
        bundle=manifest.name,
        bundle_version=manifest.version,
        bundle_sha256=pipeline.bundle.sha256,
        bundles=bundles,
        workers=workers,
        weights_licence="; ".join(licences),
        server_version=__version__,
        false_accept_rates=sorted(pipeline.face_reader.embedder.thresholds, reverse=True),
    )
    for index, (method, licence) in enumerate(zip(pipeline.methods, method_licences(manifest), strict=True)):
        entry = response.methods.add(
            name=method.manifest.name,
            family=method.manifest.family,
            description=method.manifest.description,
            crop_size=method.manifest.crop_size,
            is_default=index == 0,
            filters=[pb.Filter(name=entry.name, description=entry.description) for entry in method.filters],
            reconstructs=can_encode(method, searchable=False),
            optimises=can_encode(method, searchable=True),
            commercial_use=licence.commercial_use,
            licence_obstacles=licence.obstacles,
            changes_hair=method.manifest.changes_hair,
        )
        for group in method.groups:
            entry.age_groups.add(label=group.label, low=group.low, high=group.high, centre=group.centre)
        if isinstance(method, MixingMethod):
            entry.style_levels = method.level_count
            entry.style_presets.extend(_write_presets(method.level_count))
    return response


def _write_presets(level_count: int) -> list[pb.StylePreset]:
    """Return the presets for a generator of ``level_count`` levels."""
    presets = PRESETS if level_count == PRESET_LEVELS else {}
    return [
        pb.StylePreset(name=name, groups=[pb.LevelGroup(levels=levels) for levels in groups])
        for name, groups in presets.items()
    ]
