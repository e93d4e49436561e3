"""Turns checkpoints into ONNX graphs that agree with torch, and those into bundles."""
