"""The examples of the readme run, against the fake server."""

from __future__ import annotations

import ast
import asyncio
import re
from pathlib import Path
from types import FunctionType
from typing import Any

import pytest

import dorian_client
from dorian_client import AsyncClient, Client
from dorian_client.testing import FakeServer

README = Path(__file__).resolve().parents[2] / "clients" / "python" / "README.md"


def test_the_examples_run(photo: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("photos").mkdir()
    for name in ("portrait.jpg", "landscape.jpg", "photos/1.jpg"):
        Path(name).write_bytes(photo.read_bytes())
    blocks = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert len(blocks) == 5
    with FakeServer() as server:
        monkeypatch.setattr(dorian_client, "Client", lambda address="", **options: _connect(server, address, options))
        monkeypatch.setattr(dorian_client, "AsyncClient", lambda address: AsyncClient(server.address))
        names: dict[str, Any] = {}
        exec(blocks[0], names)
        exec(blocks[1], names)
        code = compile(blocks[2], "README.md", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        asyncio.run(FunctionType(code, names)())
        server.fail("NO_FACE")
        with Client(server.address) as names["client"]:
            exec(blocks[3], names)
        exec(blocks[4], names)
    assert sorted(path.name for path in Path().glob("portrait-*.jpg")) == ["portrait-19-29.jpg", "portrait-60+.jpg"]
    assert (
        capsys.readouterr().out == "photos/1.jpg older-1.jpg\n0 1.5\n1 1.5\n2 0.5\n3 0.25\ntake a photo with a face\n"
    )


def _connect(server: FakeServer, address: str, options: dict[str, Any]) -> Client:
    return Client(server.address if address in ("", "localhost:50051") else address, **options)
