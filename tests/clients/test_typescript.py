"""The TypeScript client and the example of a mobile backend, by Node's own test runner, against the server as a process."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from PIL import Image

from dorian.v1 import face_aging_pb2
from dorian_client import Reason
from tests.clients.node import PACKAGE, ROOT, install, require_node, run
from tests.clients.secure_server import make_folder, serve

BACKEND = ROOT / "examples" / "mobile-backend"
STUBS = PACKAGE / "src" / "generated" / "dorian" / "v1" / "face_aging_pb.ts"
SCOPES = {"full.key": ["age", "optimize"], "age.key": ["age"]}


@pytest.fixture(scope="module")
def built() -> None:
    """Build the client and its tests, and install the packages of the example."""
    require_node()
    install(PACKAGE)
    run("node_modules/.bin/tsc", folder=PACKAGE)
    install(BACKEND)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with certificates, API keys and photos, as server.test.ts reads them."""
    folder = tmp_path_factory.mktemp("typescript")
    make_folder(folder, SCOPES)
    (folder / "face.jpg").write_bytes((ROOT / "examples" / "astronaut.jpg").read_bytes())
    Image.new("RGB", (128, 128), (90, 120, 150)).save(folder / "blank.jpg")
    return folder


@pytest.fixture(scope="module")
def environment(built: None, folder: Path) -> Iterator[dict[str, str]]:
    """Start a server with TLS and API keys; return the variables by which the tests find it."""
    with serve(folder) as address:
        yield {"DORIAN_TEST_SERVER": address, "DORIAN_TEST_FOLDER": str(folder)}


def run_tests(files: list[Path], environment: dict[str, str]) -> None:
    """Run files of tests, of which each must pass and none be skipped."""
    output = run("node", "--test", "--test-timeout=60000", *map(str, files), folder=PACKAGE, **environment)
    counts = {name: int(number) for name, number in re.findall(r"^# (pass|fail|skipped) (\d+)$", output, re.MULTILINE)}
    assert counts["pass"] > 5, output
    assert (counts["fail"], counts["skipped"]) == (0, 0), output


def test_the_client(environment: dict[str, str]) -> None:
    run_tests(sorted((PACKAGE / "dist" / "test").glob("*.test.js")), environment)


def test_the_mobile_backend(environment: dict[str, str]) -> None:
    run_tests(sorted((BACKEND / "test").glob("*.test.js")), environment)


def test_the_stubs_are_those_of_the_contract() -> None:
    packed = re.search(r'fileDesc\("([^"]+)"', STUBS.read_text(encoding="utf-8"))
    assert packed is not None
    data = packed[1] + "=" * (-len(packed[1]) % 4)
    made = FileDescriptorProto.FromString(base64.b64decode(data))
    contract = FileDescriptorProto.FromString(face_aging_pb2.DESCRIPTOR.serialized_pb)
    assert made == contract, "run `make proto` where there is npm, and commit the stubs"


def test_the_reasons_are_those_of_the_python_client() -> None:
    errors = (PACKAGE / "src" / "errors.ts").read_text(encoding="utf-8")
    union = errors.partition("export type Reason =")[2].partition(";")[0]
    # of what only operators are told, by a service that this client does not call
    assert set(re.findall(r'"(\w+)"', union)) == set(Reason) - {"BUNDLE_BROKEN"}
