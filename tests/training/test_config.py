"""The training commands' configs: options follow from fields, and ``--dry-run`` shows the resolved config and writes nothing."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import click
import pytest
import yaml
from click.testing import CliRunner

from dorian_training.cli.config import Config, RunConfig, config_command, option, steps_field
from dorian_training.cli.train import COMMANDS, main


@dataclass(frozen=True)
class Numbers:
    rate: float = 0.5
    every: int = 2


@dataclass(frozen=True, kw_only=True)
class SmallConfig(RunConfig):
    steps: int = steps_field(7)
    batch_size: int = option("Faces.", default=3)
    mode: Literal["fast", "slow"] = option("How.", default="fast")
    is_new: bool = option("New.", default=False, flag="--new")

    def settings(self) -> Numbers:
        return Numbers()


@pytest.fixture
def parsed() -> Callable[..., SmallConfig]:
    """The config that a command gets from arguments."""

    def parsed(*arguments: object) -> SmallConfig:
        configs: list[SmallConfig] = []
        command = config_command("small", SmallConfig)(configs.append)
        result = CliRunner().invoke(command, list(map(str, arguments)))
        assert result.exit_code == 0, result.output
        return configs[0]

    return parsed


def test_fields_are_options_with_their_defaults(parsed: Callable[..., SmallConfig]) -> None:
    config = parsed("--data", "a", "--data", "celeba:b", "--out", "run")
    assert config == SmallConfig(out=Path("run"), sources=("a", "celeba:b"))
    assert (config.steps, config.mode, config.is_new, config.amp, config.start) == (7, "fast", False, True, None)
    changed = parsed("--data", "a", "--out", "run", "--mode", "slow", "--new", "--no-amp", "--steps", 9, "--set", "x=1")
    assert (changed.mode, changed.is_new, changed.amp, changed.steps, changed.overrides) == (
        "slow",
        True,
        False,
        9,
        ("x=1",),
    )


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: str(command.name))
def test_every_command_documents_all_its_options(command: click.Command) -> None:
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    assert {"out", "dry_run"} <= {str(parameter.name) for parameter in options}
    assert all(parameter.help for parameter in options)
    assert command.help
    assert f"dorian-train {command.name} " in command.help


def test_a_dry_run_prints_the_resolved_config_and_writes_nothing(
    write_archives: Callable[..., Path], tmp_path: Path
) -> None:
    faces = write_archives(tmp_path / "faces", [{}, {}, {"split": "val"}])
    arguments = ["--data", faces, "--out", tmp_path / "run", "--cache", tmp_path / "cache", "--set", "ema_decay=0.5"]
    result = CliRunner().invoke(main, ["age-estimator", *map(str, arguments), "--dry-run"])
    assert result.exit_code == 0, result.output
    config = yaml.safe_load(result.output)
    assert config["out"] == str(tmp_path / "run")
    assert config["sources"] == [str(faces)]
    assert (config["steps"], config["batch_size"], config["amp"]) == (4400, 48, True)
    assert (config["settings"]["ema_decay"], config["settings"]["blur"]) == (0.5, 2.0)
    assert "# 2 faces in train, 1 faces in val" in result.output
    assert sorted(path.name for path in tmp_path.iterdir()) == ["faces"]


def test_a_dry_run_finds_what_is_wrong(
    write_archives: Callable[..., Path], tmp_path: Path, refused: Callable[..., bool]
) -> None:
    faces = write_archives(tmp_path / "faces", [{}])
    (tmp_path / "broken.safetensors").write_bytes(b"no weights")

    def dry(command: str, *options: object) -> Any:
        arguments = [command, "--data", faces, "--out", tmp_path / "run", *options, "--dry-run"]
        return CliRunner().invoke(main, list(map(str, arguments)))

    assert refused(dry("age-estimator", "--set", "blurr=1"), "expected NAME=VALUE, with a name among")
    assert refused(dry("age-estimator", "--data", tmp_path / "absent"), "is not a folder")
    assert refused(dry("age-translator", "--facenet", tmp_path / "broken.safetensors"), "is not a checkpoint")
    assert refused(dry("age-cgan", "--stage", "joint"), "the joint stage needs --facenet and --age-estimator")
    assert refused(dry("age-cgan", "--stage", "latent"), "the latent stage needs --from")


def test_a_run_logs_its_resolved_config(caplog: pytest.LogCaptureFixture, parsed: Callable[..., SmallConfig]) -> None:
    with caplog.at_level(logging.INFO):
        parsed("--data", "a", "--out", "run")
    logged = yaml.safe_load(caplog.records[0].message.removeprefix("config:"))
    shown = {item.name for item in fields(SmallConfig)} - {"overrides"} | {"settings"}
    assert logged.keys() == shown
    assert logged["settings"] == {"rate": 0.5, "every": 2}


def test_a_config_without_a_run_has_no_settings() -> None:
    assert Config(out=Path("run")).resolved() == {"out": "run"}
