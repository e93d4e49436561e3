"""A server for the client's tests: real gRPC, no networks. It inverts photos, and fails as it is told to."""

from __future__ import annotations

import copy
import io
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
import numpy as np
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status
from PIL import Image, ImageOps

from dorian.v1 import admin_pb2
from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.admin_pb2_grpc import AdminServicer
from dorian.v1.face_aging_pb2_grpc import FaceAgingServicer

GROUPS = {"0-18": (0, 18), "19-29": (19, 29), "30-39": (30, 39), "60+": (60, None)}
FILTERS = {"young": "Younger.", "old": "Older."}
FORMATS = {"JPEG": pb.IMAGE_FORMAT_JPEG, "PNG": pb.IMAGE_FORMAT_PNG, "WEBP": pb.IMAGE_FORMAT_WEBP}
LANDMARKS = [(18, 20), (30, 20.5), (24, 28), (19, 34), (29, 35)]
FACES = [
    pb.Face(
        box=pb.Box(x=8, y=4, width=32, height=40),
        score=0.75,
        landmarks=[pb.Point(x=x, y=y) for x, y in LANDMARKS],
        estimated_age=34.25,
        index=0,
    ),
    pb.Face(
        box=pb.Box(x=50, y=6, width=12, height=14),
        score=0.5,
        landmarks=[pb.Point(x=44 + x / 2, y=y / 2) for x, y in LANDMARKS],
        estimated_age=7.75,
        index=1,
    ),
]
UNUSABLE = pb.FaceError(reason="FACE_UNUSABLE", message="the face is seen from the side")
NOT_FOUND = pb.FaceError(reason="FACE_NOT_FOUND", message="the photo has no such face")
LOSSES = [1.5, 2.0, 0.5, 0.25]  # of a search, step by step


@dataclass
class FakeServer(FaceAgingServicer, AdminServicer):
    """Inverts the photo, and writes the target's position into the red of the top left pixel of each result.

    requests, metadata, seconds_left: of each call, what came, and how long the caller would wait.
    bundles: names of those that are served, all the same. reloaded: those that a reload has changed.
    faces: what is found in every photo. unusable: indices of the faces that cannot be treated.
    pause_after: the step of a search after which it does nothing until the call is ended. cancelled: whether one was.
    """

    address: str = ""
    requests: list[Any] = field(default_factory=list)
    metadata: list[dict[str, str | bytes]] = field(default_factory=list)
    seconds_left: list[float | None] = field(default_factory=list)
    bundles: list[str] = field(default_factory=lambda: ["fake-bundle"])
    reloaded: set[str] = field(default_factory=set)
    held: threading.Event | None = None
    drop_results: int = 0
    drop_deltas: bool = False
    faces: list[pb.Face] = field(default_factory=lambda: copy.deepcopy(FACES))
    unusable: set[int] = field(default_factory=set)
    similarity: float = 0.75
    pause_after: int | None = None
    cancelled: threading.Event = field(default_factory=threading.Event)
    _failure: tuple[grpc.StatusCode, str, list[any_pb2.Any]] | None = None
    _fail_after: int | None = None
    _fail_times: int | None = None

    def fail(
        self, code: grpc.StatusCode, message: str, *, reason: str = "", field: str = "", domain: str = "dorian.v1",
        after: int | None = None, retry_after: float | None = None, times: int | None = None,
    ) -> None:  # fmt: skip
        """Lets every call from now on, or so many, fail with these; or a search after one of its steps."""
        details = []
        if reason:
            info = error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata={"limit": "16"})
            details.append(_pack(info))
        if field:
            violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=message)
            details.append(_pack(error_details_pb2.BadRequest(field_violations=[violation])))
        if retry_after is not None:
            delay = duration_pb2.Duration()
            delay.FromNanoseconds(round(retry_after * 1e9))
            details.append(_pack(error_details_pb2.RetryInfo(retry_delay=delay)))
        self._failure, self._fail_after, self._fail_times = (code, message, details), after, times

    def AgeTransform(self, request: pb.AgeTransformRequest, context: grpc.ServicerContext) -> pb.AgeTransformResponse:
        self._begin(request, context)
        photo, format = self._decode(request.image.data, request.output, context)
        self._check_method(request.method, context)
        for index, target in enumerate(request.targets):
            self._check_target(target, f"targets[{index}]", context)
        if not request.targets and not request.face_targets:
            self._abort(context, grpc.StatusCode.INVALID_ARGUMENT, "no age to aim at", "TARGET_MISSING", "targets")
        results = []
        for index, target in enumerate(request.targets or [None]):
            picture = ImageOps.invert(photo)
            picture.putpixel((0, 0), (index, 0, 0))
            delta = _delta(photo, picture) if request.with_delta and not self.drop_deltas else None
            reports = self._reports(request, target)
            results.append(pb.AgedImage(image=_encode(picture, format), faces=reports, delta=delta))
        return pb.AgeTransformResponse(
            results=results[self.drop_results :],
            provenance=_provenance(request.method),
            times=[pb.StageTime(stage=stage, seconds=0.25) for stage in ("decode", "generate", "generate")],
            faces_found=len(self.faces),
        )

    def DetectFaces(self, request: pb.DetectFacesRequest, context: grpc.ServicerContext) -> pb.DetectFacesResponse:
        self._begin(request, context)
        photo, _ = self._decode(request.image.data, pb.OutputOptions(), context)
        return pb.DetectFacesResponse(
            faces=self.faces,
            width=photo.width,
            height=photo.height,
            provenance=_provenance(),
            times=[pb.StageTime(stage="detect", seconds=0.125)],
        )

    def CompareFaces(self, request: pb.CompareFacesRequest, context: grpc.ServicerContext) -> pb.CompareFacesResponse:
        self._begin(request, context)
        chosen = []
        for where in ("first", "second"):
            self._decode(getattr(request, where).data, pb.OutputOptions(), context)
            selector = getattr(request, f"{where}_face")
            face = self._find(selector) if selector.WhichOneof("kind") else self.faces[0]
            if face is None:
                self._abort(
                    context, grpc.StatusCode.INVALID_ARGUMENT, "no such face", "FACE_NOT_FOUND", f"{where}_face"
                )
            chosen.append(face)
        return pb.CompareFacesResponse(
            first=chosen[0],
            second=chosen[1],
            first_embedding=[1, 0],
            second_embedding=[0.75, 0.5],
            similarity=self.similarity,
            distance=2 - 2 * self.similarity,
            same_person=self.similarity >= 0.4375,
            threshold=0.4375,
            false_accept_rate=request.false_accept_rate or 0.001,
            provenance=_provenance(),
            times=[pb.StageTime(stage="read", seconds=0.5)],
        )

    def Reconstruct(self, request: pb.ReconstructRequest, context: grpc.ServicerContext) -> pb.ReconstructResponse:
        self._begin(request, context)
        photo, format = self._decode(request.image.data, request.output, context)
        self._check_method(request.method, context)
        found = [self._find(selector) for selector in request.faces] or self.faces
        faces = [self._reconstruct(request, face, photo, format) for face in found]
        times = [pb.StageTime(stage="encode", seconds=0.5)]
        return pb.ReconstructResponse(faces=faces, provenance=_provenance(request.method), times=times)

    def Optimize(self, request: pb.OptimizeRequest, context: grpc.ServicerContext) -> Iterator[pb.OptimizeResponse]:
        """Draws the inverted crop at every step, with the step's number in the red of the top left pixel."""
        ended, finished = threading.Event(), threading.Event()

        def end() -> None:
            ended.set()
            if not finished.is_set():
                self.cancelled.set()

        context.add_callback(end)
        self._begin(request, context)
        photo, format = self._decode(request.image.data, request.output, context)
        face = self._find(request.face) if request.HasField("face") else self.faces[0]
        reconstruction = self._reconstruct(request, face, photo, format)
        for step, loss in enumerate(LOSSES):
            progress = pb.OptimizeProgress(
                step=step,
                loss=loss,
                best_loss=min(LOSSES[: step + 1]),
                identity_similarity=step / 4,
                pixel_error=0.5 - step / 8,
            )
            if step == len(LOSSES) - 1 or (request.preview_every and step % request.preview_every == 0):
                preview = ImageOps.invert(_crop(photo, face or self.faces[0]))
                preview.putpixel((0, 0), (step, 0, 0))
                progress.preview.CopyFrom(_encode(preview, format))
            yield pb.OptimizeResponse(progress=progress)
            if step == self.pause_after:
                ended.wait(10)
                return
            if step == self._fail_after:
                self._fail(context)
        finished.set()
        if not self.drop_results:
            times = [pb.StageTime(stage="optimise", seconds=1.5)]
            result = pb.OptimizeResult(
                reconstruction=reconstruction, provenance=_provenance(request.method), times=times
            )
            yield pb.OptimizeResponse(result=result)

    def ListMethods(self, request: pb.ListMethodsRequest, context: grpc.ServicerContext) -> pb.ListMethodsResponse:
        self._begin(request, context)
        groups = [pb.AgeGroup(label=label, low=low, high=high, centre=low) for label, (low, high) in GROUPS.items()]
        return pb.ListMethodsResponse(
            methods=[
                pb.Method(
                    name="inverter",
                    family="fake",
                    description="Inverts.",
                    age_groups=groups,
                    crop_size=64,
                    is_default=True,
                    reconstructs=True,
                    optimises=True,
                ),
                pb.Method(
                    name="other",
                    family="fake",
                    description="Inverts too.",
                    age_groups=groups[:2],
                    crop_size=32,
                    reconstructs=True,
                ),
                pb.Method(
                    name="painter",
                    family="fake",
                    description="Has no ages.",
                    crop_size=32,
                    filters=[pb.Filter(name=name, description=text) for name, text in FILTERS.items()],
                ),
            ],
            bundle="fake-bundle",
            bundle_version="1.2.3",
            bundle_sha256="ab" * 32,
            weights_licence="CC0-1.0",
            server_version="0.0.1",
            false_accept_rates=[0.01, 0.001],
            bundles=self.bundles,
        )

    def ReloadBundles(
        self, request: admin_pb2.ReloadBundlesRequest, context: grpc.ServicerContext
    ) -> admin_pb2.ReloadBundlesResponse:
        self._begin(request, context)
        return admin_pb2.ReloadBundlesResponse(
            bundles=[
                admin_pb2.ServedBundle(name=name, version="1.2.3", sha256="ab" * 32, changed=name in self.reloaded)
                for name in ([request.bundle] if request.bundle else self.bundles)
            ]
        )

    def _begin(self, request: Any, context: grpc.ServicerContext) -> None:
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata()))
        self.seconds_left.append(context.time_remaining())
        if self.held is not None:
            self.held.wait(10)
        if self._fail_after is None:
            self._fail(context)
        if request.bundle not in ("", *self.bundles):
            self._abort(context, grpc.StatusCode.NOT_FOUND, "no such bundle", "BUNDLE_UNKNOWN", "bundle")

    def _fail(self, context: grpc.ServicerContext) -> None:
        if self._failure is None or self._fail_times == 0:
            return
        if self._fail_times is not None:
            self._fail_times -= 1
        code, message, details = self._failure
        status = status_pb2.Status(code=code.value[0], message=message, details=details)
        context.abort_with_status(rpc_status.to_status(status))

    def _abort(
        self, context: grpc.ServicerContext, code: grpc.StatusCode, message: str, reason: str, field: str
    ) -> NoReturn:
        self.fail(code, message, reason=reason, field=field)
        assert self._failure is not None
        (_, _, details), self._failure = self._failure, None
        context.abort_with_status(
            rpc_status.to_status(status_pb2.Status(code=code.value[0], message=message, details=details))
        )
        raise AssertionError("abort_with_status always raises")

    def _decode(
        self, data: bytes, output: pb.OutputOptions, context: grpc.ServicerContext
    ) -> tuple[Image.Image, pb.ImageFormat]:
        try:
            image = Image.open(io.BytesIO(data))
            upright = ImageOps.exif_transpose(image)
        except OSError:
            self._abort(
                context, grpc.StatusCode.INVALID_ARGUMENT, "the photo is not an image", "IMAGE_UNREADABLE", "image.data"
            )
        return upright.convert("RGB"), output.format or FORMATS[str(image.format)]

    def _check_method(self, name: str, context: grpc.ServicerContext) -> None:
        if name not in ("", "inverter", "other", "painter"):
            self._abort(context, grpc.StatusCode.NOT_FOUND, f"no method is called {name}", "METHOD_UNKNOWN", "method")

    def _check_target(self, age: pb.Age, where: str, context: grpc.ServicerContext) -> None:
        bad = grpc.StatusCode.INVALID_ARGUMENT
        if age.WhichOneof("kind") == "filter" and age.filter not in FILTERS:
            self._abort(context, bad, f"no filter is called {age.filter}", "FILTER_UNKNOWN", f"{where}.filter")
        if age.WhichOneof("kind") == "group" and age.group not in GROUPS:
            self._abort(context, bad, f"no age group {age.group}", "AGE_GROUP_UNKNOWN", f"{where}.group")
        if age.WhichOneof("kind") == "years" and not 0 <= age.years <= 120:
            self._abort(context, bad, f"an age cannot be {age.years:g}", "AGE_OUT_OF_RANGE", f"{where}.years")

    def _reports(self, request: pb.AgeTransformRequest, target: pb.Age | None) -> list[pb.FaceReport]:
        own = [(self._find(chosen.face), chosen.target) for chosen in request.face_targets]
        common: list[pb.Face | None] = [self._find(selector) for selector in request.faces] or list(self.faces)
        pairs = own if target is None else [*own, *((face, target) for face in common)]
        aims = {face.index: (face, aim) for face, aim in reversed(pairs) if face is not None}
        missing = [pb.FaceReport(error=NOT_FOUND) for face, _ in pairs if face is None]
        return [self._report(request, face, aim) for _, (face, aim) in sorted(aims.items())] + missing

    def _report(self, request: pb.AgeTransformRequest, face: pb.Face, target: pb.Age) -> pb.FaceReport:
        if face.index in self.unusable:
            return pb.FaceReport(face=face, target=target, error=UNUSABLE)
        given = request.HasField("source")
        estimate = pb.Age(years=face.estimated_age) if face.HasField("estimated_age") else None
        return pb.FaceReport(
            face=face,
            source=request.source if given else estimate,
            source_given=given,
            target=target,
            estimated_age_after=face.estimated_age + 22.5,
            identity_similarity=0.875 - face.index / 8,
        )

    def _reconstruct(
        self,
        request: pb.ReconstructRequest | pb.OptimizeRequest,
        face: pb.Face | None,
        photo: Image.Image,
        format: pb.ImageFormat,
    ) -> pb.Reconstruction:
        if face is None or face.index in self.unusable:
            return pb.Reconstruction(face=face, error=NOT_FOUND if face is None else UNUSABLE)
        given = request.HasField("source")
        crop = _crop(photo, face)
        return pb.Reconstruction(
            face=face,
            crop=_encode(crop, format),
            reconstruction=_encode(ImageOps.invert(crop), format),
            latent=[0.5, -0.25, 0.1],
            source=request.source if given else pb.Age(years=face.estimated_age),
            source_given=given,
            pixel_error=0.125,
            identity_similarity=0.625,
            steps=0 if request.mode == pb.RECONSTRUCTION_MODE_INITIAL else request.search.max_steps or 60,
        )

    def _find(self, selector: pb.FaceSelector) -> pb.Face | None:
        match selector.WhichOneof("kind"):
            case "largest":
                matches = self.faces[:1]
            case "index":
                matches = [face for face in self.faces if face.index == selector.index]
            case _:
                matches = [face for face in self.faces if face.box == selector.box]
        return matches[0] if matches else None


def _pack(message: Any) -> any_pb2.Any:
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


def _provenance(method: str | None = None) -> pb.Provenance:
    name = "" if method is None else method or "inverter"
    return pb.Provenance(method=name, bundle="fake-bundle", bundle_version="1.2.3", bundle_sha256="ab" * 32)


def _crop(photo: Image.Image, face: pb.Face) -> Image.Image:
    box = face.box
    return photo.crop((int(box.x), int(box.y), int(box.x + box.width), int(box.y + box.height)))


def _delta(photo: Image.Image, picture: Image.Image) -> pb.Image:
    change = np.asarray(picture, dtype=np.int16) - np.asarray(photo, dtype=np.int16)
    layer = Image.fromarray((change + 128).clip(0, 255).astype(np.uint8))
    layer.putalpha(255)
    return _encode(layer, pb.IMAGE_FORMAT_PNG)


def _encode(image: Image.Image, format: pb.ImageFormat) -> pb.Image:
    buffer = io.BytesIO()
    name = {number: name for name, number in FORMATS.items()}[format]
    image.save(buffer, name, **({"lossless": True} if name == "WEBP" else {}))
    return pb.Image(data=buffer.getvalue(), format=format, width=image.width, height=image.height)
