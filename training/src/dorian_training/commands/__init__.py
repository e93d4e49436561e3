"""The commands ``dorian-train`` and ``dorian-evaluate``."""
