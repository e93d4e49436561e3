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

class YearsBound(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    YEARS_BOUND_UNSPECIFIED: _ClassVar[YearsBound]
    YEARS_BOUND_ABOUT: _ClassVar[YearsBound]
    YEARS_BOUND_AT_MOST: _ClassVar[YearsBound]
    YEARS_BOUND_AT_LEAST: _ClassVar[YearsBound]

class WarningCode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WARNING_CODE_UNSPECIFIED: _ClassVar[WarningCode]
    WARNING_CODE_AGE_UNCERTAIN: _ClassVar[WarningCode]
    WARNING_CODE_FACE_COVERED: _ClassVar[WarningCode]
    WARNING_CODE_FACE_TURNED: _ClassVar[WarningCode]

class Blend(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    BLEND_UNSPECIFIED: _ClassVar[Blend]
    BLEND_DELTA: _ClassVar[Blend]
    BLEND_REPLACE: _ClassVar[Blend]

class OptimisationBudget(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OPTIMISATION_BUDGET_UNSPECIFIED: _ClassVar[OptimisationBudget]
    OPTIMISATION_BUDGET_NONE: _ClassVar[OptimisationBudget]
    OPTIMISATION_BUDGET_FAST: _ClassVar[OptimisationBudget]
    OPTIMISATION_BUDGET_FULL: _ClassVar[OptimisationBudget]

class ReconstructionMode(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    RECONSTRUCTION_MODE_UNSPECIFIED: _ClassVar[ReconstructionMode]
    RECONSTRUCTION_MODE_INITIAL: _ClassVar[ReconstructionMode]
    RECONSTRUCTION_MODE_PIXELWISE: _ClassVar[ReconstructionMode]
    RECONSTRUCTION_MODE_IDENTITY: _ClassVar[ReconstructionMode]
    RECONSTRUCTION_MODE_BLENDED: _ClassVar[ReconstructionMode]

class Optimizer(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    OPTIMIZER_UNSPECIFIED: _ClassVar[Optimizer]
    OPTIMIZER_L_BFGS_B: _ClassVar[Optimizer]
    OPTIMIZER_ADAM: _ClassVar[Optimizer]

class Gender(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    GENDER_UNSPECIFIED: _ClassVar[Gender]
    GENDER_WOMAN: _ClassVar[Gender]
    GENDER_MAN: _ClassVar[Gender]
IMAGE_FORMAT_UNSPECIFIED: ImageFormat
IMAGE_FORMAT_JPEG: ImageFormat
IMAGE_FORMAT_PNG: ImageFormat
IMAGE_FORMAT_WEBP: ImageFormat
YEARS_BOUND_UNSPECIFIED: YearsBound
YEARS_BOUND_ABOUT: YearsBound
YEARS_BOUND_AT_MOST: YearsBound
YEARS_BOUND_AT_LEAST: YearsBound
WARNING_CODE_UNSPECIFIED: WarningCode
WARNING_CODE_AGE_UNCERTAIN: WarningCode
WARNING_CODE_FACE_COVERED: WarningCode
WARNING_CODE_FACE_TURNED: WarningCode
BLEND_UNSPECIFIED: Blend
BLEND_DELTA: Blend
BLEND_REPLACE: Blend
OPTIMISATION_BUDGET_UNSPECIFIED: OptimisationBudget
OPTIMISATION_BUDGET_NONE: OptimisationBudget
OPTIMISATION_BUDGET_FAST: OptimisationBudget
OPTIMISATION_BUDGET_FULL: OptimisationBudget
RECONSTRUCTION_MODE_UNSPECIFIED: ReconstructionMode
RECONSTRUCTION_MODE_INITIAL: ReconstructionMode
RECONSTRUCTION_MODE_PIXELWISE: ReconstructionMode
RECONSTRUCTION_MODE_IDENTITY: ReconstructionMode
RECONSTRUCTION_MODE_BLENDED: ReconstructionMode
OPTIMIZER_UNSPECIFIED: Optimizer
OPTIMIZER_L_BFGS_B: Optimizer
OPTIMIZER_ADAM: Optimizer
GENDER_UNSPECIFIED: Gender
GENDER_WOMAN: Gender
GENDER_MAN: Gender

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
    __slots__ = ("format", "quality", "keep_metadata")
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    QUALITY_FIELD_NUMBER: _ClassVar[int]
    KEEP_METADATA_FIELD_NUMBER: _ClassVar[int]
    format: ImageFormat
    quality: int
    keep_metadata: bool
    def __init__(self, format: _Optional[_Union[ImageFormat, str]] = ..., quality: _Optional[int] = ..., keep_metadata: bool = ...) -> None: ...

class Age(_message.Message):
    __slots__ = ("group", "years", "filter")
    GROUP_FIELD_NUMBER: _ClassVar[int]
    YEARS_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    group: str
    years: float
    filter: str
    def __init__(self, group: _Optional[str] = ..., years: _Optional[float] = ..., filter: _Optional[str] = ...) -> None: ...

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

class Point(_message.Message):
    __slots__ = ("x", "y")
    X_FIELD_NUMBER: _ClassVar[int]
    Y_FIELD_NUMBER: _ClassVar[int]
    x: float
    y: float
    def __init__(self, x: _Optional[float] = ..., y: _Optional[float] = ...) -> None: ...

class FaceSelector(_message.Message):
    __slots__ = ("largest", "index", "box")
    LARGEST_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    BOX_FIELD_NUMBER: _ClassVar[int]
    largest: bool
    index: int
    box: Box
    def __init__(self, largest: bool = ..., index: _Optional[int] = ..., box: _Optional[_Union[Box, _Mapping]] = ...) -> None: ...

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

class Pose(_message.Message):
    __slots__ = ("yaw", "pitch", "roll")
    YAW_FIELD_NUMBER: _ClassVar[int]
    PITCH_FIELD_NUMBER: _ClassVar[int]
    ROLL_FIELD_NUMBER: _ClassVar[int]
    yaw: float
    pitch: float
    roll: float
    def __init__(self, yaw: _Optional[float] = ..., pitch: _Optional[float] = ..., roll: _Optional[float] = ...) -> None: ...

class AgeInterval(_message.Message):
    __slots__ = ("low", "high", "coverage")
    LOW_FIELD_NUMBER: _ClassVar[int]
    HIGH_FIELD_NUMBER: _ClassVar[int]
    COVERAGE_FIELD_NUMBER: _ClassVar[int]
    low: float
    high: float
    coverage: float
    def __init__(self, low: _Optional[float] = ..., high: _Optional[float] = ..., coverage: _Optional[float] = ...) -> None: ...

class YearsApart(_message.Message):
    __slots__ = ("years", "bound")
    YEARS_FIELD_NUMBER: _ClassVar[int]
    BOUND_FIELD_NUMBER: _ClassVar[int]
    years: float
    bound: YearsBound
    def __init__(self, years: _Optional[float] = ..., bound: _Optional[_Union[YearsBound, str]] = ...) -> None: ...

class IdentityMatch(_message.Message):
    __slots__ = ("same_person", "threshold", "false_accept_rate", "years_apart")
    SAME_PERSON_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    FALSE_ACCEPT_RATE_FIELD_NUMBER: _ClassVar[int]
    YEARS_APART_FIELD_NUMBER: _ClassVar[int]
    same_person: bool
    threshold: float
    false_accept_rate: float
    years_apart: YearsApart
    def __init__(self, same_person: bool = ..., threshold: _Optional[float] = ..., false_accept_rate: _Optional[float] = ..., years_apart: _Optional[_Union[YearsApart, _Mapping]] = ...) -> None: ...

class Face(_message.Message):
    __slots__ = ("box", "score", "landmarks", "estimated_age", "index", "estimated_age_interval", "pose", "visibility")
    BOX_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    LANDMARKS_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_AGE_FIELD_NUMBER: _ClassVar[int]
    INDEX_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_AGE_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    POSE_FIELD_NUMBER: _ClassVar[int]
    VISIBILITY_FIELD_NUMBER: _ClassVar[int]
    box: Box
    score: float
    landmarks: _containers.RepeatedCompositeFieldContainer[Point]
    estimated_age: float
    index: int
    estimated_age_interval: AgeInterval
    pose: Pose
    visibility: float
    def __init__(self, box: _Optional[_Union[Box, _Mapping]] = ..., score: _Optional[float] = ..., landmarks: _Optional[_Iterable[_Union[Point, _Mapping]]] = ..., estimated_age: _Optional[float] = ..., index: _Optional[int] = ..., estimated_age_interval: _Optional[_Union[AgeInterval, _Mapping]] = ..., pose: _Optional[_Union[Pose, _Mapping]] = ..., visibility: _Optional[float] = ...) -> None: ...

class FaceError(_message.Message):
    __slots__ = ("reason", "message")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    reason: str
    message: str
    def __init__(self, reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class FaceWarning(_message.Message):
    __slots__ = ("code", "message")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    code: WarningCode
    message: str
    def __init__(self, code: _Optional[_Union[WarningCode, str]] = ..., message: _Optional[str] = ...) -> None: ...

class FaceReport(_message.Message):
    __slots__ = ("face", "source", "source_given", "target", "estimated_age_after", "identity_similarity", "error", "identity_match", "estimated_age_after_interval", "warnings", "reached")
    FACE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_GIVEN_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_AGE_AFTER_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_MATCH_FIELD_NUMBER: _ClassVar[int]
    ESTIMATED_AGE_AFTER_INTERVAL_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    REACHED_FIELD_NUMBER: _ClassVar[int]
    face: Face
    source: Age
    source_given: bool
    target: Age
    estimated_age_after: float
    identity_similarity: float
    error: FaceError
    identity_match: IdentityMatch
    estimated_age_after_interval: AgeInterval
    warnings: _containers.RepeatedCompositeFieldContainer[FaceWarning]
    reached: ReachedTarget
    def __init__(self, face: _Optional[_Union[Face, _Mapping]] = ..., source: _Optional[_Union[Age, _Mapping]] = ..., source_given: bool = ..., target: _Optional[_Union[Age, _Mapping]] = ..., estimated_age_after: _Optional[float] = ..., identity_similarity: _Optional[float] = ..., error: _Optional[_Union[FaceError, _Mapping]] = ..., identity_match: _Optional[_Union[IdentityMatch, _Mapping]] = ..., estimated_age_after_interval: _Optional[_Union[AgeInterval, _Mapping]] = ..., warnings: _Optional[_Iterable[_Union[FaceWarning, _Mapping]]] = ..., reached: _Optional[_Union[ReachedTarget, _Mapping]] = ...) -> None: ...

class ReachedTarget(_message.Message):
    __slots__ = ("share", "years")
    SHARE_FIELD_NUMBER: _ClassVar[int]
    YEARS_FIELD_NUMBER: _ClassVar[int]
    share: float
    years: float
    def __init__(self, share: _Optional[float] = ..., years: _Optional[float] = ...) -> None: ...

class FaceTarget(_message.Message):
    __slots__ = ("face", "target", "source")
    FACE_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    face: FaceSelector
    target: Age
    source: Age
    def __init__(self, face: _Optional[_Union[FaceSelector, _Mapping]] = ..., target: _Optional[_Union[Age, _Mapping]] = ..., source: _Optional[_Union[Age, _Mapping]] = ...) -> None: ...

class FaceLatent(_message.Message):
    __slots__ = ("face", "latent")
    FACE_FIELD_NUMBER: _ClassVar[int]
    LATENT_FIELD_NUMBER: _ClassVar[int]
    face: FaceSelector
    latent: _containers.RepeatedScalarFieldContainer[float]
    def __init__(self, face: _Optional[_Union[FaceSelector, _Mapping]] = ..., latent: _Optional[_Iterable[float]] = ...) -> None: ...

class AgeTransformRequest(_message.Message):
    __slots__ = ("image", "targets", "source", "method", "output", "faces", "face_targets", "strength", "blend", "with_delta", "optimisation", "latents", "bundle", "keep_identity", "keep_hair")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    FACES_FIELD_NUMBER: _ClassVar[int]
    FACE_TARGETS_FIELD_NUMBER: _ClassVar[int]
    STRENGTH_FIELD_NUMBER: _ClassVar[int]
    BLEND_FIELD_NUMBER: _ClassVar[int]
    WITH_DELTA_FIELD_NUMBER: _ClassVar[int]
    OPTIMISATION_FIELD_NUMBER: _ClassVar[int]
    LATENTS_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    KEEP_IDENTITY_FIELD_NUMBER: _ClassVar[int]
    KEEP_HAIR_FIELD_NUMBER: _ClassVar[int]
    image: Image
    targets: _containers.RepeatedCompositeFieldContainer[Age]
    source: Age
    method: str
    output: OutputOptions
    faces: _containers.RepeatedCompositeFieldContainer[FaceSelector]
    face_targets: _containers.RepeatedCompositeFieldContainer[FaceTarget]
    strength: float
    blend: Blend
    with_delta: bool
    optimisation: OptimisationBudget
    latents: _containers.RepeatedCompositeFieldContainer[FaceLatent]
    bundle: str
    keep_identity: float
    keep_hair: bool
    def __init__(self, image: _Optional[_Union[Image, _Mapping]] = ..., targets: _Optional[_Iterable[_Union[Age, _Mapping]]] = ..., source: _Optional[_Union[Age, _Mapping]] = ..., method: _Optional[str] = ..., output: _Optional[_Union[OutputOptions, _Mapping]] = ..., faces: _Optional[_Iterable[_Union[FaceSelector, _Mapping]]] = ..., face_targets: _Optional[_Iterable[_Union[FaceTarget, _Mapping]]] = ..., strength: _Optional[float] = ..., blend: _Optional[_Union[Blend, str]] = ..., with_delta: bool = ..., optimisation: _Optional[_Union[OptimisationBudget, str]] = ..., latents: _Optional[_Iterable[_Union[FaceLatent, _Mapping]]] = ..., bundle: _Optional[str] = ..., keep_identity: _Optional[float] = ..., keep_hair: bool = ...) -> None: ...

class AgedImage(_message.Message):
    __slots__ = ("image", "faces", "delta")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    FACES_FIELD_NUMBER: _ClassVar[int]
    DELTA_FIELD_NUMBER: _ClassVar[int]
    image: Image
    faces: _containers.RepeatedCompositeFieldContainer[FaceReport]
    delta: Image
    def __init__(self, image: _Optional[_Union[Image, _Mapping]] = ..., faces: _Optional[_Iterable[_Union[FaceReport, _Mapping]]] = ..., delta: _Optional[_Union[Image, _Mapping]] = ...) -> None: ...

class AgeTransformResponse(_message.Message):
    __slots__ = ("results", "provenance", "times", "faces_found")
    RESULTS_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    FACES_FOUND_FIELD_NUMBER: _ClassVar[int]
    results: _containers.RepeatedCompositeFieldContainer[AgedImage]
    provenance: Provenance
    times: _containers.RepeatedCompositeFieldContainer[StageTime]
    faces_found: int
    def __init__(self, results: _Optional[_Iterable[_Union[AgedImage, _Mapping]]] = ..., provenance: _Optional[_Union[Provenance, _Mapping]] = ..., times: _Optional[_Iterable[_Union[StageTime, _Mapping]]] = ..., faces_found: _Optional[int] = ...) -> None: ...

class DetectFacesRequest(_message.Message):
    __slots__ = ("image", "bundle")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    image: Image
    bundle: str
    def __init__(self, image: _Optional[_Union[Image, _Mapping]] = ..., bundle: _Optional[str] = ...) -> None: ...

class DetectFacesResponse(_message.Message):
    __slots__ = ("faces", "width", "height", "provenance", "times")
    FACES_FIELD_NUMBER: _ClassVar[int]
    WIDTH_FIELD_NUMBER: _ClassVar[int]
    HEIGHT_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    faces: _containers.RepeatedCompositeFieldContainer[Face]
    width: int
    height: int
    provenance: Provenance
    times: _containers.RepeatedCompositeFieldContainer[StageTime]
    def __init__(self, faces: _Optional[_Iterable[_Union[Face, _Mapping]]] = ..., width: _Optional[int] = ..., height: _Optional[int] = ..., provenance: _Optional[_Union[Provenance, _Mapping]] = ..., times: _Optional[_Iterable[_Union[StageTime, _Mapping]]] = ...) -> None: ...

class CompareFacesRequest(_message.Message):
    __slots__ = ("first", "second", "first_face", "second_face", "false_accept_rate", "bundle")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    SECOND_FIELD_NUMBER: _ClassVar[int]
    FIRST_FACE_FIELD_NUMBER: _ClassVar[int]
    SECOND_FACE_FIELD_NUMBER: _ClassVar[int]
    FALSE_ACCEPT_RATE_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    first: Image
    second: Image
    first_face: FaceSelector
    second_face: FaceSelector
    false_accept_rate: float
    bundle: str
    def __init__(self, first: _Optional[_Union[Image, _Mapping]] = ..., second: _Optional[_Union[Image, _Mapping]] = ..., first_face: _Optional[_Union[FaceSelector, _Mapping]] = ..., second_face: _Optional[_Union[FaceSelector, _Mapping]] = ..., false_accept_rate: _Optional[float] = ..., bundle: _Optional[str] = ...) -> None: ...

class CompareFacesResponse(_message.Message):
    __slots__ = ("first", "second", "first_embedding", "second_embedding", "similarity", "distance", "same_person", "threshold", "false_accept_rate", "provenance", "times", "identity_match")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    SECOND_FIELD_NUMBER: _ClassVar[int]
    FIRST_EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    SECOND_EMBEDDING_FIELD_NUMBER: _ClassVar[int]
    SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    DISTANCE_FIELD_NUMBER: _ClassVar[int]
    SAME_PERSON_FIELD_NUMBER: _ClassVar[int]
    THRESHOLD_FIELD_NUMBER: _ClassVar[int]
    FALSE_ACCEPT_RATE_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_MATCH_FIELD_NUMBER: _ClassVar[int]
    first: Face
    second: Face
    first_embedding: _containers.RepeatedScalarFieldContainer[float]
    second_embedding: _containers.RepeatedScalarFieldContainer[float]
    similarity: float
    distance: float
    same_person: bool
    threshold: float
    false_accept_rate: float
    provenance: Provenance
    times: _containers.RepeatedCompositeFieldContainer[StageTime]
    identity_match: IdentityMatch
    def __init__(self, first: _Optional[_Union[Face, _Mapping]] = ..., second: _Optional[_Union[Face, _Mapping]] = ..., first_embedding: _Optional[_Iterable[float]] = ..., second_embedding: _Optional[_Iterable[float]] = ..., similarity: _Optional[float] = ..., distance: _Optional[float] = ..., same_person: bool = ..., threshold: _Optional[float] = ..., false_accept_rate: _Optional[float] = ..., provenance: _Optional[_Union[Provenance, _Mapping]] = ..., times: _Optional[_Iterable[_Union[StageTime, _Mapping]]] = ..., identity_match: _Optional[_Union[IdentityMatch, _Mapping]] = ...) -> None: ...

class SearchOptions(_message.Message):
    __slots__ = ("optimizer", "max_steps")
    OPTIMIZER_FIELD_NUMBER: _ClassVar[int]
    MAX_STEPS_FIELD_NUMBER: _ClassVar[int]
    optimizer: Optimizer
    max_steps: int
    def __init__(self, optimizer: _Optional[_Union[Optimizer, str]] = ..., max_steps: _Optional[int] = ...) -> None: ...

class ReconstructRequest(_message.Message):
    __slots__ = ("image", "mode", "source", "method", "output", "faces", "search", "bundle")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    FACES_FIELD_NUMBER: _ClassVar[int]
    SEARCH_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    image: Image
    mode: ReconstructionMode
    source: Age
    method: str
    output: OutputOptions
    faces: _containers.RepeatedCompositeFieldContainer[FaceSelector]
    search: SearchOptions
    bundle: str
    def __init__(self, image: _Optional[_Union[Image, _Mapping]] = ..., mode: _Optional[_Union[ReconstructionMode, str]] = ..., source: _Optional[_Union[Age, _Mapping]] = ..., method: _Optional[str] = ..., output: _Optional[_Union[OutputOptions, _Mapping]] = ..., faces: _Optional[_Iterable[_Union[FaceSelector, _Mapping]]] = ..., search: _Optional[_Union[SearchOptions, _Mapping]] = ..., bundle: _Optional[str] = ...) -> None: ...

class Reconstruction(_message.Message):
    __slots__ = ("face", "crop", "reconstruction", "latent", "source", "source_given", "pixel_error", "identity_similarity", "error", "steps", "identity_match")
    FACE_FIELD_NUMBER: _ClassVar[int]
    CROP_FIELD_NUMBER: _ClassVar[int]
    RECONSTRUCTION_FIELD_NUMBER: _ClassVar[int]
    LATENT_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_GIVEN_FIELD_NUMBER: _ClassVar[int]
    PIXEL_ERROR_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    STEPS_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_MATCH_FIELD_NUMBER: _ClassVar[int]
    face: Face
    crop: Image
    reconstruction: Image
    latent: _containers.RepeatedScalarFieldContainer[float]
    source: Age
    source_given: bool
    pixel_error: float
    identity_similarity: float
    error: FaceError
    steps: int
    identity_match: IdentityMatch
    def __init__(self, face: _Optional[_Union[Face, _Mapping]] = ..., crop: _Optional[_Union[Image, _Mapping]] = ..., reconstruction: _Optional[_Union[Image, _Mapping]] = ..., latent: _Optional[_Iterable[float]] = ..., source: _Optional[_Union[Age, _Mapping]] = ..., source_given: bool = ..., pixel_error: _Optional[float] = ..., identity_similarity: _Optional[float] = ..., error: _Optional[_Union[FaceError, _Mapping]] = ..., steps: _Optional[int] = ..., identity_match: _Optional[_Union[IdentityMatch, _Mapping]] = ...) -> None: ...

class ReconstructResponse(_message.Message):
    __slots__ = ("faces", "provenance", "times")
    FACES_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    faces: _containers.RepeatedCompositeFieldContainer[Reconstruction]
    provenance: Provenance
    times: _containers.RepeatedCompositeFieldContainer[StageTime]
    def __init__(self, faces: _Optional[_Iterable[_Union[Reconstruction, _Mapping]]] = ..., provenance: _Optional[_Union[Provenance, _Mapping]] = ..., times: _Optional[_Iterable[_Union[StageTime, _Mapping]]] = ...) -> None: ...

class OptimizeRequest(_message.Message):
    __slots__ = ("image", "face", "mode", "source", "method", "search", "preview_every", "latent", "output", "bundle")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    FACE_FIELD_NUMBER: _ClassVar[int]
    MODE_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    SEARCH_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_EVERY_FIELD_NUMBER: _ClassVar[int]
    LATENT_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    image: Image
    face: FaceSelector
    mode: ReconstructionMode
    source: Age
    method: str
    search: SearchOptions
    preview_every: int
    latent: _containers.RepeatedScalarFieldContainer[float]
    output: OutputOptions
    bundle: str
    def __init__(self, image: _Optional[_Union[Image, _Mapping]] = ..., face: _Optional[_Union[FaceSelector, _Mapping]] = ..., mode: _Optional[_Union[ReconstructionMode, str]] = ..., source: _Optional[_Union[Age, _Mapping]] = ..., method: _Optional[str] = ..., search: _Optional[_Union[SearchOptions, _Mapping]] = ..., preview_every: _Optional[int] = ..., latent: _Optional[_Iterable[float]] = ..., output: _Optional[_Union[OutputOptions, _Mapping]] = ..., bundle: _Optional[str] = ...) -> None: ...

class OptimizeProgress(_message.Message):
    __slots__ = ("step", "loss", "best_loss", "identity_similarity", "pixel_error", "preview", "identity_match")
    STEP_FIELD_NUMBER: _ClassVar[int]
    LOSS_FIELD_NUMBER: _ClassVar[int]
    BEST_LOSS_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_SIMILARITY_FIELD_NUMBER: _ClassVar[int]
    PIXEL_ERROR_FIELD_NUMBER: _ClassVar[int]
    PREVIEW_FIELD_NUMBER: _ClassVar[int]
    IDENTITY_MATCH_FIELD_NUMBER: _ClassVar[int]
    step: int
    loss: float
    best_loss: float
    identity_similarity: float
    pixel_error: float
    preview: Image
    identity_match: IdentityMatch
    def __init__(self, step: _Optional[int] = ..., loss: _Optional[float] = ..., best_loss: _Optional[float] = ..., identity_similarity: _Optional[float] = ..., pixel_error: _Optional[float] = ..., preview: _Optional[_Union[Image, _Mapping]] = ..., identity_match: _Optional[_Union[IdentityMatch, _Mapping]] = ...) -> None: ...

class OptimizeResult(_message.Message):
    __slots__ = ("reconstruction", "provenance", "times")
    RECONSTRUCTION_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    reconstruction: Reconstruction
    provenance: Provenance
    times: _containers.RepeatedCompositeFieldContainer[StageTime]
    def __init__(self, reconstruction: _Optional[_Union[Reconstruction, _Mapping]] = ..., provenance: _Optional[_Union[Provenance, _Mapping]] = ..., times: _Optional[_Iterable[_Union[StageTime, _Mapping]]] = ...) -> None: ...

class OptimizeResponse(_message.Message):
    __slots__ = ("progress", "result")
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    progress: OptimizeProgress
    result: OptimizeResult
    def __init__(self, progress: _Optional[_Union[OptimizeProgress, _Mapping]] = ..., result: _Optional[_Union[OptimizeResult, _Mapping]] = ...) -> None: ...

class StyleReference(_message.Message):
    __slots__ = ("image", "face", "levels")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    FACE_FIELD_NUMBER: _ClassVar[int]
    LEVELS_FIELD_NUMBER: _ClassVar[int]
    image: Image
    face: FaceSelector
    levels: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, image: _Optional[_Union[Image, _Mapping]] = ..., face: _Optional[_Union[FaceSelector, _Mapping]] = ..., levels: _Optional[_Iterable[int]] = ...) -> None: ...

class ReferenceChoice(_message.Message):
    __slots__ = ("age", "count", "gender")
    AGE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    GENDER_FIELD_NUMBER: _ClassVar[int]
    age: Age
    count: int
    gender: Gender
    def __init__(self, age: _Optional[_Union[Age, _Mapping]] = ..., count: _Optional[int] = ..., gender: _Optional[_Union[Gender, str]] = ...) -> None: ...

class MixStylesRequest(_message.Message):
    __slots__ = ("image", "references", "chosen", "preset", "levels", "strength", "blend", "output", "with_delta", "faces", "method", "bundle")
    IMAGE_FIELD_NUMBER: _ClassVar[int]
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    CHOSEN_FIELD_NUMBER: _ClassVar[int]
    PRESET_FIELD_NUMBER: _ClassVar[int]
    LEVELS_FIELD_NUMBER: _ClassVar[int]
    STRENGTH_FIELD_NUMBER: _ClassVar[int]
    BLEND_FIELD_NUMBER: _ClassVar[int]
    OUTPUT_FIELD_NUMBER: _ClassVar[int]
    WITH_DELTA_FIELD_NUMBER: _ClassVar[int]
    FACES_FIELD_NUMBER: _ClassVar[int]
    METHOD_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    image: Image
    references: _containers.RepeatedCompositeFieldContainer[StyleReference]
    chosen: ReferenceChoice
    preset: str
    levels: _containers.RepeatedScalarFieldContainer[int]
    strength: float
    blend: Blend
    output: OutputOptions
    with_delta: bool
    faces: _containers.RepeatedCompositeFieldContainer[FaceSelector]
    method: str
    bundle: str
    def __init__(self, image: _Optional[_Union[Image, _Mapping]] = ..., references: _Optional[_Iterable[_Union[StyleReference, _Mapping]]] = ..., chosen: _Optional[_Union[ReferenceChoice, _Mapping]] = ..., preset: _Optional[str] = ..., levels: _Optional[_Iterable[int]] = ..., strength: _Optional[float] = ..., blend: _Optional[_Union[Blend, str]] = ..., output: _Optional[_Union[OutputOptions, _Mapping]] = ..., with_delta: bool = ..., faces: _Optional[_Iterable[_Union[FaceSelector, _Mapping]]] = ..., method: _Optional[str] = ..., bundle: _Optional[str] = ...) -> None: ...

class UsedReference(_message.Message):
    __slots__ = ("index", "levels", "face", "chosen_for", "age_low", "age_high", "gender")
    INDEX_FIELD_NUMBER: _ClassVar[int]
    LEVELS_FIELD_NUMBER: _ClassVar[int]
    FACE_FIELD_NUMBER: _ClassVar[int]
    CHOSEN_FOR_FIELD_NUMBER: _ClassVar[int]
    AGE_LOW_FIELD_NUMBER: _ClassVar[int]
    AGE_HIGH_FIELD_NUMBER: _ClassVar[int]
    GENDER_FIELD_NUMBER: _ClassVar[int]
    index: int
    levels: _containers.RepeatedScalarFieldContainer[int]
    face: Face
    chosen_for: int
    age_low: float
    age_high: float
    gender: Gender
    def __init__(self, index: _Optional[int] = ..., levels: _Optional[_Iterable[int]] = ..., face: _Optional[_Union[Face, _Mapping]] = ..., chosen_for: _Optional[int] = ..., age_low: _Optional[float] = ..., age_high: _Optional[float] = ..., gender: _Optional[_Union[Gender, str]] = ...) -> None: ...

class MixStylesResponse(_message.Message):
    __slots__ = ("result", "references", "provenance", "times", "faces_found")
    RESULT_FIELD_NUMBER: _ClassVar[int]
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    PROVENANCE_FIELD_NUMBER: _ClassVar[int]
    TIMES_FIELD_NUMBER: _ClassVar[int]
    FACES_FOUND_FIELD_NUMBER: _ClassVar[int]
    result: AgedImage
    references: _containers.RepeatedCompositeFieldContainer[UsedReference]
    provenance: Provenance
    times: _containers.RepeatedCompositeFieldContainer[StageTime]
    faces_found: int
    def __init__(self, result: _Optional[_Union[AgedImage, _Mapping]] = ..., references: _Optional[_Iterable[_Union[UsedReference, _Mapping]]] = ..., provenance: _Optional[_Union[Provenance, _Mapping]] = ..., times: _Optional[_Iterable[_Union[StageTime, _Mapping]]] = ..., faces_found: _Optional[int] = ...) -> None: ...

class ListMethodsRequest(_message.Message):
    __slots__ = ("bundle",)
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    bundle: str
    def __init__(self, bundle: _Optional[str] = ...) -> None: ...

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

class Filter(_message.Message):
    __slots__ = ("name", "description")
    NAME_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    name: str
    description: str
    def __init__(self, name: _Optional[str] = ..., description: _Optional[str] = ...) -> None: ...

class LevelGroup(_message.Message):
    __slots__ = ("levels",)
    LEVELS_FIELD_NUMBER: _ClassVar[int]
    levels: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, levels: _Optional[_Iterable[int]] = ...) -> None: ...

class StylePreset(_message.Message):
    __slots__ = ("name", "groups")
    NAME_FIELD_NUMBER: _ClassVar[int]
    GROUPS_FIELD_NUMBER: _ClassVar[int]
    name: str
    groups: _containers.RepeatedCompositeFieldContainer[LevelGroup]
    def __init__(self, name: _Optional[str] = ..., groups: _Optional[_Iterable[_Union[LevelGroup, _Mapping]]] = ...) -> None: ...

class Method(_message.Message):
    __slots__ = ("name", "family", "description", "age_groups", "crop_size", "is_default", "filters", "reconstructs", "optimises", "commercial_use", "licence_obstacles", "style_levels", "style_presets", "changes_hair")
    NAME_FIELD_NUMBER: _ClassVar[int]
    FAMILY_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    AGE_GROUPS_FIELD_NUMBER: _ClassVar[int]
    CROP_SIZE_FIELD_NUMBER: _ClassVar[int]
    IS_DEFAULT_FIELD_NUMBER: _ClassVar[int]
    FILTERS_FIELD_NUMBER: _ClassVar[int]
    RECONSTRUCTS_FIELD_NUMBER: _ClassVar[int]
    OPTIMISES_FIELD_NUMBER: _ClassVar[int]
    COMMERCIAL_USE_FIELD_NUMBER: _ClassVar[int]
    LICENCE_OBSTACLES_FIELD_NUMBER: _ClassVar[int]
    STYLE_LEVELS_FIELD_NUMBER: _ClassVar[int]
    STYLE_PRESETS_FIELD_NUMBER: _ClassVar[int]
    CHANGES_HAIR_FIELD_NUMBER: _ClassVar[int]
    name: str
    family: str
    description: str
    age_groups: _containers.RepeatedCompositeFieldContainer[AgeGroup]
    crop_size: int
    is_default: bool
    filters: _containers.RepeatedCompositeFieldContainer[Filter]
    reconstructs: bool
    optimises: bool
    commercial_use: bool
    licence_obstacles: _containers.RepeatedScalarFieldContainer[str]
    style_levels: int
    style_presets: _containers.RepeatedCompositeFieldContainer[StylePreset]
    changes_hair: bool
    def __init__(self, name: _Optional[str] = ..., family: _Optional[str] = ..., description: _Optional[str] = ..., age_groups: _Optional[_Iterable[_Union[AgeGroup, _Mapping]]] = ..., crop_size: _Optional[int] = ..., is_default: bool = ..., filters: _Optional[_Iterable[_Union[Filter, _Mapping]]] = ..., reconstructs: bool = ..., optimises: bool = ..., commercial_use: bool = ..., licence_obstacles: _Optional[_Iterable[str]] = ..., style_levels: _Optional[int] = ..., style_presets: _Optional[_Iterable[_Union[StylePreset, _Mapping]]] = ..., changes_hair: bool = ...) -> None: ...

class ListMethodsResponse(_message.Message):
    __slots__ = ("methods", "bundle", "bundle_version", "bundle_sha256", "weights_licence", "server_version", "false_accept_rates", "bundles", "workers")
    METHODS_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_VERSION_FIELD_NUMBER: _ClassVar[int]
    BUNDLE_SHA256_FIELD_NUMBER: _ClassVar[int]
    WEIGHTS_LICENCE_FIELD_NUMBER: _ClassVar[int]
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    FALSE_ACCEPT_RATES_FIELD_NUMBER: _ClassVar[int]
    BUNDLES_FIELD_NUMBER: _ClassVar[int]
    WORKERS_FIELD_NUMBER: _ClassVar[int]
    methods: _containers.RepeatedCompositeFieldContainer[Method]
    bundle: str
    bundle_version: str
    bundle_sha256: str
    weights_licence: str
    server_version: str
    false_accept_rates: _containers.RepeatedScalarFieldContainer[float]
    bundles: _containers.RepeatedScalarFieldContainer[str]
    workers: int
    def __init__(self, methods: _Optional[_Iterable[_Union[Method, _Mapping]]] = ..., bundle: _Optional[str] = ..., bundle_version: _Optional[str] = ..., bundle_sha256: _Optional[str] = ..., weights_licence: _Optional[str] = ..., server_version: _Optional[str] = ..., false_accept_rates: _Optional[_Iterable[float]] = ..., bundles: _Optional[_Iterable[str]] = ..., workers: _Optional[int] = ...) -> None: ...
