"""Signatures that follow from a family's sizes."""

from __future__ import annotations

from dorian_bundle.families import age_cgan_signatures


def test_age_cgan() -> None:
    signatures = age_cgan_signatures(crop_size=48, latent_size=7, groups=3)
    assert {role: str(signature) for role, signature in signatures.items()} == {
        "encoder": "(image float32[batch, 3, 48, 48]) -> (latent float32[batch, 7])",
        "generator": "(latent float32[batch, 7], condition float32[batch, 3]) -> (image float32[batch, 3, 48, 48])",
    }
