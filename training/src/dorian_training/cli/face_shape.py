"""``dorian-train face-shape``: where the points of faces lie at each age, from real faces, in closed form."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from dorian_training.cli.age_tables import AgeTableConfig
from dorian_training.cli.config import config_command, data_field
from dorian_training.data.mesh import load_mesh
from dorian_training.methods.face_shape import fit_face_shape, frontal_meshes


@dataclass(frozen=True, kw_only=True)
class FaceShapeConfig(AgeTableConfig):
    """Options of ``face-shape``."""

    sources: tuple[str, ...] = data_field("Archives of faces of known age, with a mesh.npz beside their faces.csv.")


@config_command("face-shape", FaceShapeConfig)
def face_shape(config: FaceShapeConfig) -> None:
    """Fit where the points of faces lie at each age, by which a photo's face changes its shape.

    \b
    dorian-train face-shape --data faces/ --only fairface --only portraits --out runs/face_shape
    """
    config.check()
    records = config.records()
    meshes, is_frontal = frontal_meshes(load_mesh(records))
    seen = [record for record, frontal in zip(records, is_frontal, strict=True) if frontal]
    config.save("face_shape", asdict(fit_face_shape(meshes, seen)), seen, {})
