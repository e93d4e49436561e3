"""Weights that others publish: fetched, verified, fitted to their network, and made a checkpoint by the command."""

from __future__ import annotations

import hashlib
import json
import pickle
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
from click.testing import CliRunner, Result
from safetensors.torch import save_file
from torch import Tensor, nn

from dorian_training.checkpoint import WEIGHTS_FILE, load_weights
from dorian_training.cli.train import main
from dorian_training.errors import CheckpointError, ConfigError
from dorian_training.networks.facenet import load_facenet
from dorian_training.networks.inception_resnet import InceptionResNetShape, InceptionResNetV1
from dorian_training.published import fetch, fit, read_facenet, read_tensors

Refused = Callable[..., bool]
BODY = bytes(range(256)) * 9000  # more than is read at once
SUM = hashlib.sha256(BODY).hexdigest()
OTHER_SUM = hashlib.sha256(b"").hexdigest()


def sum_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


# --- files and URLs ---


class Server(ThreadingHTTPServer):
    """Gives ``bodies`` by path; ``asked`` are the paths, as they come."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.bodies: dict[str, bytes] = {}
        self.asked: list[str] = []

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class Answer(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        body = self.server.bodies.get(self.path.partition("?")[0])
        if body is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(BODY)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_file_is_taken_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(BODY)
    for sha256 in (None, SUM, f" {SUM.upper()}\n"):
        actual = fetch(str(tmp_path / "weights.pt"), sha256, tmp_path / "cache")
        assert (actual.path, actual.name, actual.sha256) == (tmp_path / "weights.pt", "weights.pt", SUM)
    assert not (tmp_path / "cache").exists()


def test_a_file_with_another_sum_is_refused(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(BODY)
    with pytest.raises(CheckpointError, match=rf"weights\.pt has the sha256 {SUM}, not {OTHER_SUM}"):
        fetch(str(tmp_path / "weights.pt"), OTHER_SUM, tmp_path)
    with pytest.raises(CheckpointError, match=r"absent\.pt cannot be read"):
        fetch(str(tmp_path / "absent.pt"), None, tmp_path)
    with pytest.raises(ConfigError, match="'12ab' is not a sha256, which has 64 hexadecimal digits"):
        fetch(str(tmp_path / "weights.pt"), "12ab", tmp_path)


def test_a_url_is_asked_once(server: Server, tmp_path: Path) -> None:
    server.bodies["/v1/face net.pt".replace(" ", "%20")] = BODY
    url = server.url("/v1/face%20net.pt?key=1")
    for _ in range(2):
        actual = fetch(url, SUM, tmp_path / "cache")
        assert (actual.name, actual.sha256, actual.path.suffix) == ("face net.pt", SUM, ".pt")
        assert sum_of(actual.path) == SUM
        assert list((tmp_path / "cache").rglob("*.*")) == [actual.path]
    assert server.asked == ["/v1/face%20net.pt?key=1"]


def test_what_was_kept_is_verified_again(server: Server, tmp_path: Path) -> None:
    server.bodies["/net.pt"] = BODY
    kept = fetch(server.url("/net.pt"), SUM, tmp_path).path
    kept.write_bytes(BODY[:-1])
    assert fetch(server.url("/net.pt"), SUM, tmp_path).path == kept
    assert sum_of(kept) == SUM
    assert len(server.asked) == 2


def test_a_url_that_gives_something_else_leaves_nothing(server: Server, tmp_path: Path) -> None:
    server.bodies |= {"/net.pt": BODY[::-1], "/half.pt": BODY[:1000]}
    for path, body in server.bodies.items():
        actual = hashlib.sha256(body).hexdigest()
        with pytest.raises(CheckpointError, match=rf"{path} has the sha256 {actual}, not {SUM}"):
            fetch(server.url(path), SUM, tmp_path)
    with pytest.raises(CheckpointError, match=r"absent\.pt cannot be fetched: HTTP Error 404"):
        fetch(server.url("/absent.pt"), SUM, tmp_path)
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
    with pytest.raises(CheckpointError, match=r"net\.pt cannot be fetched: .*refused"):
        fetch(f"http://127.0.0.1:{port}/net.pt", SUM, tmp_path)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_urls_that_are_not_even_asked(server: Server, tmp_path: Path) -> None:
    server.bodies["/net.pt"] = BODY
    with pytest.raises(ConfigError, match=r"net\.pt needs its sha256"):
        fetch(server.url("/net.pt"), None, tmp_path)
    for url in ("file:///etc/hostname", "ftp://127.0.0.1/net.pt"):
        with pytest.raises(ConfigError, match=rf"{url} is neither a path nor an http\(s\) URL"):
            fetch(url, SUM, tmp_path)
    with pytest.raises(ConfigError, match="is not a URL: "):
        fetch("http://[127.0.0.1/net.pt", SUM, tmp_path)
    assert server.asked == []


# --- tensors ---


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 1)
        self.bn = nn.BatchNorm2d(4)


def ones() -> dict[str, Tensor]:
    return {name: torch.ones_like(tensor) for name, tensor in Small().state_dict().items()}


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
def test_tensors_are_read_in_every_format(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ("net.safetensors" if kind == "safetensors" else "net.pt")
    if kind == "safetensors":
        save_file(ones(), path)
    else:
        torch.save(ones(), path, _use_new_zipfile_serialization=kind == "zip")
    actual = read_tensors(path)
    assert actual.keys() == ones().keys()
    assert all(torch.equal(tensor, actual[name]) for name, tensor in ones().items())


class Rogue:
    """What would write a file if it were unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (self.path,)


@pytest.mark.parametrize("name", ["net.pt", "net.safetensors"])
def test_files_that_hold_no_tensors(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    for body in (b"", b"half of a file", pickle.dumps(Rogue(tmp_path / "written"))):
        path.write_bytes(body)
        with pytest.raises(CheckpointError, match=rf"{name} cannot be read"):
            read_tensors(path)
    assert not (tmp_path / "written").exists()
    for actual in ([torch.ones(2)], {"state_dict": ones()}, {"epoch": 3}):
        torch.save(actual, tmp_path / "other.pt")
        with pytest.raises(CheckpointError, match=r"other\.pt holds something other than tensors by name"):
            read_tensors(tmp_path / "other.pt")


def test_tensors_become_the_networks_own() -> None:
    network = Small()
    fit(network, ones(), "net.pt")
    assert all(bool((tensor == 1).all()) for tensor in network.state_dict().values())
    halves = {name: (item * 0.5).half() for name, item in ones().items() if item.is_floating_point()}
    fit(network, halves, "old.pt")  # which knows of no batches
    assert network.bn.num_batches_tracked == 1
    assert {tensor.dtype for tensor in network.parameters()} == {torch.float32}
    assert all(bool((tensor == 0.5).all()) for tensor in network.parameters())


def without(*names: str, **more: Tensor) -> Mapping[str, Tensor]:
    return {name: tensor for name, tensor in ones().items() if name not in names} | more


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (without("conv.bias"), "tensors 1 missing: conv.bias"),
        (without("conv.bias", head=torch.ones(1)), "tensors 1 missing: conv.bias; 1 unexpected: head"),
        ({}, "tensors 6 missing: conv.weight, conv.bias, bn.weight, …"),
        (
            without("conv.bias") | {"conv.bias": torch.ones(5)},
            "tensors 1 of another shape: conv.bias (5,) in place of (4,)",
        ),
    ],
)
def test_tensors_of_another_network_are_named(given: dict[str, Tensor], words: str) -> None:
    network = Small()
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    with pytest.raises(CheckpointError) as error:
        fit(network, given, "net.pt")
    assert str(error.value) == f"net.pt does not fit the network; {words}"
    assert all(torch.equal(tensor, before[name]) for name, tensor in network.state_dict().items())


# --- FaceNet ---


@pytest.fixture(scope="module")
def weights() -> dict[str, Tensor]:
    """Random weights as they are published for VGGFace2, with a classifier and without counts of batches."""
    torch.manual_seed(3)
    network = InceptionResNetV1(InceptionResNetShape())
    nn.init.normal_(network.last_bn.running_mean)
    state = {name: item for name, item in network.state_dict().items() if not name.endswith("num_batches_tracked")}
    return {**state, "logits.weight": torch.ones(8631, 512), "logits.bias": torch.ones(8631)}


@pytest.fixture(scope="module")
def file(weights: dict[str, Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("published") / "20180402.pt"
    torch.save(weights, path)
    return path


@pytest.fixture
def take(file: Path, tmp_path: Path) -> Callable[..., Result]:
    """Runs the command on ``file``, or on what is given in its place, into ``tmp_path/out``."""

    def take(*options: object, weights: object = file, out: str = "out") -> Result:
        words = ["--weights", weights, "--licence", "MIT", "--out", tmp_path / out, "--cache", tmp_path / "cache"]
        return CliRunner().invoke(main, ["facenet-published", *map(str, [*words, *options])])

    return take


def test_the_classifier_is_left_out(file: Path, weights: dict[str, Tensor], tmp_path: Path) -> None:
    actual = read_facenet(fetch(str(file), None, tmp_path))
    assert actual.identities == 8631
    state = actual.network.state_dict()
    assert all(torch.equal(state[name], item) for name, item in weights.items() if not name.startswith("logits."))
    torch.save({name: item for name, item in weights.items() if not name.startswith("logits.")}, tmp_path / "bare.pt")
    assert read_facenet(fetch(str(tmp_path / "bare.pt"), None, tmp_path)).identities is None


def test_a_checkpoint_is_made_that_says_where_it_is_from(
    take: Callable[..., Result], file: Path, weights: dict[str, Tensor], tmp_path: Path
) -> None:
    result = take()
    assert result.exit_code == 0, result.output
    sha256 = sum_of(file)
    words = f"Inception-ResNet-v1, learned from VGGFace2; 20180402.pt, sha256 {sha256}"
    assert result.stdout == f"{tmp_path / 'out' / WEIGHTS_FILE}: {words}\n"
    assert [path.name for path in (tmp_path / "out").iterdir()] == [WEIGHTS_FILE]
    stored, about = load_weights(tmp_path / "out")
    assert stored.keys() == {"facenet_ema"}
    assert all(torch.equal(stored["facenet_ema"][name], item) for name, item in weights.items() if "logits" not in name)
    assert about == {
        "family": "facenet",
        "shape": json.loads(json.dumps(InceptionResNetShape().as_dict())),
        "stage": "published",
        "steps": 0,
        "earlier": [],
        "data": {"VGGFace2": 3_141_890},
        "identities": 8631,
        "seed": 0,
        "settings": {"file": "20180402.pt", "sha256": sha256},
        "licence": "MIT",
    }
    facenet = load_facenet(tmp_path / "out")
    assert isinstance(facenet, InceptionResNetV1)
    assert not facenet.training
    assert torch.equal(facenet.last_linear.weight, weights["last_linear.weight"])


def test_a_url_needs_its_sum_and_gives_the_same(
    take: Callable[..., Result], file: Path, server: Server, tmp_path: Path, refused: Refused
) -> None:
    server.bodies["/20180402.pt"] = BODY
    assert refused(take(weights=server.url("/20180402.pt")), "needs its sha256")
    wrong = take("--sha256", OTHER_SUM, weights=server.url("/20180402.pt"))
    assert refused(wrong, f"has the sha256 {SUM}, not {OTHER_SUM}")
    assert refused(take("--sha256", OTHER_SUM), "20180402.pt has the sha256 ", f", not {OTHER_SUM}")
    assert refused(take("--sha256", SUM, weights=server.url("/20180402.pt")), ".pt cannot be read")
    assert not (tmp_path / "out").exists()


def test_weights_of_other_sets_and_networks(
    take: Callable[..., Result], file: Path, weights: dict[str, Tensor], tmp_path: Path, refused: Refused
) -> None:
    words = "20180402.pt tells 8,631 people apart, but CASIA-WebFace has 10,575; see --trained-on"
    assert refused(take("--trained-on", "CASIA-WebFace"), words)
    torch.save(ones(), tmp_path / "other.pt")
    words = "other.pt does not fit the network; tensors 602 missing: conv2d_1a.conv.weight, conv2d_1a.bn.weight, "
    assert refused(take(weights=tmp_path / "other.pt"), words, "; 7 unexpected: conv.weight, conv.bias, bn.weight, …")
    assert not (tmp_path / "out").exists()
    classified = {**weights, "logits.weight": torch.ones(10_575, 512), "logits.bias": torch.ones(10_575)}
    torch.save(classified, tmp_path / "casia.pt")
    assert take("--trained-on", "CASIA-WebFace", weights=tmp_path / "casia.pt").exit_code == 0
    _, about = load_weights(tmp_path / "out")
    assert (about["data"], about["identities"]) == ({"CASIA-WebFace": 494_414}, 10_575)


def test_no_other_checkpoint_is_lost(take: Callable[..., Result], tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / WEIGHTS_FILE).write_text("weeks of training")
    assert refused(take(), "out holds a checkpoint, which would be lost; choose another folder")
    assert (tmp_path / "out" / WEIGHTS_FILE).read_text() == "weeks of training"


@pytest.mark.parametrize("needed", ["weights", "licence", "out"])
def test_what_has_to_be_said(tmp_path: Path, file: Path, needed: str) -> None:
    given = {"weights": str(file), "licence": "MIT", "out": str(tmp_path / "out")}
    words = [word for name, value in given.items() if name != needed for word in (f"--{name}", value)]
    result = CliRunner().invoke(main, ["facenet-published", *words])
    assert result.exit_code == 2
    assert f"Missing option '--{needed}'" in result.output


def test_help_explains_every_option() -> None:
    result = CliRunner().invoke(main, ["facenet-published", "--help"])
    assert result.exit_code == 0
    options = ["weights", "sha256", "licence", "trained-on", "out", "cache"]
    assert [option for option in options if f"--{option}" not in result.output] == []
    assert "dorian-train facenet-published --weights 20180402-114759-vggface2.pt" in result.output
    assert "facenet-published" in CliRunner().invoke(main, ["-h"]).output
