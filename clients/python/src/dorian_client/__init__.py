"""Python SDK of Dorian: send a photo to a server, and get it back with its faces older or younger.

Example:
    >>> from dorian_client import Client
    >>> with Client("localhost:50051") as client:
    ...     client.age("portrait.jpg", "60+").photos[0].picture.save("older.jpg")

The errors are listed in `dorian_client.errors`; `dorian_client.testing` has a fake server for tests.
"""

from dorian_client._async_client import AsyncClient
from dorian_client._async_search import AsyncSearch
from dorian_client._batch import AgeOutcome
from dorian_client._bundles import AgeGroup, BundleInfo, Method, ServedBundle, StylePreset
from dorian_client._channel import Tls
from dorian_client._client import Client
from dorian_client._faces import (
    Age,
    AgeInterval,
    Box,
    Face,
    FaceError,
    FaceLike,
    FaceWarning,
    Filter,
    Landmarks,
    Pose,
    Target,
)
from dorian_client._matches import IdentityMatch, YearsApart
from dorian_client._options import AgeOptions, MixOptions, OptimizeOptions, ReconstructOptions, Reference
from dorian_client._photos import PhotoLike
from dorian_client._pictures import Picture
from dorian_client._rendering import compose, make_sheet
from dorian_client._results import (
    AgedPhoto,
    AgeResult,
    CompareResult,
    DetectResult,
    FaceReport,
    MixResult,
    Provenance,
    ReachedTarget,
    Reconstruction,
    ReconstructResult,
    SearchResult,
    SearchStep,
    UsedReference,
)
from dorian_client._search import Search
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
    Reason,
    ServerError,
    Unauthenticated,
)

__all__ = [
    "Age",
    "AgeGroup",
    "AgeInterval",
    "AgeOptions",
    "AgeOutcome",
    "AgeResult",
    "AgedPhoto",
    "AsyncClient",
    "AsyncSearch",
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
    "FaceWarning",
    "FailedPrecondition",
    "Filter",
    "IdentityMatch",
    "InternalError",
    "InvalidRequest",
    "Landmarks",
    "Method",
    "MixOptions",
    "MixResult",
    "NoFaceError",
    "NotFound",
    "OptimizeOptions",
    "PermissionDenied",
    "PhotoError",
    "PhotoLike",
    "Picture",
    "Pose",
    "Provenance",
    "ReachedTarget",
    "Reason",
    "ReconstructOptions",
    "ReconstructResult",
    "Reconstruction",
    "Reference",
    "Search",
    "SearchResult",
    "SearchStep",
    "ServedBundle",
    "ServerError",
    "StylePreset",
    "Target",
    "Tls",
    "Unauthenticated",
    "UsedReference",
    "YearsApart",
    "compose",
    "make_sheet",
]
