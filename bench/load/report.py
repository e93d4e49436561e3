"""A plain table of measurements beside their goals."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

import click


@dataclass(frozen=True)
class Line:
    """Something that was ``seen``. ``met`` says whether it is as ``wanted``; ``None`` where nothing is."""

    name: str
    seen: str
    wanted: str = ""
    met: bool | None = None


@dataclass
class Report:
    """What one run has to say; ``figures`` are its numbers, for programs."""

    title: str
    lines: list[Line] = field(default_factory=list)
    figures: dict[str, Any] = field(default_factory=dict)

    def tell(self, name: str, seen: object) -> None:
        """Something that nothing is wanted of."""
        self.lines.append(Line(name, str(seen)))

    def require(self, name: str, seen: object, wanted: str, met: bool) -> None:
        """Something that is wanted."""
        self.lines.append(Line(name, str(seen), wanted, bool(met)))

    @property
    def good(self) -> bool:
        return all(line.met is not False for line in self.lines)

    def show(self) -> None:
        verdicts = {True: "yes", False: "NO", None: ""}
        rows = [("", "seen", "wanted", "met")]
        rows += [(line.name, line.seen, line.wanted, verdicts[line.met]) for line in self.lines]
        widths = [max(len(row[column]) for row in rows) for column in range(4)]
        click.echo(self.title)
        for row in rows:
            click.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "good": self.good}
