"""Trains Dorian's networks; its checkpoints are what ``dorian_export`` turns into bundles."""

from dorian_bundle.onnx_telemetry import disable_onnx_telemetry

disable_onnx_telemetry("dorian_training")
