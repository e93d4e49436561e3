"""A small server on a real socket that draws grey or red images, and judges of their brightness and colour."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import cv2
import grpc
import numpy as np
import onnx
import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_status import rpc_status
from numpy.typing import NDArray
from onnx import TensorProto, helper

from dorian.v1 import face_aging_pb2 as pb
from dorian.v1.face_aging_pb2_grpc import FaceAgingServicer, add_FaceAgingServicer_to_server
from dorian_bundle.ages import PAPER_GROUPS
from dorian_bundle.alignment import DEFAULT_TEMPLATE, crop_matrix, warp_crop
from dorian_evaluation.judges import faceapi, reidentification
from tests.evaluation.painted_bundle import BOX, CROP, LATENT, POINTS

LEVELS = {"young": 20, "old": 60}  # grey of the filters' pictures; that of ages is the years
SEARCHED = {
    pb.OPTIMISATION_BUDGET_FAST: 2,
    pb.OPTIMISATION_BUDGET_FULL: 3,
}  # levels that a search makes a picture lighter
STEPS = {  # of a search in each mode; the pixel error is a hundredth of it
    pb.RECONSTRUCTION_MODE_INITIAL: 0,
    pb.RECONSTRUCTION_MODE_PIXELWISE: 7,
    pb.RECONSTRUCTION_MODE_IDENTITY: 11,
    pb.RECONSTRUCTION_MODE_BLENDED: 13,
}
RED = (255, 0, 0)  # of the initial reconstruction, which is nobody's; the others are the crop itself


class GreyServer(FaceAgingServicer):
    """Draws every photo grey; detects no face in the first photo that it gets, and a false one beside the true one in others.

    Args:
        bundle: SHA-256 of its bundle.
    """

    def __init__(self, bundle: str = "") -> None:
        self.bundle = bundle
        self.faceless: bytes | None = None
        self.lock = threading.Lock()

    def ListMethods(self, request: pb.ListMethodsRequest, context: grpc.ServicerContext) -> pb.ListMethodsResponse:
        filters = [pb.Filter(name=name) for name in LEVELS]
        groups = [pb.AgeGroup(label=group.label) for group in PAPER_GROUPS]
        methods = [
            pb.Method(name="ages", is_default=True, crop_size=64, age_groups=groups),
            pb.Method(name="filters", crop_size=32, filters=filters),
            pb.Method(name="age_cgan", crop_size=CROP, age_groups=groups),
        ]
        return pb.ListMethodsResponse(bundle="grey", bundle_version="1", bundle_sha256=self.bundle, methods=methods)

    def AgeTransform(self, request: pb.AgeTransformRequest, context: grpc.ServicerContext) -> pb.AgeTransformResponse:
        photo, faces = self._detect_some(request.image, context)
        if request.method == "filters" and any(target.WhichOneof("kind") != "filter" for target in request.targets):
            reject(context, "TARGET_UNSUITABLE")
        if request.method != "age_cgan" and request.optimisation != pb.OPTIMISATION_BUDGET_NONE:
            reject(context, "METHOD_UNSUITABLE")
        assert request.output.format == pb.IMAGE_FORMAT_PNG
        results = []
        for target in request.targets:
            grey = level(target) + SEARCHED.get(request.optimisation, 0)
            picture = np.full_like(photo, grey)
            if request.HasField("source"):  # a level up or down within the box
                assert request.source.years == target.years
                picture = photo.copy()
                x, y, width, height = map(int, BOX)
                inside = picture[y : y + height, x : x + width]
                inside[:] = np.where(inside < 128, inside + 1, inside - 1)
            reports = [pb.FaceReport(face=face, target=target) for face in faces]
            results.append(pb.AgedImage(image=image_of(picture), faces=reports))
        return pb.AgeTransformResponse(results=results, faces_found=len(faces))

    def DetectFaces(self, request: pb.DetectFacesRequest, context: grpc.ServicerContext) -> pb.DetectFacesResponse:
        photo, faces = self._detect(request.image)
        return pb.DetectFacesResponse(faces=faces, width=photo.shape[1], height=photo.shape[0])

    def Reconstruct(self, request: pb.ReconstructRequest, context: grpc.ServicerContext) -> pb.ReconstructResponse:
        photo, faces = self._detect_some(request.image, context)
        if request.method != "age_cgan":
            reject(context, "METHOD_UNSUITABLE")
        assert request.output.format == pb.IMAGE_FORMAT_PNG
        (face,) = [face for face in faces if face.box == request.faces[0].box]
        crop = warp_crop(photo, crop_matrix(POINTS, DEFAULT_TEMPLATE, CROP), CROP)
        is_first = request.mode == pb.RECONSTRUCTION_MODE_INITIAL
        drawing = np.full_like(crop, RED) if is_first else crop
        steps = min(STEPS[request.mode], request.search.max_steps or 100)
        latent = [float(steps), *[0.0] * (LATENT - 1)]
        reconstruction = pb.Reconstruction(
            face=face,
            crop=image_of(crop),
            reconstruction=image_of(drawing),
            latent=latent,
            pixel_error=steps / 100,
            steps=steps,
        )
        return pb.ReconstructResponse(faces=[reconstruction])

    def _detect_some(self, image: pb.Image, context: grpc.ServicerContext) -> tuple[NDArray[np.uint8], list[pb.Face]]:
        """Return the photo and its faces; reject a photo without one."""
        photo, faces = self._detect(image)
        if not faces:
            reject(context, "NO_FACE")
        return photo, faces

    def _detect(self, image: pb.Image) -> tuple[NDArray[np.uint8], list[pb.Face]]:
        """Return the photo as RGB, and its faces; the second is the true one."""
        photo = np.ascontiguousarray(cv2.imdecode(np.frombuffer(image.data, np.uint8), cv2.IMREAD_COLOR)[:, :, ::-1])
        with self.lock:
            self.faceless = self.faceless or photo.tobytes()
        x, y, width, _ = BOX
        faces = [pb.Face(box=pb.Box(x=x, y=y, width=side, height=side)) for side in (10, width)]
        faces[1].landmarks.extend(pb.Point(x=x, y=y) for x, y in POINTS)
        return photo, [] if photo.tobytes() == self.faceless else faces


def level(target: pb.Age) -> int:
    """Return the grey level that stands for a target."""
    if target.WhichOneof("kind") == "group":
        return round(next(group.centre for group in PAPER_GROUPS if group.label == target.group))
    return round(target.years) or LEVELS.get(target.filter, 0)


def image_of(picture: NDArray[np.uint8]) -> pb.Image:
    """Return a PNG of an RGB image."""
    return pb.Image(data=cv2.imencode(".png", picture[:, :, ::-1])[1].tobytes(), format=pb.IMAGE_FORMAT_PNG)


def reject(context: grpc.ServicerContext, reason: str) -> None:
    details = any_pb2.Any()
    details.Pack(error_details_pb2.ErrorInfo(reason=reason, domain="dorian.v1"))
    status = status_pb2.Status(code=code_pb2.INVALID_ARGUMENT, message=f"refused: {reason}", details=[details])
    context.abort_with_status(rpc_status.to_status(status))


@contextmanager
def serving(servicer: FaceAgingServicer) -> Iterator[str]:
    """Serve, and yield the address."""
    running = grpc.server(ThreadPoolExecutor(2))
    add_FaceAgingServicer_to_server(servicer, running)
    port = running.add_insecure_port("127.0.0.1:0")
    running.start()
    yield f"127.0.0.1:{port}"
    running.stop(None).wait()


def write_judges(folder: Path) -> Path:
    """Write a judge whose ages are the mean grey level, and one whose embeddings are the mean colour; return the folder."""
    openvino = pytest.importorskip("openvino")
    for name, side, output, axes in (("age", 112, "age", [1, 2, 3]), ("identity", 128, "embedding", [2, 3])):
        graph = helper.make_graph(
            [helper.make_node("ReduceMean", ["image"], [output], axes=axes, keepdims=int(name == "identity"))],
            name,
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["batch", 3, side, side])],
            [helper.make_tensor_value_info(output, TensorProto.FLOAT, None)],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.save(model, str(folder / f"{name}.onnx"))
    (folder / "age.onnx").rename(folder / faceapi.FILE_NAME)
    openvino.save_model(
        openvino.Core().read_model(str(folder / "identity.onnx")), str(folder / reidentification.FILE_NAME)
    )
    return folder
