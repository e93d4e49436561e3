"""Weights that others publish: fetched once, verified before they are opened, and fitted to the network that they are of."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path, PurePosixPath
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import urlopen

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from tqdm import tqdm

from dorian_bundle.files import draft_file
from dorian_training.dlib_files import read_dlib_resnet
from dorian_training.errors import CheckpointError, ConfigError
from dorian_training.networks.dlib_resnet import DlibResNet
from dorian_training.networks.inception_resnet import InceptionResNetShape, InceptionResNetV1

_CHUNK = 1 << 20  # bytes
_PATIENCE = 60.0  # seconds without a byte
_NAMED = 3  # of the tensors that do not fit
_CLASSIFIER = "logits."
_COUNTER = (
    "num_batches_tracked"  # of batch normalisation, for training alone; files of older releases of PyTorch lack it
)


@dataclass(frozen=True)
class PublishedFile:
    """A file of weights on this machine, ``name`` as its publisher calls it, with its sum ``sha256`` in hexadecimal."""

    path: Path
    name: str
    sha256: str


@dataclass(frozen=True)
class PublishedFaceNet:
    """A published FaceNet without its classifier, which told ``identities`` people apart; ``None`` if the file had none."""

    name: str
    network: DlibResNet | InceptionResNetV1
    identities: int | None


def fetch(source: str, sha256: str | None, cache: Path) -> PublishedFile:
    """Fetch the file at ``source``, a path or an http(s) URL; what a URL gives is kept in the folder ``cache``.

    ``sha256``: the sum that the file must have, in hexadecimal; a path may come without. ``ConfigError`` if a URL does.
    ``CheckpointError`` if there is no such file, or if it has another sum.
    """
    expected = sha256.strip().lower() if sha256 else None
    if expected is not None and not re.fullmatch("[0-9a-f]{64}", expected):
        raise ConfigError(f"{sha256!r} is not a sha256, which has 64 hexadecimal digits")
    if "://" in source:
        return _from_url(source, expected, cache)
    path = Path(source).expanduser()
    actual = _sum_of(path)
    _require_sum(source, actual, expected)
    return PublishedFile(path, path.name, actual)


def read_facenet(file: PublishedFile) -> PublishedFaceNet:
    """Read the FaceNet in ``file``: dlib's from a ``.dat`` file, else Inception-ResNet-v1.

    Raises:
        CheckpointError: If the file holds anything else.
    """
    if file.name.endswith(".dat"):
        return PublishedFaceNet("dlib's ResNet", read_dlib_resnet(file.path), None)
    tensors = read_tensors(file.path)
    classifier = tensors.get(f"{_CLASSIFIER}weight")
    network = InceptionResNetV1(InceptionResNetShape())
    fit(network, {name: tensor for name, tensor in tensors.items() if not name.startswith(_CLASSIFIER)}, file.name)
    return PublishedFaceNet("Inception-ResNet-v1", network, None if classifier is None else len(classifier))


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read tensors by name from a ``.safetensors`` file or else from a state dict that ``torch.save`` wrote.

    ``CheckpointError`` if ``path`` holds neither; of other objects none is made.
    """
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error
    if not isinstance(loaded, dict) or not all(isinstance(tensor, Tensor) for tensor in loaded.values()):
        raise CheckpointError(f"{path} holds something other than tensors by name")
    return dict(loaded)


def fit(network: nn.Module, tensors: dict[str, Tensor], source: str) -> None:
    """Give ``network`` the ``tensors`` of ``source``; ``CheckpointError`` names the first of those that do not fit."""
    state = network.state_dict()
    wrong = {
        "missing": [name for name in state if name not in tensors and not name.endswith(_COUNTER)],
        "unexpected": [name for name in tensors if name not in state],
        "of another shape": [
            f"{name} {tuple(tensor.shape)} in place of {tuple(state[name].shape)}"
            for name, tensor in tensors.items()
            if name in state and tensor.shape != state[name].shape
        ],
    }
    problems = [f"{len(names)} {problem}: {_first(names)}" for problem, names in wrong.items() if names]
    if problems:
        raise CheckpointError(f"{source} does not fit the network; tensors {'; '.join(problems)}")
    network.load_state_dict({**state, **tensors})


def _first(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (", …" if len(names) > _NAMED else "")


def _from_url(url: str, expected: str | None, cache: Path) -> PublishedFile:
    parts = _split(url)
    if expected is None:
        raise ConfigError(f"{url} needs its sha256: nothing else tells that what comes is what was published")
    name = PurePosixPath(unquote(parts.path)).name
    path = cache / "published" / f"{expected}{PurePosixPath(name).suffix}"
    if not (path.is_file() and _sum_of(path) == expected):
        _download(url, expected, path)
    return PublishedFile(path, name, expected)


def _split(url: str) -> SplitResult:
    try:
        parts = urlsplit(url)
    except ValueError as error:
        raise ConfigError(f"{url} is not a URL: {error}") from error
    if parts.scheme not in ("http", "https"):
        raise ConfigError(f"{url} is neither a path nor an http(s) URL")
    return parts


def _sum_of(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def _require_sum(source: str, actual: str, expected: str | None) -> None:
    if expected is not None and actual != expected:
        raise CheckpointError(f"{source} has the sha256 {actual}, not {expected}: it is another file, or not whole")


def _download(url: str, expected: str, path: Path) -> None:
    """Write what ``url`` gives to ``path``, which is replaced only once the sum is right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    try:
        with (
            draft_file(path, shared=True) as draft,
            urlopen(url, timeout=_PATIENCE) as answer,
            draft.open("wb") as file,
            tqdm(total=answer.length, desc="fetching", unit="B", unit_scale=True, mininterval=2) as bar,
        ):
            while chunk := answer.read(_CHUNK):
                digest.update(chunk)
                file.write(chunk)
                bar.update(len(chunk))
            _require_sum(url, digest.hexdigest(), expected)
    except (OSError, HTTPException) as error:
        raise CheckpointError(f"{url} cannot be fetched: {error}") from error
