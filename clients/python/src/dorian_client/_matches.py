"""What a similarity of two faces means. Frozen, in plain Python types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

YearsBound = Literal["about", "at_most", "at_least"]
_TEXTS: dict[YearsBound, str] = {
    "about": "as alike as real photos of one person {years} years apart",
    "at_most": "at least as alike as real photos of one person {years} years apart",
    "at_least": "less alike than real photos of one person {years} years apart",
}


@dataclass(frozen=True)
class YearsApart:
    """How many years apart two real photographs of one adult are that have some similarity, on average over people.

    Attributes:
        years: The years.
        bound: "about" so many, or "at_most" or "at_least", where nothing was measured beyond.
    """

    years: float
    bound: YearsBound

    def __str__(self) -> str:
        return _TEXTS[self.bound].format(years=f"{self.years:.0f}")


@dataclass(frozen=True)
class IdentityMatch:
    """What a similarity means; as text, "as alike as real photos of one person 12 years apart".

    Attributes:
        same_person: Whether the similarity reaches `threshold`.
        threshold: Similarity from which two faces count as one person's.
        false_accept_rate: Share of pairs of different people that reached the threshold when it was measured.
        years_apart: How far apart in time real photographs with this similarity are; None if the server does not know.
    """

    same_person: bool
    threshold: float
    false_accept_rate: float
    years_apart: YearsApart | None = None

    def __str__(self) -> str:
        person = "one person's faces" if self.same_person else "different people's faces"
        return person if self.years_apart is None else str(self.years_apart)
