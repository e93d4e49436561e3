"""Methods of a bundle that a server leaves out, as they are not free for the use that it is for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from dorian_bundle.families import Method as MethodEntry
from dorian_server.domain.errors import Reason, RequestError
from dorian_server.domain.requests import Age


@dataclass(frozen=True)
class WithheldMethod:
    """A method that is not served.

    Args:
        manifest: Its entry in the bundle's manifest.
        obstacles: What forbids its use, a part each: "age_translator: UTKFace (non-commercial research)".
    """

    manifest: MethodEntry
    obstacles: tuple[str, ...]

    def error(self, field: str) -> RequestError:
        """Return the error for a call of it, which ``field`` of the request names."""
        name = self.manifest.name
        message = (
            f"{name} is not served here, as it is not free for commercial use, because of {'; '.join(self.obstacles)}"
        )
        return RequestError(Reason.METHOD_WITHHELD, field, message)


def check_name(name: str, withheld: Sequence[WithheldMethod]) -> None:
    """Raise ``RequestError`` if ``name`` is that of one of the methods ``withheld``."""
    for method in withheld:
        if name == method.manifest.name:
            raise method.error("method")


def check_targets(targets: Iterable[tuple[str, Age]], withheld: Sequence[WithheldMethod]) -> None:
    """Raise ``RequestError`` for the first of ``targets``, each after its field, that is a filter of one of the methods ``withheld``."""
    owners = {filter.name: method for method in withheld for filter in method.manifest.named_filters()}
    for field, age in targets:
        if age.filter in owners:
            raise owners[age.filter].error(field)
