"""The flags of ``dorian-server``, made from the fields of ``settings.py``."""

from __future__ import annotations

import logging
import types
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import click
from pydantic import TypeAdapter, ValidationError

from dorian_server.settings import Flag, Settings

log = logging.getLogger(__name__)

_GENERAL, _OTHER = "Server", "Other"
Command = TypeVar("Command", bound=Callable[..., Any])


class NamedFolder(click.ParamType[tuple[str, Path]]):
    """NAME=FOLDER, as a pair."""

    name = "NAME=FOLDER"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, Path]:
        name, equals, folder = value.partition("=")
        if not (equals and name and folder):
            self.fail(f"{value!r} is not NAME=FOLDER", param, ctx)
        return name, Path(folder)


@dataclass(frozen=True)
class Setting:
    """A field of the settings that is a flag.

    Args:
        name: The field's name, unique among all settings.
        part: The field of ``Settings`` that it lies in; empty for a field of ``Settings`` itself.
        group: The heading that it stands below in the help.
        type: What its values are, for click.
        default: Its value unless given.
        help: What it does.
        flag: How it differs from what its name and type make of it.
    """

    name: str
    part: str
    group: str
    type: click.ParamType[Any]
    default: Any
    help: str
    flag: Flag

    @property
    def option(self) -> str:
        """The flag on the command line."""
        return f"--{self.flag.name or self.name.replace('_', '-')}"

    @property
    def former_option(self) -> str | None:
        """The flag before it was renamed."""
        return f"--{self.flag.former_name}" if self.flag.former_name else None

    @property
    def is_repeated(self) -> bool:
        """Whether it can be given several times."""
        return isinstance(self.type, NamedFolder)


def variable_of(option: str) -> str:
    """Return the environment variable of a flag: ``DORIAN_MAX_PIXELS`` of ``--max-pixels``."""
    return f"DORIAN_{option.removeprefix('--').replace('-', '_').upper()}"


def list_settings(part: type = Settings, name: str = "", group: str = _GENERAL) -> Iterator[Setting]:
    """Yield the settings that are flags, in the order of their fields."""
    infos = part.__pydantic_fields__  # type: ignore[attr-defined]
    for field in fields(part):
        info = infos[field.name]
        if isinstance(info.annotation, type) and is_dataclass(info.annotation):
            yield from list_settings(info.annotation, field.name, info.description)
            continue
        flag = next((item for item in info.metadata if isinstance(item, Flag)), Flag())
        if flag.is_offered:
            default = None if field.default is MISSING else field.default
            kind = _click_type(info.annotation, info.metadata, flag)
            yield Setting(field.name, name, group, kind, default, info.description, flag)


def _click_type(annotation: Any, constraints: list[Any], flag: Flag) -> click.ParamType[Any]:
    if get_origin(annotation) in (Union, types.UnionType):  # of a type and None
        annotation = next(argument for argument in get_args(annotation) if argument is not type(None))
    low = next((item.ge for item in constraints if hasattr(item, "ge")), None)
    high = next((item.le for item in constraints if hasattr(item, "le")), None)
    if get_origin(annotation) is Literal:
        return click.Choice(get_args(annotation))
    if annotation is bool:
        return click.BOOL
    if annotation is int:
        return click.IntRange(low, high)
    if annotation is float:
        return click.FloatRange(low, high)
    if annotation is Path:
        return click.Path(path_type=Path, file_okay=not flag.is_folder)
    if annotation is str:
        return click.STRING
    assert get_args(annotation) == (str, Path), annotation
    return NamedFolder()


def setting_options(command: Command) -> Command:
    """Give ``command`` an option for each setting; it is called with their values by the fields' names."""
    for setting in reversed(list(list_settings())):
        option: dict[str, Any] = {
            "type": setting.type,
            "is_flag": setting.type is click.BOOL,
            "multiple": setting.is_repeated,
            "metavar": setting.flag.metavar,
        }
        if setting.former_option:
            former, variable = setting.former_option, variable_of(setting.former_option)
            command = click.option(former, _former(setting.name), hidden=True, envvar=variable, **option)(command)
        command = click.option(
            setting.option,
            setting.name,
            default=setting.default,
            envvar=variable_of(setting.option),
            show_envvar=True,
            show_default=True,
            help=setting.help,
            **option,
        )(command)
    return command


def read_settings(options: Mapping[str, Any]) -> Settings:
    """Return the settings that the values of ``setting_options`` give, and warn of flags that were renamed.

    Raises:
        click.UsageError: A value is out of range.
    """
    values: dict[str, Any] = {}
    for setting in list_settings():
        value = options[setting.name]
        if setting.is_repeated:
            former = options[_former(setting.name)] if setting.former_option else ()
            value = dict([*former, *value])
            if former and setting.former_option:
                warn_renamed(setting.former_option, setting.option)
        part = values.setdefault(setting.part, {}) if setting.part else values
        part[setting.name] = value
    try:
        return TypeAdapter(Settings).validate_python(values)
    except ValidationError as error:
        problem = error.errors()[0]
        option = next(setting.option for setting in list_settings() if setting.name == problem["loc"][-1])
        raise click.UsageError(f"Invalid value for '{option}': {problem['msg']}") from error


def warn_renamed(former: str, option: str) -> None:
    """Log that the flag ``former``, or its variable, is now ``option``."""
    names = f"{former} ({variable_of(former)})", f"{option} ({variable_of(option)})"
    log.warning("%s is deprecated and will be removed in the next release; use %s", *names)


def _former(name: str) -> str:
    return f"former_{name}"


class GroupedCommand(click.Command):
    """A command whose help lists its options below the headings of their settings."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        headings = {setting.name: setting.group for setting in list_settings()}
        groups: dict[str, list[tuple[str, str]]] = {heading: [] for heading in [*headings.values(), _OTHER]}
        for param in self.get_params(ctx):
            record = param.get_help_record(ctx)
            if record is not None:
                groups[headings.get(param.name or "", _OTHER)].append(record)
        for heading, records in groups.items():
            with formatter.section(heading):
                formatter.write_dl(records)
