"""Measures what a bundle does, by networks that took no part in its training."""

from dorian_bundle.onnx_telemetry import disable_onnx_telemetry

disable_onnx_telemetry("dorian_evaluation")
