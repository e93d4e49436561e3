"""The package as a whole: its public names, and what importing it pulls in."""

from __future__ import annotations

import inspect
import subprocess
import sys
from importlib import metadata, resources

import dorian_client
from dorian_client import errors
from dorian_client.testing import FakeServer


def test_all_names_exist_once_and_in_order() -> None:
    assert len(set(dorian_client.__all__)) == len(dorian_client.__all__)
    assert all(hasattr(dorian_client, name) for name in dorian_client.__all__)


def test_all_is_everything_public() -> None:
    public = {
        name for name, value in vars(dorian_client).items() if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert public == set(dorian_client.__all__)


def test_all_errors_are_public() -> None:
    defined = {name for name, value in vars(errors).items() if inspect.isclass(value) and issubclass(value, Exception)}
    assert defined <= set(dorian_client.__all__)


def test_everything_public_is_documented() -> None:
    for name in set(dorian_client.__all__) - {"Age", "FaceLike", "PhotoLike", "Target"}:
        assert inspect.getdoc(getattr(dorian_client, name)), name
    for kind in (
        dorian_client.AsyncClient,
        dorian_client.AsyncSearch,
        dorian_client.Client,
        dorian_client.Picture,
        dorian_client.Search,
        FakeServer,
    ):
        for name, method in inspect.getmembers(kind, inspect.isfunction):
            assert name.startswith("_") or inspect.getdoc(method), name


def test_importing_pulls_in_neither_torch_nor_opencv_nor_other_parts() -> None:
    modules = "dorian_client, dorian_client.cli.main, dorian_client.testing"
    code = f"import sys, {modules}; print(*{{name.partition('.')[0] for name in sys.modules}})"
    imported = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"dorian_client", "grpc"} <= set(imported)
    assert not {"torch", "cv2", "onnxruntime", "dorian_bundle", "dorian_training", "dorian_server"} & set(imported)


def test_the_distribution_is_typed_and_has_the_command() -> None:
    assert resources.files("dorian_client").joinpath("py.typed").is_file()
    (script,) = metadata.entry_points(group="console_scripts", name="dorian")
    assert script.value == "dorian_client.cli.main:main"
