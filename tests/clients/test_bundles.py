"""Bundles and priorities: which bundle each call names, its metadata, and reloads."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from click.testing import Result

from dorian.v1 import admin_pb2
from dorian_client import Client, FailedPrecondition, NotFound, ServedBundle

Pixels = npt.NDArray[np.uint8]
Run = Callable[..., Result]
SHA256 = "ab" * 32


def _make_every_call(client: Client, photo: Pixels) -> None:
    client.age(photo, 30)
    client.sweep(photo)
    client.detect(photo)
    client.compare(photo, photo)
    client.reconstruct(photo)
    client.optimize(photo).result()
    client.methods()
    client.bundle()


# --- the client ---


def test_every_call_names_the_bundle(fake: Any, pixels: Pixels) -> None:
    fake.bundles = ["portraits", "sketches"]
    with Client(fake.address, timeout=60, bundle="sketches") as client:
        _make_every_call(client, pixels)
        assert client.bundle().bundles == ("portraits", "sketches")
    assert len({type(request) for request in fake.requests}) == 6
    assert {request.bundle for request in fake.requests} == {"sketches"}


def test_no_name_stands_for_the_first(client: Client, fake: Any, pixels: Pixels) -> None:
    _make_every_call(client, pixels)
    assert {request.bundle for request in fake.requests} == {""}


def test_a_bundle_that_is_not_there(fake: Any) -> None:
    with Client(fake.address, timeout=60, bundle="nonsense") as client, pytest.raises(NotFound) as caught:
        client.methods()
    assert (caught.value.reason, caught.value.field) == ("BUNDLE_UNKNOWN", "bundle")


@pytest.mark.parametrize(("priority", "sent"), [("batch", "batch"), ("interactive", None)])
def test_the_priority_goes_with_every_call(priority: Any, sent: str | None, fake: Any, pixels: Pixels) -> None:
    with Client(fake.address, timeout=60, priority=priority, api_key="dorian_key") as client:
        _make_every_call(client, pixels)
        client.reload_bundles()
    assert {metadata.get("dorian-priority") for metadata in fake.metadata} == {sent}
    assert {metadata["authorization"] for metadata in fake.metadata} == {"Bearer dorian_key"}


def test_reloading_bundles(fake: Any) -> None:
    fake.bundles, fake.changed_bundles = ["portraits", "sketches"], {"sketches"}
    with Client(fake.address, timeout=60, bundle="portraits") as client:
        assert client.reload_bundles() == [
            ServedBundle("portraits", "1.2.3", SHA256, changed=False),
            ServedBundle("sketches", "1.2.3", SHA256, changed=True),
        ]
        assert client.reload_bundles("sketches") == [ServedBundle("sketches", "1.2.3", SHA256, changed=True)]
        with pytest.raises(NotFound, match="no such bundle"):
            client.reload_bundles("nonsense")
    expected = [admin_pb2.ReloadBundlesRequest(bundle=name) for name in ("", "sketches", "nonsense")]
    assert fake.requests == expected, "the client's own bundle is not what is reloaded"


def test_a_bundle_that_is_broken(client: Client, fake: Any) -> None:
    fake.fail("BUNDLE_BROKEN", "graph.onnx is missing")
    with pytest.raises(FailedPrecondition, match=r"graph\.onnx is missing") as caught:
        client.reload_bundles()
    assert caught.value.reason == "BUNDLE_BROKEN"


# --- the command ---


def test_methods_lists_the_bundles_if_they_are_several(run: Run, fake: Any) -> None:
    assert "bundles of the server" not in run("methods").stdout
    fake.bundles = ["portraits", "sketches"]
    assert "bundles of the server: portraits, sketches\n" in run("methods").stdout
    assert json.loads(run("methods", "--json").stdout)["bundles"] == ["portraits", "sketches"]


@pytest.mark.parametrize(
    "command",
    [
        ["age", "portrait.png", "--sweep", "-o", "a.png"],
        ["detect", "portrait.png"],
        ["compare", "portrait.png", "portrait.png"],
        ["reconstruct", "portrait.png", "-o", "a.png"],
        ["optimize", "portrait.png", "-o", "a.png"],
        ["methods"],
    ],
    ids=lambda command: command[0],
)
def test_every_command_takes_bundle_and_priority(
    command: list[str], run: Run, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.bundles = ["portraits", "sketches"]
    assert run(*command, "--bundle", "sketches", "--priority", "batch").exit_code == 0
    by_flags = len(fake.requests)
    monkeypatch.setenv("DORIAN_CLIENT_BUNDLE", "sketches")
    monkeypatch.setenv("DORIAN_PRIORITY", "batch")
    assert run(*command).exit_code == 0
    assert len(fake.requests) == 2 * by_flags
    assert {request.bundle for request in fake.requests} == {"sketches"}
    assert {metadata.get("dorian-priority") for metadata in fake.metadata} == {"batch"}


def test_a_command_retries_as_often_as_its_flag_says(run: Run, fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        fake.fail("QUEUE_FULL", "full", retry_after=0.01, times=2)
        fake.requests.clear()

    refuse()
    assert (run("methods", "--retries", "2").exit_code, len(fake.requests)) == (0, 3)
    refuse()
    result = run("methods", "--retries", "1")
    assert (result.exit_code, result.stderr) == (5, "dorian: full\nhint: try again in a moment\n")
    refuse()
    monkeypatch.delenv("DORIAN_RETRIES")
    assert (run("methods").exit_code, len(fake.requests)) == (0, 3)


def test_reload(run: Run, fake: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.bundles, fake.changed_bundles = ["portraits", "sketches"], {"sketches"}
    monkeypatch.setenv("DORIAN_CLIENT_BUNDLE", "portraits")
    result = run("reload")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        "bundle portraits 1.2.3 (abababababab), unchanged",
        "bundle sketches 1.2.3 (abababababab), changed",
    ]
    assert run("reload", "--bundle", "sketches").stdout == "bundle sketches 1.2.3 (abababababab), changed\n"
    assert [request.bundle for request in fake.requests] == ["", "sketches"]


def test_rejected_reloads(run: Run, fake: Any) -> None:
    result = run("reload", "--bundle", "nonsense")
    assert (result.exit_code, "lists the bundles" in result.stderr) == (3, True)
    fake.fail("BUNDLE_BROKEN", "graph.onnx is missing")
    result = run("reload")
    assert (result.exit_code, result.stdout) == (5, "")
    assert result.stderr.splitlines()[0] == "dorian: graph.onnx is missing"
