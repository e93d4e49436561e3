"""The fake server's RPCs: they read the server's behaviour, record requests, and make up responses."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, NoReturn, TypeVar, cast

import grpc
from grpc_status import rpc_status
from PIL import Image, ImageOps

from dorian.v1 import admin_pb2
from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.admin_pb2_grpc import AdminServicer
from dorian.v1.face_aging_pb2_grpc import FaceAgingServicer
from dorian_client._faces import Face
from dorian_client._files import FORMATS_BY_NUMBER, ImageFormat, decode_image, format_of_data
from dorian_client.errors import Reason
from dorian_client.testing._behaviour import STATUS_BY_REASON, Behaviour, make_status
from dorian_client.testing._drawing import crop_image, mark_image, write_delta, write_image
from dorian_client.testing._messages import (
    write_box,
    write_face,
    write_method,
    write_references,
    write_warning,
    write_years,
)

_Response = TypeVar("_Response")

_VERSION, _SHA256 = "1.2.3", "ab" * 32
_THRESHOLD = 0.4375  # similarity of one person's faces
_FALSE_ACCEPT_RATES = [0.01, 0.001]
_LATENT = [0.5, -0.25, 0.1]
_LOSSES = [1.5, 2.0, 0.5, 0.25]  # of a latent search, by step
_SEARCH_STEPS = 60  # of a latent search whose request names none
_YEARS_ADDED = 22.5  # estimated age after ageing minus that before
_MAX_AGE = 120
_UNUSABLE = pb.FaceError(reason=Reason.FACE_UNUSABLE, message="the face is seen from the side")
_NOT_FOUND = pb.FaceError(reason=Reason.FACE_NOT_FOUND, message="the photo has no such face")


class FakeServicer(FaceAgingServicer, AdminServicer):
    """Responds as `FakeServer` documents.

    Args:
        behaviour: What the server has, how it fails, and where requests are recorded.
    """

    def __init__(self, behaviour: Behaviour) -> None:
        self._behaviour = behaviour

    def AgeTransform(self, request: pb.AgeTransformRequest, context: grpc.ServicerContext) -> pb.AgeTransformResponse:
        self._begin(request, context)
        photo, format = self._decode(request.image.data, request.output, context)
        self._check_method(request.method, context)
        for index, target in enumerate(request.targets):
            self._check_target(target, f"targets[{index}]", context)
        if not request.targets and not request.face_targets:
            _abort(context, Reason.TARGET_MISSING, "the request has no target", "targets")
        results = []
        targets: list[pb.Age | None] = [*request.targets] or [None]
        for index, common_target in enumerate(targets):
            picture = mark_image(ImageOps.invert(photo), index)
            results.append(
                pb.AgedImage(
                    image=write_image(picture, format),
                    faces=self._reports(request, common_target),
                    delta=write_delta(photo, picture) if request.with_delta else None,
                )
            )
        response = pb.AgeTransformResponse(
            results=results,
            provenance=self._provenance(request, request.method),
            times=[pb.StageTime(stage=stage, seconds=0.25) for stage in ("decode", "generate", "generate")],
            faces_found=len(self._behaviour.faces),
        )
        return self._edit(response)

    def MixStyles(self, request: pb.MixStylesRequest, context: grpc.ServicerContext) -> pb.MixStylesResponse:
        self._begin(request, context)
        photo, format = self._decode(request.image.data, request.output, context)
        self._check_method(request.method, context)
        for index, reference in enumerate(request.references):
            self._decode(reference.image.data, pb.OutputOptions(), context, f"references[{index}].image.data")
        if not request.references and not request.HasField("chosen"):
            _abort(context, Reason.REFERENCE_MISSING, "the request has no reference", "references")
        reports = self._reports(pb.AgeTransformRequest(faces=request.faces), request.chosen.age)
        picture = mark_image(ImageOps.invert(photo), len(request.references))
        response = pb.MixStylesResponse(
            result=pb.AgedImage(
                image=write_image(picture, format),
                faces=reports,
                delta=write_delta(photo, picture) if request.with_delta else None,
            ),
            references=write_references(request, self._behaviour.faces, [report.face.index for report in reports]),
            provenance=self._provenance(
                request, request.method or next(item.name for item in self._behaviour.methods if item.style_levels)
            ),
            times=[pb.StageTime(stage="encode", seconds=0.5)],
            faces_found=len(self._behaviour.faces),
        )
        return self._edit(response)

    def DetectFaces(self, request: pb.DetectFacesRequest, context: grpc.ServicerContext) -> pb.DetectFacesResponse:
        self._begin(request, context)
        photo, _ = self._decode(request.image.data, pb.OutputOptions(), context)
        response = pb.DetectFacesResponse(
            faces=map(write_face, self._behaviour.faces),
            width=photo.width,
            height=photo.height,
            provenance=self._provenance(request),
            times=[pb.StageTime(stage="detect", seconds=0.125)],
        )
        return self._edit(response)

    def CompareFaces(self, request: pb.CompareFacesRequest, context: grpc.ServicerContext) -> pb.CompareFacesResponse:
        self._begin(request, context)
        faces = []
        for photo in ("first", "second"):
            self._decode(getattr(request, photo).data, pb.OutputOptions(), context)
            selector = getattr(request, f"{photo}_face")
            face = self._select(selector if selector.WhichOneof("kind") else pb.FaceSelector(largest=True))
            if face is None:
                _abort(context, Reason.FACE_NOT_FOUND, "no such face", f"{photo}_face")
            faces.append(face)
        similarity = self._behaviour.similarity
        response = pb.CompareFacesResponse(
            first=write_face(faces[0]),
            second=write_face(faces[1]),
            first_embedding=[1, 0],
            second_embedding=[0.75, 0.5],
            similarity=similarity,
            distance=2 - 2 * similarity,
            same_person=similarity >= _THRESHOLD,
            threshold=_THRESHOLD,
            false_accept_rate=request.false_accept_rate or _FALSE_ACCEPT_RATES[-1],
            identity_match=self._match(similarity, request.false_accept_rate),
            provenance=self._provenance(request),
            times=[pb.StageTime(stage="read", seconds=0.5)],
        )
        return self._edit(response)

    def Reconstruct(self, request: pb.ReconstructRequest, context: grpc.ServicerContext) -> pb.ReconstructResponse:
        self._begin(request, context)
        photo, format = self._decode(request.image.data, request.output, context)
        self._check_method(request.method, context)
        faces = [self._select(selector) for selector in request.faces] or self._behaviour.faces
        response = pb.ReconstructResponse(
            faces=[self._reconstruct(request, face, photo, format) for face in faces],
            provenance=self._provenance(request, request.method),
            times=[pb.StageTime(stage="encode", seconds=0.5)],
        )
        return self._edit(response)

    def Optimize(self, request: pb.OptimizeRequest, context: grpc.ServicerContext) -> Iterator[pb.OptimizeResponse]:
        has_ended, is_done = threading.Event(), threading.Event()

        def on_end() -> None:
            has_ended.set()
            if not is_done.is_set():
                self._behaviour.search_cancelled.set()

        self._begin(request, context)
        photo, format = self._decode(request.image.data, request.output, context)
        self._check_method(request.method, context)
        if not context.add_callback(on_end):  # only now: a search that is refused is not ended by the client
            on_end()
        face = self._select(request.face if request.HasField("face") else pb.FaceSelector(largest=True))
        for step in range(len(_LOSSES)):
            progress = _progress(step)
            progress.identity_match.CopyFrom(self._match(progress.identity_similarity))
            if step == len(_LOSSES) - 1 or (request.preview_every and step % request.preview_every == 0):
                drawing = ImageOps.invert(crop_image(photo, face or self._behaviour.faces[0]))
                progress.preview.CopyFrom(write_image(mark_image(drawing, step), format))
            yield from self._edit_step(pb.OptimizeResponse(progress=progress))
            if step == self._behaviour.pause_after:
                has_ended.wait()
                return
            _abort_with(self._behaviour.next_failure(step), context)
        is_done.set()
        result = pb.OptimizeResult(
            reconstruction=self._reconstruct(request, face, photo, format),
            provenance=self._provenance(request, request.method),
            times=[pb.StageTime(stage="optimise", seconds=1.5)],
        )
        yield from self._edit_step(pb.OptimizeResponse(result=result))

    def ListMethods(self, request: pb.ListMethodsRequest, context: grpc.ServicerContext) -> pb.ListMethodsResponse:
        self._begin(request, context)
        response = pb.ListMethodsResponse(
            methods=map(write_method, self._behaviour.methods),
            bundle=self._bundle(request),
            bundle_version=_VERSION,
            bundle_sha256=_SHA256,
            weights_licence="CC0-1.0",
            server_version="0.0.1",
            false_accept_rates=_FALSE_ACCEPT_RATES,
            bundles=self._behaviour.bundles,
            workers=self._behaviour.workers,
        )
        return self._edit(response)

    def ReloadBundles(
        self, request: admin_pb2.ReloadBundlesRequest, context: grpc.ServicerContext
    ) -> admin_pb2.ReloadBundlesResponse:
        self._begin(request, context)
        names = [request.bundle] if request.bundle else self._behaviour.bundles
        bundles = [
            admin_pb2.ServedBundle(
                name=name, version=_VERSION, sha256=_SHA256, changed=name in self._behaviour.changed_bundles
            )
            for name in names
        ]
        return self._edit(admin_pb2.ReloadBundlesResponse(bundles=bundles))

    def _begin(self, request: Any, context: grpc.ServicerContext) -> None:
        """Record a request, take the delay, and fail if the server is told to."""
        behaviour = self._behaviour
        behaviour.requests.append(request)
        behaviour.metadata.append(dict(context.invocation_metadata()))
        behaviour.seconds_left.append(context.time_remaining())
        if not isinstance(request, pb.ListMethodsRequest) and context.add_callback(behaviour.leave):
            _abort_with(behaviour.enter(), context)
        if behaviour.delay:
            has_ended = threading.Event()
            context.add_callback(has_ended.set)
            has_ended.wait(behaviour.delay)
        _abort_with(behaviour.next_failure(), context)
        if request.bundle not in ("", *behaviour.bundles):
            _abort(context, Reason.BUNDLE_UNKNOWN, "no such bundle", "bundle")

    def _edit(self, response: _Response) -> _Response:
        edit = self._behaviour.on_response
        return response if edit is None else cast(_Response, edit(response))

    def _edit_step(self, response: pb.OptimizeResponse) -> Iterator[pb.OptimizeResponse]:
        edited = self._edit(response)
        if edited is not None:
            yield edited

    def _decode(
        self, data: bytes, output: pb.OutputOptions, context: grpc.ServicerContext, field: str = "image.data"
    ) -> tuple[Image.Image, ImageFormat]:
        """Return a photo, upright as RGB, and the format of its response."""
        try:
            photo, format = decode_image(data), format_of_data(data)
        except (OSError, ValueError):
            _abort(context, Reason.IMAGE_UNREADABLE, "the photo is not an image", field)
        return photo.convert("RGB"), FORMATS_BY_NUMBER.get(output.format, format)

    def _check_method(self, name: str, context: grpc.ServicerContext) -> None:
        if name not in ("", *(method.name for method in self._behaviour.methods)):
            _abort(context, Reason.METHOD_UNKNOWN, f"no method is called {name}", "method")

    def _check_target(self, target: pb.Age, field: str, context: grpc.ServicerContext) -> None:
        methods = self._behaviour.methods
        match target.WhichOneof("kind"):
            case "filter":
                if not any(filter.name == target.filter for method in methods for filter in method.filters):
                    _abort(context, Reason.FILTER_UNKNOWN, f"no filter is called {target.filter}", f"{field}.filter")
            case "group":
                if not any(group.label == target.group for method in methods for group in method.age_groups):
                    _abort(context, Reason.AGE_GROUP_UNKNOWN, f"no age group {target.group}", f"{field}.group")
            case "years":
                if not 0 <= target.years <= _MAX_AGE:
                    _abort(context, Reason.AGE_OUT_OF_RANGE, f"an age cannot be {target.years:g}", f"{field}.years")

    def _select(self, selector: pb.FaceSelector) -> Face | None:
        faces = self._behaviour.faces
        match selector.WhichOneof("kind"):
            case "largest":
                matches = faces[:1]
            case "index":
                matches = [face for face in faces if face.index == selector.index]
            case _:
                matches = [face for face in faces if write_box(face) == selector.box]
        return matches[0] if matches else None

    def _reports(self, request: pb.AgeTransformRequest, target: pb.Age | None) -> list[pb.FaceReport]:
        """Return a report per face that changes, the largest first, then one per selected face that is missing."""
        pairs = [(self._select(face_target.face), face_target.target) for face_target in request.face_targets]
        if target is not None:
            selected = [self._select(selector) for selector in request.faces] or self._behaviour.faces
            pairs += [(face, target) for face in selected]
        targets = {face.index: (face, target) for face, target in reversed(pairs) if face is not None}
        reports = [self._report(request, face, target) for _, (face, target) in sorted(targets.items())]
        return reports + [pb.FaceReport(error=_NOT_FOUND) for face, _ in pairs if face is None]

    def _report(self, request: pb.AgeTransformRequest, face: Face, target: pb.Age) -> pb.FaceReport:
        if face.index in self._behaviour.unusable_faces:
            return pb.FaceReport(face=write_face(face), target=target, error=_UNUSABLE)
        source_given = request.HasField("source")
        similarity = 0.875 - face.index / 8
        return pb.FaceReport(
            face=write_face(face),
            source=request.source if source_given else _estimate(face),
            source_given=source_given,
            target=target,
            estimated_age_after=(face.estimated_age or 0) + _YEARS_ADDED,
            identity_similarity=similarity,
            identity_match=self._match(similarity),
            warnings=map(write_warning, self._behaviour.warnings.get(face.index, [])),
            reached=_reach(request, target, similarity),
        )

    def _match(self, similarity: float, false_accept_rate: float = 0) -> pb.IdentityMatch:
        return pb.IdentityMatch(
            same_person=similarity >= _THRESHOLD,
            threshold=_THRESHOLD,
            false_accept_rate=false_accept_rate or _FALSE_ACCEPT_RATES[-1],
            years_apart=write_years(self._behaviour.years_apart),
        )

    def _reconstruct(
        self,
        request: pb.ReconstructRequest | pb.OptimizeRequest,
        face: Face | None,
        photo: Image.Image,
        format: ImageFormat,
    ) -> pb.Reconstruction:
        if face is None:
            return pb.Reconstruction(error=_NOT_FOUND)
        if face.index in self._behaviour.unusable_faces:
            return pb.Reconstruction(face=write_face(face), error=_UNUSABLE)
        source_given = request.HasField("source")
        crop = crop_image(photo, face)
        has_search = request.mode != pb.RECONSTRUCTION_MODE_INITIAL
        return pb.Reconstruction(
            face=write_face(face),
            crop=write_image(crop, format),
            reconstruction=write_image(ImageOps.invert(crop), format),
            latent=_LATENT,
            source=request.source if source_given else _estimate(face),
            source_given=source_given,
            pixel_error=0.125,
            identity_similarity=0.625,
            identity_match=self._match(0.625),
            steps=(request.search.max_steps or _SEARCH_STEPS) if has_search else 0,
        )

    def _provenance(self, request: Any, method: str | None = None) -> pb.Provenance:
        """Return the provenance of a response; the method is None if none takes part, and empty for the default."""
        default = next((candidate.name for candidate in self._behaviour.methods if candidate.is_default), "")
        return pb.Provenance(
            method="" if method is None else method or default,
            bundle=self._bundle(request),
            bundle_version=_VERSION,
            bundle_sha256=_SHA256,
        )

    def _bundle(self, request: Any) -> str:
        return request.bundle or self._behaviour.bundles[0]


def _abort(context: grpc.ServicerContext, reason: Reason, message: str, field: str) -> NoReturn:
    status = make_status(STATUS_BY_REASON[reason], message, reason=reason, field=field)
    context.abort_with_status(rpc_status.to_status(status))
    raise AssertionError("abort_with_status always raises")


def _abort_with(status: Any, context: grpc.ServicerContext) -> None:
    if status is not None:
        context.abort_with_status(rpc_status.to_status(status))


def _estimate(face: Face) -> pb.Age | None:
    return None if face.estimated_age is None else pb.Age(years=face.estimated_age)


def _progress(step: int) -> pb.OptimizeProgress:
    return pb.OptimizeProgress(
        step=step,
        loss=_LOSSES[step],
        best_loss=min(_LOSSES[: step + 1]),
        identity_similarity=step / 4,
        pixel_error=0.5 - step / 8,
    )


def _reach(request: pb.AgeTransformRequest, target: pb.Age, similarity: float) -> pb.ReachedTarget | None:
    """Return that a face reached its target, or was left as it was where its similarity is below the identity budget."""
    if not request.HasField("keep_identity"):
        return None
    share = float(similarity >= request.keep_identity)
    years = target.years if share and target.WhichOneof("kind") == "years" else None
    return pb.ReachedTarget(share=share, years=years)
