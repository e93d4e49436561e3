"""What a server has: bundles, and their methods. Frozen, in plain Python types."""

from __future__ import annotations

from dataclasses import dataclass

from dorian_client._faces import Filter


@dataclass(frozen=True)
class AgeGroup:
    """An age group of a method.

    Attributes:
        label: What requests call it, such as "60+".
        low: First age, in whole years.
        high: Last age, in whole years; None if the group has no upper end.
        centre: The age in years that stands for the group.
    """

    label: str
    low: int
    high: int | None
    centre: float


@dataclass(frozen=True)
class StylePreset:
    """A named choice of levels for `Client.mix`.

    Attributes:
        name: What requests call it.
        groups: Levels from 1: one group for the mean of any number of references, or one for each reference.
    """

    name: str
    groups: tuple[tuple[int, ...], ...]


@dataclass(frozen=True)
class Method:
    """A method of a bundle.

    Attributes:
        name: What requests call it.
        family: Its kind of network.
        description: One sentence for people.
        age_groups: Youngest first; empty if it has filters only.
        crop_size: Side of the square crop that its networks see, in pixels.
        is_default: Whether it answers requests that name no method, if it can.
        filters: Named changes that it offers.
        reconstructs: Whether it has latents, for `Client.reconstruct`.
        optimises: Whether its latents can be searched: by `Client.optimize`, by modes of `Client.reconstruct` and by the
            option `optimisation` of `Client.age`.
        commercial_use: Whether commercial use of its weights, and of those that every photo passes, is free by their sources'
            terms; None if the server does not say.
        licence_obstacles: What forbids commercial use: a network each, with its reasons.
        style_levels: How many levels of styles it has for `Client.mix`, from 1; 0 if it mixes none.
        style_presets: The presets of `Client.mix`.
        changes_hair: Whether hair and beards change with age, unless `keep_hair` is set.
    """

    name: str
    family: str
    description: str
    age_groups: tuple[AgeGroup, ...]
    crop_size: int
    is_default: bool
    filters: tuple[Filter, ...] = ()
    reconstructs: bool = False
    optimises: bool = False
    commercial_use: bool | None = None
    licence_obstacles: tuple[str, ...] = ()
    style_levels: int = 0
    style_presets: tuple[StylePreset, ...] = ()
    changes_hair: bool = False


@dataclass(frozen=True)
class BundleInfo:
    """A bundle that a server has loaded.

    Attributes:
        name: The bundle's name.
        version: The bundle's version.
        sha256: Of the bundle's manifest, in hexadecimal.
        weights_licence: An SPDX expression, or a sentence.
        server_version: Version of the server.
        methods: The bundle's methods, the default first.
        false_accept_rates: The rates that `Client.compare` accepts.
        bundles: Names of all bundles that the server has, for the argument `bundle` of `Client`; the first is the default.
        workers: How many calls the server's process that answers works on at once; 0 if it does not say.
    """

    name: str
    version: str
    sha256: str
    weights_licence: str
    server_version: str
    methods: tuple[Method, ...]
    false_accept_rates: tuple[float, ...]
    bundles: tuple[str, ...] = ()
    workers: int = 0


@dataclass(frozen=True)
class ServedBundle:
    """A bundle that a server has reloaded.

    Attributes:
        name: What the argument `bundle` of `Client` calls it.
        version: The bundle's version.
        sha256: Of the bundle's manifest, in hexadecimal.
        changed: Whether it differs from what was served before.
    """

    name: str
    version: str
    sha256: str
    changed: bool
