"""Where weights come from: what a checkpoint says of itself, as the manifest has it."""

from __future__ import annotations

from collections import Counter
from typing import Any

from dorian_bundle.entries import DataSet, Provenance
from dorian_training.data.sources import LICENCES, SetTerms

_UNSTATED = "not stated"  # the licence of users' own archives


def provenance(about: dict[str, Any], metrics: dict[str, Any]) -> Provenance:
    """The provenance of a checkpoint that says ``about`` of itself, with ``metrics`` as they are.

    The licence of weights that others published is the one that was stated when they were taken over; of our own, what
    follows from the data.
    """
    data = tuple(_data_set(source, faces) for source, faces in about["data"].items())
    stages = [*about["earlier"], {"stage": about["stage"], "steps": about["steps"]}]
    steps: Counter[str] = Counter()
    for stage in stages:
        steps[stage["stage"]] += stage["steps"]
    told = ("preset", "shape", "batch_size", "settings", "earlier", "scenes", "identities", "group_counts", "domains")
    return Provenance(
        licence=_stated(about["licence"]) if "licence" in about else _licence(data),
        data=data,
        seed=about["seed"],
        steps=dict(steps),
        training={key: about[key] for key in told if key in about},
        metrics=metrics,
    )


def _data_set(source: str, faces: int) -> DataSet:
    terms = LICENCES.get(source, SetTerms(source, _UNSTATED))
    return DataSet(name=terms.name, faces=faces, licence=terms.licence)


def _stated(licence: str) -> str:
    return f"The weights are published under these terms: {licence.rstrip('.')}."


def _licence(data: tuple[DataSet, ...]) -> str:
    strict = dict.fromkeys(entry.name for entry in data if "non-commercial" in entry.licence)
    unstated = [entry.name for entry in data if entry.licence == _UNSTATED]
    if strict:
        return f"The weights are for non-commercial research, as is their training data ({', '.join(strict)})."
    if unstated:
        return (
            f"Whoever passes the weights on must settle their terms: those of {', '.join(unstated)} are not known here."
        )
    return f"The weights are under {' and '.join(sorted({entry.licence for entry in data}))}."
