"""The method families, a module each: signatures of its graphs, its entry in the manifest, and the entry's checks.

This is the one list of families. An exporter names inputs and outputs by a family's signatures, the manifest is checked
against them, and the server feeds graphs by them. Images are RGB in [0, 1]; pixel normalisation is inside the graphs.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from dorian_bundle.families import ae_stylegan, age_cgan, age_translator, cyclegan

Method = Annotated[
    age_cgan.AgeCganMethod
    | age_translator.AgeTranslatorMethod
    | cyclegan.CycleGanMethod
    | ae_stylegan.AeStyleGanMethod,
    Field(discriminator="family"),
]
