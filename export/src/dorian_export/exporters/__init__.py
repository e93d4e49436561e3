"""The exporters of the method families, a module each. The order is that of a bundle's methods; the first is the default."""

from __future__ import annotations

from dorian_export.exporters import ae_stylegan, age_cgan, age_translator, cyclegan
from dorian_export.method_exporter import MethodExporter

EXPORTERS: dict[str, MethodExporter] = {
    "age_translator": age_translator.EXPORTER,
    "age_cgan": age_cgan.EXPORTER,
    "cyclegan": cyclegan.EXPORTER,
    "ae_stylegan": ae_stylegan.EXPORTER,
}
