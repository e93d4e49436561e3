"""Where weights come from: a checkpoint's metadata, as the manifest has it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from dorian_bundle.entries import DataSet, Provenance, Source
from dorian_training.cli.runs import describe_stage
from dorian_training.data.sources import DLIB_NETWORK, LICENCES, Terms, is_free_licence

# What the manifest keeps of a checkpoint's metadata, where it is there.
_TRAINING = (
    "preset",
    "shape",
    "batch_size",
    "settings",
    "earlier",
    "taught_by",
    "identities",
    "group_counts",
    "domains",
)
_UNSTATED = "not stated"  # the licence of users' own archives
_PUBLISHED = {"dlib": DLIB_NETWORK.name}  # what weights are called that others published, by what they learned from
_UNRECORDED = "its data is not recorded"  # in place of a licence, of stages in old checkpoints


def describe_provenance(
    metadata: dict[str, Any], metrics: dict[str, Any], networks: Sequence[Terms] = ()
) -> Provenance:
    """Return the provenance of a checkpoint.

    The licence of weights that others published is the one stated for them; that of our own follows from their data, and from those of
    the checkpoints that they stem from (``earlier``) and that taught them (``taught_by``). What is not known of one of these is not free.

    Args:
        metadata: The checkpoint's.
        metrics: What was measured on it, kept as it is.
        networks: Of others, that labelled the data or that training began from.
    """
    data = _merge_data(metadata)
    stems_from = dict.fromkeys((*networks, *_list_ancestors(_stages_behind(metadata))))
    stages = [*metadata["earlier"], {"stage": metadata["stage"], "steps": metadata["steps"]}]
    steps: Counter[str] = Counter()
    for stage in stages:
        steps[stage["stage"]] += stage["steps"]
    return Provenance(
        licence=_published_licence(metadata["licence"]) if "licence" in metadata else _licence_of_data(data),
        commercial_use=_is_free(metadata, data) and all(source.commercial_use for source in stems_from),
        data=data,
        networks=tuple(
            Source(name=source.name, licence=source.licence, commercial_use=source.commercial_use)
            for source in stems_from
        ),
        seed=metadata["seed"],
        steps=dict(steps),
        training={key: metadata[key] for key in _TRAINING if key in metadata},
        metrics=metrics,
    )


def _merge_data(metadata: dict[str, Any]) -> tuple[DataSet, ...]:
    """Return the data sets of a checkpoint, then those that only the stages behind it had; of published weights only the sets known here."""
    data = [_describe_data_set(source, faces) for source, faces in metadata["data"].items()]
    for stage in _stages_behind(metadata):
        for source, faces in stage.get("data", {}).items():
            if "licence" in stage and source not in LICENCES:
                continue  # the weights' licence stands for it
            entry = _describe_data_set(source, faces)
            if entry.name not in {known.name for known in data}:
                data.append(entry)
    return tuple(data)


def _stages_behind(metadata: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the earlier stages of a checkpoint, and those of what taught it or one of them."""
    earlier = [dict(stage) for stage in metadata["earlier"]]
    return [*earlier, *(taught for stage in (*earlier, metadata) for taught in stage.get("taught_by", ()))]


def _list_ancestors(earlier: Sequence[Mapping[str, Any]]) -> tuple[Terms, ...]:
    """Return the published weights among ``earlier`` stages by their licence, and the stages whose data nobody recorded."""
    ancestors: dict[Terms, None] = {}
    for stage in earlier:
        if "licence" in stage:
            names = [_PUBLISHED.get(source, source) for source in stage.get("data", {}) if source not in LICENCES]
            ancestors[
                Terms(", ".join(names) or "published weights", stage["licence"], is_free_licence(stage["licence"]))
            ] = None
        elif "data" not in stage:
            ancestors[Terms(f"an earlier stage, {stage['stage']}", _UNRECORDED, False)] = None
    return tuple(ancestors)


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
    terms = {term for entry in data for term in entry.licence.split(", ")}
    return f"The weights are under {' and '.join(sorted(terms))}."


def complete_earlier(metadata: dict[str, Any], runs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return ``metadata`` with the data and the terms of its earlier stages, where those of ``runs`` tell what it lacks.

    A run is the one that a stage stems from if stage and steps are the same.

    Args:
        metadata: A checkpoint's.
        runs: The metadata of the runs that it may stem from.
    """
    told = {(run["stage"], run["steps"]): describe_stage(dict(run)) for run in runs}
    earlier = [told.get((stage["stage"], stage["steps"]), {}) | stage for stage in metadata["earlier"]]
    return {**metadata, "earlier": earlier}
