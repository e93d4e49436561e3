"""Dorian's client: a photo goes to the server, and comes back with its faces older or younger.

    from dorian_client import Client

    with Client("localhost:50051") as client:
        client.age("portrait.jpg", "60+").photos[0].picture.save("older.jpg")

What may go wrong is drawn in dorian_client.errors.
"""

from dorian_client._channel import Tls
from dorian_client._client import Client
from dorian_client._layers import compose
from dorian_client._photos import PhotoLike
from dorian_client._pictures import Picture
from dorian_client._results import (
    Age,
    AgedPhoto,
    AgeGroup,
    AgeResult,
    Box,
    BundleInfo,
    CompareResult,
    DetectResult,
    Face,
    FaceError,
    FaceLike,
    FaceReport,
    Filter,
    Landmarks,
    Method,
    Provenance,
    Reconstruction,
    ReconstructResult,
    SearchResult,
    SearchStep,
    ServedBundle,
    Target,
)
from dorian_client._search import Search
from dorian_client._sheet import make_sheet
from dorian_client.errors import (
    Busy,
    Cancelled,
    ConnectionFailed,
    DeadlineExceeded,
    DorianError,
    FailedPrecondition,
    InternalError,
    InvalidRequest,
    NoFaceError,
    NotFound,
    PermissionDenied,
    PhotoError,
    ServerError,
    Unauthenticated,
)

__all__ = [
    "Age",
    "AgeGroup",
    "AgeResult",
    "AgedPhoto",
    "Box",
    "BundleInfo",
    "Busy",
    "Cancelled",
    "Client",
    "CompareResult",
    "ConnectionFailed",
    "DeadlineExceeded",
    "DetectResult",
    "DorianError",
    "Face",
    "FaceError",
    "FaceLike",
    "FaceReport",
    "FailedPrecondition",
    "Filter",
    "InternalError",
    "InvalidRequest",
    "Landmarks",
    "Method",
    "NoFaceError",
    "NotFound",
    "PermissionDenied",
    "PhotoError",
    "PhotoLike",
    "Picture",
    "Provenance",
    "ReconstructResult",
    "Reconstruction",
    "Search",
    "SearchResult",
    "SearchStep",
    "ServedBundle",
    "ServerError",
    "Target",
    "Tls",
    "Unauthenticated",
    "compose",
    "make_sheet",
]
