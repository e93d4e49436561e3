"""Where weights come from: a checkpoint's metadata, as the manifest has it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

from dorian_bundle.entries import DataSet, Provenance, Source
from dorian_training.data.sources import LICENCES, Terms, is_free_licence

# What the manifest keeps of a checkpoint's metadata, where it is there.
_TRAINING = ("preset", "shape", "batch_size", "settings", "earlier", "identities", "group_counts", "domains")
_UNSTATED = "not stated"  # the licence of users' own archives


def describe_provenance(
    metadata: dict[str, Any], metrics: dict[str, Any], networks: Sequence[Terms] = ()
) -> Provenance:
    """Return the provenance of a checkpoint.

    The licence of weights that others published is the one stated for them; that of our own follows from their data.

    Args:
        metadata: The checkpoint's.
        metrics: What was measured on it, kept as it is.
        networks: Of others, that labelled the data or that training began from.
    """
    data = tuple(_describe_data_set(source, faces) for source, faces in metadata["data"].items())
    stages = [*metadata["earlier"], {"stage": metadata["stage"], "steps": metadata["steps"]}]
    steps: Counter[str] = Counter()
    for stage in stages:
        steps[stage["stage"]] += stage["steps"]
    return Provenance(
        licence=_published_licence(metadata["licence"]) if "licence" in metadata else _licence_of_data(data),
        commercial_use=_is_free(metadata, data) and all(network.commercial_use for network in networks),
        data=data,
        networks=tuple(
            Source(name=network.name, licence=network.licence, commercial_use=network.commercial_use)
            for network in networks
        ),
        seed=metadata["seed"],
        steps=dict(steps),
        training={key: metadata[key] for key in _TRAINING if key in metadata},
        metrics=metrics,
    )


def _describe_data_set(source: str, faces: int) -> DataSet:
    terms = LICENCES.get(source, Terms(source, _UNSTATED, False))
    return DataSet(name=terms.name, faces=faces, licence=terms.licence, commercial_use=terms.commercial_use)


def _is_free(metadata: dict[str, Any], data: Sequence[DataSet]) -> bool:
    """Return whether commercial use is free: by the licence of published weights and what a whitening was fitted on, or by all data."""
    if "licence" not in metadata:
        return all(entry.commercial_use for entry in data)
    fitted = metadata["settings"].get("whitening", {}).get("faces", {})
    return is_free_licence(metadata["licence"]) and all(
        _describe_data_set(source, faces).commercial_use for source, faces in fitted.items()
    )


def _published_licence(licence: str) -> str:
    return f"The weights are published under these terms: {licence.rstrip('.')}."


def _licence_of_data(data: tuple[DataSet, ...]) -> str:
    strict = dict.fromkeys(entry.name for entry in data if "non-commercial" in entry.licence)
    unstated = [entry.name for entry in data if entry.licence == _UNSTATED]
    if strict:
        return f"The weights are for non-commercial research, as is their training data ({', '.join(strict)})."
    if unstated:
        return (
            f"Whoever passes the weights on must settle their terms: those of {', '.join(unstated)} are not known here."
        )
    return f"The weights are under {' and '.join(sorted({entry.licence for entry in data}))}."
