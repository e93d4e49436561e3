"""The exporters of methods, a module for each family. The order is that of a bundle's methods; the first is the default."""

from __future__ import annotations

from dorian_export.exporters import ae_stylegan, age_cgan, age_translator, cyclegan
from dorian_export.method_exporter import MethodExporter

EXPORTERS: dict[str, MethodExporter] = {
    "age_translator": age_translator.EXPORTER,
    "age_cgan": age_cgan.EXPORTER,
    "cyclegan": cyclegan.EXPORTER,
    "ae_stylegan": ae_stylegan.EXPORTER,
    "age_translator_research": age_translator.RESEARCH_EXPORTER,
}
