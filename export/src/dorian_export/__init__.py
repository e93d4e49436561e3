"""Turns checkpoints into ONNX graphs that agree with torch, and those into bundles."""

from dorian_bundle.onnx_telemetry import disable_onnx_telemetry

disable_onnx_telemetry("dorian_export")
