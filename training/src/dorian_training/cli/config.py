"""Typed configs of the training commands: each field is one option, with its default and its help, and nothing stands twice."""

from __future__ import annotations

import logging
import typing
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import MISSING, Field, asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import click
import yaml

from dorian_bundle import BundleError
from dorian_training.checkpoint import WEIGHTS_FILE, load_weights
from dorian_training.cli.options import DEFAULT_CACHE, data_help
from dorian_training.data.records import FaceRecord
from dorian_training.data.sources import load_sources
from dorian_training.errors import ConfigError, TrainingError
from dorian_training.loop import LoopSettings

log = logging.getLogger(__name__)

CHECKPOINT = click.Path(path_type=Path, exists=True)
OUTPUT_FOLDER = click.Path(path_type=Path, file_okay=False)

Settings = TypeVar("Settings", bound=Any)
_OPTION = "option"  # key of a field's ``_Option`` in its metadata


@dataclass(frozen=True)
class _Option:
    """What click needs to know of a field beside its name, type and default."""

    help: str
    flag: str | None
    kind: Any
    metavar: str | None


def option(
    help: str,
    *,
    default: Any = MISSING,
    flag: str | None = None,
    kind: Any = None,
    metavar: str | None = None,
) -> Any:
    """Declare a field of a config as an option.

    Args:
        help: The option's help text.
        default: The field's default; without one the option is required.
        flag: The option's name, unless it is the field's.
        kind: The option's click type, unless it follows from the field's type.
        metavar: How the value is shown in the help.
    """
    return field(default=default, metadata={_OPTION: _Option(help, flag, kind, metavar)})


def data_field(help: str, *, default: Any = MISSING) -> Any:
    """Declare the field of ``--data``, given once or more; ``help`` says what the faces are for."""
    return option(data_help(help), default=default, flag="--data", metavar="KIND:FOLDER")


@dataclass(frozen=True, kw_only=True)
class Config:
    """The resolved options of a command. Subclasses add their fields, each declared with ``option``."""

    out: Path = option("Run folder; resumed if used.", kind=OUTPUT_FOLDER)

    def resolved(self) -> dict[str, Any]:
        """Return all options by field name, in types that YAML has."""
        return {item.name: _plain(getattr(self, item.name)) for item in fields(self)}

    def check(self) -> str:
        """Check the inputs as far as that is cheap, and return a summary of them.

        Raises:
            TrainingError: If an input is missing or is not what the command needs.
        """
        for item in fields(self):
            value = getattr(self, item.name)
            if item.metadata[_OPTION].kind is CHECKPOINT and value is not None:
                load_weights(value)
        return ""


@dataclass(frozen=True, kw_only=True)
class FitConfig(Config):
    """The options of a command that fits a checkpoint to faces in closed form."""

    seed: int = option("Seed of the choice of faces.", default=0)
    out: Path = option("Folder of the checkpoint.", kind=OUTPUT_FOLDER)
    cache: Path = option("Folder of prepared crops.", default=DEFAULT_CACHE, kind=click.Path(path_type=Path))

    def check(self) -> str:
        """Check that no checkpoint would be lost, and the faces; return their number."""
        if (self.out / WEIGHTS_FILE).exists():
            raise ConfigError(f"{self.out} holds a checkpoint, which would be lost; choose another folder")
        super().check()
        return f"{len(self.records())} faces"

    def records(self) -> list[FaceRecord]:
        """Return the faces to fit on; each subclass chooses its own."""
        raise NotImplementedError


@dataclass(frozen=True, kw_only=True)
class ProcessConfig(Config):
    """The options of a process that computes, and the overrides of its settings."""

    seed: int = option("Seed of all random numbers.", default=0)
    device: str = option("auto, cpu, cuda or cuda:N.", default="auto")
    threads: int = option("CPU threads; 0: torch decides.", default=0, kind=click.IntRange(0))
    cache: Path = option("Folder of prepared crops.", default=DEFAULT_CACHE, kind=click.Path(path_type=Path))
    overrides: tuple[str, ...] = option(
        "Override a number of the settings.", default=(), flag="--set", metavar="NAME=VALUE"
    )

    def settings(self) -> Any:
        """Return the settings with the overrides applied; each subclass has its own."""
        raise NotImplementedError

    def resolved(self) -> dict[str, Any]:
        """Return all options, and the settings in the place of the overrides."""
        options = super().resolved()
        del options["overrides"]
        return options | {"settings": asdict(self.settings())}


@dataclass(frozen=True, kw_only=True)
class RunConfig(ProcessConfig):
    """The options that all training runs share."""

    sources: tuple[str, ...] = data_field("Data set; give it once per set.")
    start: Path | None = option("Run or weights file to start from.", default=None, flag="--from", kind=CHECKPOINT)
    steps: int = option("Steps in all, those done before included.", kind=click.IntRange(1))
    minutes: float = option("Stop and save after this long; 0: no limit.", default=0.0, kind=click.FloatRange(0))
    batch_size: int = option("Faces per step and process.", kind=click.IntRange(2))
    amp: bool = option("bfloat16 autocast.", default=True, flag="--amp/--no-amp")

    def loop(self) -> LoopSettings:
        """Return how long to train, and how often to write."""
        return LoopSettings(self.steps, minutes=self.minutes)

    def check(self) -> str:
        """Check checkpoints and data sets; return the number of faces per split."""
        super().check()
        if not self.sources:
            return ""
        splits = Counter(record.split for record in load_sources(self.sources))
        return ", ".join(f"{count} faces in {split}" for split, count in splits.items())


@dataclass(frozen=True, kw_only=True)
class SelectedSetsConfig(RunConfig):
    """The options of a run that may use some of the data sets in ``--data`` alone."""

    only: tuple[str, ...] = option(
        "Use the faces of this set alone, where --data holds several, as fairface; give it once per set.",
        default=(),
        metavar="SET",
    )

    def is_selected(self, record: FaceRecord) -> bool:
        """Return whether the set of a face is to be used."""
        return not self.only or record.source in self.only


def steps_field(default: int) -> Any:
    """Declare the field ``steps`` of a run with its ``default``."""
    return replace_default(RunConfig, "steps", default)


def batch_size_field(default: int) -> Any:
    """Declare the field ``batch_size`` of a run with its ``default``."""
    return replace_default(RunConfig, "batch_size", default)


def replace_default(config: type[Config], name: str, default: Any) -> Any:
    """Declare the field ``name`` of ``config`` again, with another ``default``."""
    declared = next(item for item in fields(config) if item.name == name)
    return field(default=default, metadata=declared.metadata)


AnyConfig = TypeVar("AnyConfig", bound=Config)


def config_command(name: str, config: type[AnyConfig]) -> Callable[[Callable[[AnyConfig], None]], click.Command]:
    """Make a click command of a function that takes a ``config``; its docstring is the help.

    With ``--dry-run`` the command checks its inputs, prints the resolved config and ends. Otherwise the resolved config is
    logged before the function runs. Errors of training and of bundles become click's.
    """

    def decorate(function: Callable[[AnyConfig], None]) -> click.Command:
        def run(dry_run: bool, **options: Any) -> None:
            try:
                resolved = config(**options)
                text = yaml.safe_dump(resolved.resolved(), sort_keys=False).rstrip()
                if dry_run:
                    summary = resolved.check()
                    click.echo(text + (f"\n# {summary}" if summary else ""))
                    return
                log.info("config:\n%s", text)
                function(resolved)
            except (TrainingError, BundleError) as error:
                raise click.ClickException(str(error)) from error

        run.__doc__ = function.__doc__
        dry_run = click.Option(["--dry-run"], is_flag=True, help="Check the inputs, print the config and end.")
        return click.Command(name, callback=run, help=function.__doc__, params=[*_options(config), dry_run])

    return decorate


def _options(config: type[Config]) -> list[click.Parameter]:
    """The options of ``config``: first those of its own, then those that all runs share."""
    shared = {item.name for item in fields(RunConfig)}
    types = typing.get_type_hints(config)
    declared = sorted(fields(config), key=lambda item: item.name in shared)
    return [_click_option(item, types[item.name]) for item in declared]


def _click_option(item: Field[Any], annotation: Any) -> click.Option:
    declared: _Option = item.metadata[_OPTION]
    arguments: dict[str, Any] = {"help": declared.help, "type": declared.kind, "metavar": declared.metavar}
    multiple = get_origin(annotation) is tuple
    choices = next(
        (get_args(part) for part in (annotation, *get_args(annotation)) if get_origin(part) is Literal), None
    )
    flag = declared.flag or f"--{item.name.replace('_', '-')}"
    if choices and declared.kind is None:
        arguments["type"] = click.Choice(choices)
    if annotation is bool and "/" not in flag:
        arguments["is_flag"] = True
    if declared.kind is None and annotation in (int, float):
        arguments["type"] = annotation
    if item.default is MISSING:
        arguments["required"] = True
    elif not multiple:
        arguments["default"] = item.default
    return click.Option([flag, item.name], multiple=multiple, **arguments)


def _plain(value: Any) -> Any:
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def apply_overrides(settings: Settings, overrides: Sequence[str]) -> Settings:
    """Return ``settings``, a dataclass of numbers, with overrides applied.

    Args:
        settings: The settings with their defaults.
        overrides: ``NAME=VALUE`` each; a value is read as the type of the number that it replaces.

    Raises:
        ConfigError: If a name is unknown or a value is not of its type.
    """
    types = {item.name: type(getattr(settings, item.name)) for item in fields(settings)}
    values: dict[str, Any] = {}
    for override in overrides:
        name, equals, value = override.partition("=")
        if not equals or name not in types:
            raise ConfigError(f"--set {override}: expected NAME=VALUE, with a name among {', '.join(types)}")
        try:
            values[name] = types[name](value)
        except ValueError as error:
            raise ConfigError(f"--set {override}: {error}") from error
    result: Settings = replace(settings, **values)
    return result
