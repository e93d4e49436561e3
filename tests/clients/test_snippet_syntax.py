"""The snippets in Kotlin and Swift, read by grammars, as their compilers are not at hand: syntax, and the reasons that they decide by."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dorian_client import Reason

SNIPPETS = Path(__file__).resolve().parents[2] / "examples" / "snippets"
GRAMMARS = {"Age.kt": "tree_sitter_kotlin", "Age.swift": "tree_sitter_swift"}


@pytest.fixture(params=GRAMMARS)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def faults(name: str, source: str) -> list[str]:
    """Return where the grammar of a snippet's language cannot read a source: line and text."""
    tree_sitter = pytest.importorskip("tree_sitter")
    grammar = pytest.importorskip(GRAMMARS[name])
    parser = tree_sitter.Parser(tree_sitter.Language(grammar.language()))
    return [
        f"{node.start_point[0] + 1}: {node.text.decode()}"
        for node in nodes(parser.parse(source.encode()).root_node)
        if node.is_error or node.is_missing
    ]


def nodes(node: Any) -> Iterator[Any]:
    yield node
    for child in node.children:
        yield from nodes(child)


def test_the_grammar_reads_it(name: str) -> None:
    source = (SNIPPETS / name).read_text(encoding="utf-8")
    assert faults(name, source) == []
    assert faults(name, source.replace("{", "", 1)), "what is broken is seen"


def test_it_decides_by_reasons_that_there_are(name: str) -> None:
    constants = set(re.findall(r'"([A-Z]+_[A-Z_]+)"', (SNIPPETS / name).read_text(encoding="utf-8")))
    assert "NO_FACE" in constants
    assert constants - set(Reason) <= {"DORIAN_API_KEY"}
