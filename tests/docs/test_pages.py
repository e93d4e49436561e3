"""What the pages say exists: their links, the files and make targets that they name, and the commands with their options."""

from __future__ import annotations

import re
import shlex
import tomllib
from collections.abc import Iterator
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path
    for pattern in (
        "*.md",
        "docs/**/*.md",
        "*/README.md",
        "clients/*/README.md",
        "models/*/README.md",
        "examples/*/README.md",
    )
    for path in ROOT.glob(pattern)
)
NAMES = [path.relative_to(ROOT).as_posix() for path in PAGES]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s#]+)(?:#[^)]*)?\)")
DECISIONS = ROOT / "docs" / "decisions"


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def shell_lines(page: Path) -> Iterator[str]:
    """Yield the commands of a page's shell blocks, their continuation lines joined and comments removed."""
    for language, block in FENCE.findall(page.read_text(encoding="utf-8")):
        if language in ("sh", "console"):
            for line in block.replace("\\\n", " ").splitlines():
                command = re.sub(r"(^|\s)#.*", "", line).strip()
                if command:
                    yield command


def scripts() -> dict[str, click.Command]:
    """Return the distributions' commands by name, as their metadata has them."""
    commands = {}
    for path in (*ROOT.glob("*/pyproject.toml"), *ROOT.glob("clients/*/pyproject.toml")):
        for name, place in tomllib.loads(path.read_text())["project"].get("scripts", {}).items():
            module, _, function = place.partition(":")
            commands[name] = getattr(import_module(module), function)
    return commands


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))


def uses(page: Path) -> Iterator[list[str]]:
    """Yield the words of each use of a ``dorian`` command in a page's shell blocks, beginning with its name."""
    for line in shell_lines(page):
        message = shlex.split(line)
        for index, word in enumerate(message):
            name = word.rpartition("/")[2]
            begins = index == 0 or "=" in message[index - 1] or message[index - 1] == "do"
            if begins and re.fullmatch(r"dorian(-[a-z]+)*", name):
                yield [name, *message[index + 1 :]]


def resolve(command: click.Command, message: list[str]) -> tuple[click.Command, list[str]]:
    """Return the subcommand that ``message`` lead to, and the words after it."""
    while isinstance(command, click.Group) and message and not message[0].startswith("-"):
        assert message[0] in command.commands, f"{command.name} has no command {message[0]}"
        command, message = command.commands[message[0]], message[1:]
    return command, message


@pytest.mark.parametrize("name", NAMES)
def test_links_lead_to_files(name: str) -> None:
    page = ROOT / name
    targets = [
        target for target in LINK.findall(prose(page)) if "://" not in target and not target.startswith("mailto:")
    ]
    assert [target for target in targets if not (page.parent / target).exists()] == []


@pytest.mark.parametrize("name", [name for name in NAMES if not name.startswith("docs/decisions/")])
def test_make_targets_exist(name: str) -> None:
    page = ROOT / name
    named = set(re.findall(r"`make ([a-z-]+)", prose(page)))
    named |= {word for line in shell_lines(page) for word in re.findall(r"^make ([a-z-]+)", line)}
    assert named <= make_targets()


@pytest.mark.parametrize("name", NAMES)
def test_commands_take_the_options_that_they_are_given(name: str) -> None:
    commands = scripts()
    for command_name, *message in uses(ROOT / name):
        assert command_name in commands, command_name
        command, rest = resolve(commands[command_name], message)
        context = click.Context(command, help_option_names=["-h", "--help"])
        options = {option for param in command.get_params(context) for option in (*param.opts, *param.secondary_opts)}
        given = {word.partition("=")[0] for word in rest if re.match(r"--?[a-z]", word)}
        assert given <= options, f"{command_name} of {name}"


def test_files_that_contributing_names_exist() -> None:
    spans = re.findall(r"`([^`\n]+)`", prose(ROOT / "CONTRIBUTING.md"))
    paths = [
        span for span in spans if re.fullmatch(r"[\w./-]+/[\w./-]*", span) and not span.startswith(("../", "http"))
    ]
    assert len(paths) > 10
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_files_that_decisions_name_exist() -> None:
    for page in sorted(DECISIONS.glob("0*.md")):
        spans = re.findall(r"`([\w./-]+/[\w.-]+\.(?:py|toml|yaml))`", prose(page))
        homes = [
            ROOT,
            ROOT / "server/src/dorian_server",
            ROOT / "training/src/dorian_training",
            ROOT / "bundle/src/dorian_bundle",
        ]
        assert [span for span in spans if not any((home / span).exists() for home in homes)] == [], page.name


@pytest.mark.parametrize("name", NAMES)
def test_modules_that_pages_name_exist(name: str) -> None:
    for span in re.findall(r"`(dorian_[a-z]+(?:\.\w+)+)(?:\([^`]*\))?`", prose(ROOT / name)):
        assert importable(span), span


def importable(dotted: str) -> bool:
    """Return whether ``dotted`` is a module, or an attribute of one."""
    parent, _, last = dotted.rpartition(".")
    with suppress(ModuleNotFoundError):
        if find_spec(dotted) is not None:
            return True
    return find_spec(parent) is not None and hasattr(import_module(parent), last)


def test_every_decision_is_in_the_index() -> None:
    index = (DECISIONS / "README.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\d+\. \[(.*)\]\((.*)\)$", index, re.MULTILINE)
    titles = {path.name: path.read_text(encoding="utf-8").splitlines()[0] for path in sorted(DECISIONS.glob("0*.md"))}
    assert {file: f"# {int(file[:4])}. {title}" for title, file in listed} == titles
