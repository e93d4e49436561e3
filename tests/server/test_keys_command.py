"""``dorian-server-keys``: keys are made, shown once, listed and removed, and the file is for its owner alone."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from dorian_server.cli.keys import main
from dorian_server.security.keys import KeyFile

Run = Callable[..., Result]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "keys.json"


@pytest.fixture
def run(file: Path) -> Run:
    """Runs one of the commands on ``file``."""
    return lambda command, *arguments: CliRunner().invoke(main, [command, str(file), *arguments])


def entries(file: Path) -> list[dict[str, Any]]:
    entries: list[dict[str, Any]] = json.loads(file.read_text())
    return entries


def test_a_key_is_shown_once_and_only_its_hash_is_kept(run: Run, file: Path) -> None:
    result = run("add", "--id", "mobile", "--scope", "age")
    assert result.exit_code == 0
    key = result.output.strip()
    assert re.fullmatch(r"dorian_[A-Za-z0-9_-]{43}", key), "32 bytes in base64"
    digest = hashlib.sha256(key.encode()).hexdigest()
    assert entries(file) == [{"id": "mobile", "sha256": digest, "scopes": ["age"]}]
    assert key not in file.read_text()
    entry = KeyFile(file).find(key)
    assert entry is not None
    assert entry.id == "mobile"


def test_no_two_keys_are_alike(run: Run, file: Path) -> None:
    keys = {run("add", "--id", f"key-{number}", "--scope", "age").output for number in range(5)}
    assert len(keys) == 5
    assert [entry["id"] for entry in entries(file)] == [f"key-{number}" for number in range(5)]


def test_scopes_and_limits(run: Run, file: Path) -> None:
    limits = ["--calls-at-once", "4", "--calls-per-minute", "60"]
    assert run("add", "--id", "batch", "--scope", "optimize", "--scope", "age", *limits).exit_code == 0
    (entry,) = entries(file)
    assert entry.pop("sha256")
    assert entry == {"id": "batch", "scopes": ["age", "optimize"], "calls_at_once": 4, "calls_per_minute": 60}


def test_the_file_is_for_its_owner_alone(run: Run, file: Path) -> None:
    run("add", "--id", "one", "--scope", "age")
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o644)
    run("add", "--id", "two", "--scope", "age")
    assert file.stat().st_mode & 0o777 == 0o600
    file.chmod(0o644)
    run("remove", "--id", "two")
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["keys.json"]


def test_a_write_that_fails_leaves_the_file_as_it_was(run: Run, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run("add", "--id", "one", "--scope", "age")
    before = file.read_bytes()

    def fail(*arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", fail)
    result = run("add", "--id", "two", "--scope", "age")
    assert (result.exit_code, result.output) == (1, f"Error: cannot write {file}: No space left on device\n")
    assert file.read_bytes() == before
    assert [path.name for path in file.parent.iterdir()] == ["keys.json"]


def test_list(run: Run, file: Path) -> None:
    keys = [run("add", "--id", "one", "--scope", "age").output.strip()]
    keys.append(run("add", "--id", "two", "--scope", "admin", "--scope", "age", "--calls-at-once", "2").output.strip())
    keys.append(run("add", "--id", "three", "--scope", "age", "--calls-per-minute", "9").output.strip())
    result = run("list")
    assert result.output == "one: age\ntwo: age, admin; 2 calls at once\nthree: age; 9 calls per minute\n"
    assert not any(key in result.output for key in keys)


def test_remove(run: Run, file: Path) -> None:
    keys = [run("add", "--id", name, "--scope", "age").output.strip() for name in ("one", "two")]
    assert run("remove", "--id", "one").output == "removed one\n"
    key_file = KeyFile(file)
    assert (key_file.find(keys[0]), key_file.find(keys[1]) is None) == (None, False)
    result = run("remove", "--id", "one")
    assert (result.exit_code, result.output) == (1, f"Error: {file} has no key called one; it has two\n")
    assert run("remove", "--id", "two").exit_code == 0
    assert entries(file) == []
    assert run("list").output == ""


def test_a_name_is_given_once(run: Run, file: Path) -> None:
    run("add", "--id", "one", "--scope", "age")
    before = file.read_bytes()
    result = run("add", "--id", "one", "--scope", "age")
    assert result.exit_code == 1
    assert "has a key called one; remove it first" in result.output
    assert file.read_bytes() == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["--scope", "age"],
        ["--id", "one"],
        ["--id", "one", "--scope", "everything"],
        ["--id", "two words", "--scope", "age"],
        ["--id", "", "--scope", "age"],
        ["--id", "one", "--scope", "age", "--calls-at-once", "0"],
        ["--id", "one", "--scope", "age", "--calls-per-minute", "-1"],
    ],
)
def test_wrong_flags_are_usage_errors(run: Run, file: Path, arguments: list[str]) -> None:
    result = run("add", *arguments)
    assert result.exit_code == 2
    assert not file.exists()


@pytest.mark.parametrize("command", [["add", "--id", "two", "--scope", "age"], ["list"], ["remove", "--id", "one"]])
def test_a_broken_file_is_told_and_left_alone(run: Run, file: Path, command: list[str]) -> None:
    file.write_text('[{"id": "one"}]')
    result = run(*command)
    assert result.exit_code == 1
    assert f"Error: the file of API keys {file}, entry 1 ('one'): sha256 is missing or no text" in result.output
    assert file.read_text() == '[{"id": "one"}]'


@pytest.mark.parametrize("command", [["list"], ["remove", "--id", "one"]])
def test_a_file_that_is_not_there(run: Run, file: Path, command: list[str]) -> None:
    result = run(*command)
    assert (result.exit_code, result.output) == (1, f"Error: the file of API keys {file} does not exist\n")


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    file = tmp_path / "nowhere" / "keys.json"
    result = CliRunner().invoke(main, ["add", str(file), "--id", "one", "--scope", "age"])
    assert (result.exit_code, result.output) == (1, f"Error: cannot write {file}: No such file or directory\n")


def test_it_is_installed_and_explains_itself() -> None:
    (script,) = metadata.entry_points(group="console_scripts", name="dorian-server-keys")
    assert script.value == "dorian_server.cli.keys:main"
    for command in ([], ["add"], ["list"], ["remove"]):
        assert CliRunner().invoke(main, [*command, "--help"]).exit_code == 0
