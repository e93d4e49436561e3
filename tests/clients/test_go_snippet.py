"""The snippet in Go, compiled against stubs generated from the contract, ages a photo on the real server."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from dorian_client import Client, Tls
from tests.clients.secure_server import make_folder, serve

ROOT = Path(__file__).resolve().parents[2]
SNIPPET = ROOT / "examples" / "snippets" / "age.go"
STUBS = "example.com/app/dorian/v1"  # the package that the snippet imports
GRPC = Path("src", "google.golang.org", "grpc")
DEBIAN = Path("/usr/share/gocode")  # where Debian's packages of Go libraries have their files
TOOLS = ("go", "protoc", "protoc-gen-go", "protoc-gen-go-grpc")
BUILD_SECONDS = 1800
NEW_CLIENT = """package grpc

func NewClient(target string, options ...DialOption) (*ClientConn, error) { return Dial(target, options...) }
"""

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def libraries() -> Path:
    """Return a folder of Go's libraries with grpc-go: one of GOPATH, or Debian's."""
    if missing := [tool for tool in TOOLS if shutil.which(tool) is None]:
        pytest.skip(
            f"{', '.join(missing)} is not here; Debian has golang-go, protobuf-compiler, protoc-gen-go-1-5 and -grpc"
        )
    folders = [Path(folder) for folder in os.environ.get("GOPATH", "").split(os.pathsep) if folder]
    for folder in (*folders, DEBIAN):
        if (folder / GRPC).is_dir():
            return folder
    pytest.skip("grpc-go is not here; Debian has golang-google-grpc-dev and golang-github-golang-protobuf-1-5-dev")


@pytest.fixture(scope="module")
def command(libraries: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the snippet's command."""
    folder = tmp_path_factory.mktemp("go")
    app = folder / "src" / "example.com" / "app"
    app.mkdir(parents=True)
    options = [
        flag for kind in ("go", "go-grpc") for flag in (f"--{kind}_out={app}", f"--{kind}_opt=paths=source_relative")
    ]
    options += [f"--{kind}_opt=Mdorian/v1/face_aging.proto={STUBS}" for kind in ("go", "go-grpc")]
    run("protoc", "-Iproto", *options, "proto/dorian/v1/face_aging.proto")
    shutil.copytree(libraries / GRPC, folder / GRPC)
    if "func NewClient(" not in (folder / GRPC / "clientconn.go").read_text(encoding="utf-8"):
        # grpc-go before 1.63, which Debian 12 has, calls it Dial.
        (folder / GRPC / "new_client.go").write_text(NEW_CLIENT)
    path = os.pathsep.join((str(folder), str(libraries)))
    settings = {"GO111MODULE": "off", "GOPATH": path, "GOFLAGS": "", "GOTOOLCHAIN": "local", "CGO_ENABLED": "0"}
    run("go", "build", "-o", str(folder / "age"), str(SNIPPET), seconds=BUILD_SECONDS, **settings)
    return folder / "age"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with certificates and an API key."""
    folder = tmp_path_factory.mktemp("server")
    make_folder(folder, {"key": ["age"]})
    return folder


@pytest.fixture(scope="module")
def address(command: Path, folder: Path) -> Iterator[str]:
    with serve(folder) as address:
        yield address


def run(*command: str, seconds: float = 120, **environment: str) -> str:
    """Run a command that must succeed; return what it prints."""
    result = subprocess.run(
        command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, timeout=seconds, check=False
    )
    assert result.returncode == 0, f"{command}: {result.stdout[-2000:]}{result.stderr[-5000:]}"
    return result.stdout


def test_it_ages_a_photo_and_tells_why_it_cannot(command: Path, folder: Path, address: str, tmp_path: Path) -> None:
    photo, blank, out = ROOT / "examples" / "astronaut.jpg", tmp_path / "blank.jpg", tmp_path / "older.jpg"
    Image.new("RGB", (128, 128), (90, 120, 150)).save(blank)
    key = (folder / "key").read_text().strip()
    environment = {"DORIAN_API_KEY": key, "SSL_CERT_FILE": str(folder / "ca.pem")}
    run(str(command), address, str(photo), "60+", str(out), **environment)
    with Client(address, api_key=key, tls=Tls(ca=(folder / "ca.pem").read_bytes()), timeout=60) as client:
        assert out.read_bytes() == client.age(photo, "60+", faces="largest").photos[0].picture.data
    failed = subprocess.run(
        [str(command), address, str(blank), "60+", str(out)],
        env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert failed.returncode == 1
    assert "take a photo with a face" in failed.stderr
