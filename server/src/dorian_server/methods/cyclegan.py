"""CycleGAN: each filter is a network that takes a crop from one domain of faces to another."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from dorian_bundle.ages import AgeGroup
from dorian_bundle.calibration import Calibration
from dorian_bundle.families.cyclegan import CycleGanMethod
from dorian_bundle.graphs import Array
from dorian_bundle.tensors import crops_to_images
from dorian_server.domain.clock import Clock
from dorian_server.domain.requests import Age
from dorian_server.methods.method import Crop, Drawing
from dorian_server.runtimes.session import Session


class CycleGan:
    """The networks of one cyclegan method. A drawing is the crop and the crop translated; the source age plays no part."""

    learned_under_mask = False
    read_back: Calibration | None = None
    groups: Sequence[AgeGroup] = ()

    def __init__(self, manifest: CycleGanMethod, open_session: Callable[[str], Session]) -> None:
        self.manifest = manifest
        self.filters = manifest.filters
        self._sessions = {each.name: open_session(each.graph) for each in manifest.filters}

    def draw(
        self, crops: Sequence[Crop], sources: Sequence[Age], targets: Sequence[Sequence[Age]], clock: Clock
    ) -> list[list[Drawing]]:
        with clock.stage("generate"):
            pictures = crops_to_images(crops)
            translated: dict[tuple[int, str | None], Array] = {}
            for name, session in self._sessions.items():
                faces = [face for face, ages in enumerate(targets) if any(age.filter == name for age in ages)]
                if faces:
                    drawn = session.run({"image": pictures[faces]})["translated"].transpose(0, 2, 3, 1)
                    translated |= {(face, name): picture for face, picture in zip(faces, drawn, strict=True)}
            befores = pictures.transpose(0, 2, 3, 1)
            return [
                [Drawing(before, translated[face, age.filter]) for age in ages]
                for face, (before, ages) in enumerate(zip(befores, targets, strict=True))
            ]
