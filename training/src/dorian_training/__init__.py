"""Trains Dorian's networks; its checkpoints are what ``dorian_export`` turns into bundles."""
