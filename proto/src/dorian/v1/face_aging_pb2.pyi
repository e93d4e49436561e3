from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ImageFormat(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    IMAGE_FORMAT_UNSPECIFIED: _ClassVar[ImageFormat]
    IMAGE_FORMAT_JPEG: _ClassVar[ImageFormat]
    IMAGE_FORMAT_PNG: _ClassVar[ImageFormat]
    IMAGE_FORMAT_WEBP: _ClassVar[ImageFormat]

class ReconstructionMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECONSTRUCTION_MODE_UNSPECIFIED: _ClassVar[ReconstructionMode]
    RECONSTRUCTION_MODE_INITIAL: _ClassVar[ReconstructionMode]
IMAGE_FORMAT_UNSPECIFIED: ImageFormat
IMAGE_FORMAT_JPEG: ImageFormat
IMAGE_FORMAT_PNG: ImageFormat
IMAGE_FORMAT_WEBP: ImageFormat
RECONSTRUCTION_MODE_UNSPECIFIED: ReconstructionMode
RECONSTRUCTION_MODE_INITIAL: ReconstructionMode

class Image(_message.Message):
    __slots__ = ("data", "format", "width", "height")
    DATA_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    format: ImageFormat
    width: int
    height: int
    def __init__(self, data: _Optional[bytes] = ..., format: _Optional[_Union[ImageFormat, str]] = ..., width: _Optional[int] = ..., height: _Optional[int] = ...) -> None: ...

class OutputOptions(_message.Message):
    __slots__ = ("format", "quality")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    format: ImageFormat
    quality: int
    def __init__(self, format: _Optional[_Union[ImageFormat, str]] = ..., quality: _Optional[int] = ...) -> None: ...

class Age(_message.Message):
    __slots__ = ("group", "years")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    YEARS_FIELD_NUMBER: _ClassVar[int]
    group: str
    years: float
    def __init__(self, group: _Optional[str] = ..., years: _Optional[float] = ...) -> None: ...

class Box(_message.Message):
    __slots__ = ("x", "y", "width", "height")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    x: float
    y: float
    width: float
    height: float
    def __init__(self, x: _Optional[float] = ..., y: _Optional[float] = ..., width: _Optional[float] = ..., height: _Optional[float] = ...) -> None: ...

class Provenance(_message.Message):
    __slots__ = ("method", "bundle", "bundle_version", "bundle_sha256")
    METHOD_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_SHA256_FIELD_NUMBER: _ClassVar[int]
    method: str
    bundle: str
    bundle_version: str
    bundle_sha256: str
    def __init__(self, method: _Optional[str] = ..., bundle: _Optional[str] = ..., bundle_version: _Optional[str] = ..., bundle_sha256: _Optional[str] = ...) -> None: ...

class StageTime(_message.Message):
    __slots__ = ("stage", "seconds")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    stage: str
    seconds: float
    def __init__(self, stage: _Optional[str] = ..., seconds: _Optional[float] = ...) -> None: ...

class Face(_message.Message):
    __slots__ = ("box", "score")
    BOX_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    box: Box
    score: float
    def __init__(self, box: _Optional[_Union[Box, _Mapping]] = ..., score: _Optional[float] = ...) -> None: ...

class FaceReport(_message.Message):
    __slots__ = ("face", "source", "source_given", "target")
    FACE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_GIVEN_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    face: Face
    source: Age
    source_given: bool
    target: Age
    def __init__(self, face: _Optional[_Union[Face, _Mapping]] = ..., source: _Optional[_Union[Age, _Mapping]] = ..., source_given: bool = ..., target: _Optional[_Union[Age, _Mapping]] = ...) -> None: ...

class AgeTransformRequest(_message.Message):
    __slots__ = ("image", "targets", "source", "method", "output")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    image: Image
    targets: _containers.RepeatedCompositeFieldContainer[Age]
    source: Age
    method: str
    output: OutputOptions
    def __init__(self, image: _Optional[_Union[Image, _Mapping]] = ..., targets: _Optional[_Iterable[_Union[Age, _Mapping]]] = ..., source: _Optional[_Union[Age, _Mapping]] = ..., method: _Optional[str] = ..., output: _Optional[_Union[OutputOptions, _Mapping]] = ...) -> None: ...

class AgedImage(_message.Message):
    __slots__ = ("image", "faces")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    FACES_FIELD_NUMBER: _ClassVar[int]
    image: Image
    faces: _containers.RepeatedCompositeFieldContainer[FaceReport]
    def __init__(self, image: _Optional[_Union[Image, _Mapping]] = ..., faces: _Optional[_Iterable[_Union[FaceReport, _Mapping]]] = ...) -> None: ...

class AgeTransformResponse(_message.Message):
    __slots__ = ("results", "provenance", "times")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[AgedImage]
    provenance: Provenance
    times: _containers.RepeatedCompositeFieldContainer[StageTime]
    def __init__(self, results: _Optional[_Iterable[_Union[AgedImage, _Mapping]]] = ..., provenance: _Optional[_Union[Provenance, _Mapping]] = ..., times: _Optional[_Iterable[_Union[StageTime, _Mapping]]] = ...) -> None: ...

class ReconstructRequest(_message.Message):
    __slots__ = ("image", "mode", "source", "method", "output")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    image: Image
    mode: ReconstructionMode
    source: Age
    method: str
    output: OutputOptions
    def __init__(self, image: _Optional[_Union[Image, _Mapping]] = ..., mode: _Optional[_Union[ReconstructionMode, str]] = ..., source: _Optional[_Union[Age, _Mapping]] = ..., method: _Optional[str] = ..., output: _Optional[_Union[OutputOptions, _Mapping]] = ...) -> None: ...

class Reconstruction(_message.Message):
    __slots__ = ("face", "crop", "reconstruction", "latent", "source", "source_given", "pixel_error")
    FACE_FIELD_NUMBER: _ClassVar[int]
    CROP_FIELD_NUMBER: _ClassVar[int]
    RECONSTRUCTION_FIELD_NUMBER: _ClassVar[int]
    LATENT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_GIVEN_FIELD_NUMBER: _ClassVar[int]
    PIXEL_ERROR_FIELD_NUMBER: _ClassVar[int]
    face: Face
    crop: Image
    reconstruction: Image
    latent: _containers.RepeatedScalarFieldContainer[float]
    source: Age
    source_given: bool
    pixel_error: float
    def __init__(self, face: _Optional[_Union[Face, _Mapping]] = ..., crop: _Optional[_Union[Image, _Mapping]] = ..., reconstruction: _Optional[_Union[Image, _Mapping]] = ..., latent: _Optional[_Iterable[float]] = ..., source: _Optional[_Union[Age, _Mapping]] = ..., source_given: bool = ..., pixel_error: _Optional[float] = ...) -> None: ...

class ReconstructResponse(_message.Message):
    __slots__ = ("faces", "provenance", "times")
    FACES_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    faces: _containers.RepeatedCompositeFieldContainer[Reconstruction]
    provenance: Provenance
    times: _containers.RepeatedCompositeFieldContainer[StageTime]
    def __init__(self, faces: _Optional[_Iterable[_Union[Reconstruction, _Mapping]]] = ..., provenance: _Optional[_Union[Provenance, _Mapping]] = ..., times: _Optional[_Iterable[_Union[StageTime, _Mapping]]] = ...) -> None: ...

class ListMethodsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class AgeGroup(_message.Message):
    __slots__ = ("label", "low", "high", "centre")
    LABEL_FIELD_NUMBER: _ClassVar[int]
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    CENTRE_FIELD_NUMBER: _ClassVar[int]
    label: str
    low: int
    high: int
    centre: float
    def __init__(self, label: _Optional[str] = ..., low: _Optional[int] = ..., high: _Optional[int] = ..., centre: _Optional[float] = ...) -> None: ...

class Method(_message.Message):
    __slots__ = ("name", "family", "description", "age_groups", "crop_size", "is_default")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    AGE_GROUPS_FIELD_NUMBER: _ClassVar[int]
    CROP_SIZE_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    name: str
    family: str
    description: str
    age_groups: _containers.RepeatedCompositeFieldContainer[AgeGroup]
    crop_size: int
    is_default: bool
    def __init__(self, name: _Optional[str] = ..., family: _Optional[str] = ..., description: _Optional[str] = ..., age_groups: _Optional[_Iterable[_Union[AgeGroup, _Mapping]]] = ..., crop_size: _Optional[int] = ..., is_default: bool = ...) -> None: ...

class ListMethodsResponse(_message.Message):
    __slots__ = ("methods", "bundle", "bundle_version", "bundle_sha256", "weights_licence", "server_version")
    METHODS_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_SHA256_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_LICENCE_FIELD_NUMBER: _ClassVar[int]
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    methods: _containers.RepeatedCompositeFieldContainer[Method]
    bundle: str
    bundle_version: str
    bundle_sha256: str
    weights_licence: str
    server_version: str
    def __init__(self, methods: _Optional[_Iterable[_Union[Method, _Mapping]]] = ..., bundle: _Optional[str] = ..., bundle_version: _Optional[str] = ..., bundle_sha256: _Optional[str] = ..., weights_licence: _Optional[str] = ..., server_version: _Optional[str] = ...) -> None: ...
