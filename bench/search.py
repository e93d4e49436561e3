"""Latent search: the exported gradient under ONNX Runtime against autograd in torch, same optimiser, start and steps.

Prints seconds per search and what it ends with. Torch gets the checkpoints that the embedded bundle was made of.
"""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import torch

from dorian_server.domain.requests import Age, SearchSettings
from dorian_server.images import decode
from dorian_server.methods.method import EncodingMethod, Subject
from dorian_server.pipeline.latent_search import WEIGHTS, Search
from dorian_server.pipeline.pipeline import Pipeline
from dorian_server.serving.bundles import build_pipeline
from dorian_server.settings import Limits, Settings
from dorian_training.checkpoint import load_network, load_weights
from dorian_training.losses.latent import LatentObjective
from dorian_training.methods import latent_optimisation
from dorian_training.networks.age_cgan import AgeCganShape, build_generator
from dorian_training.networks.facenet import load_facenet

ROOT = Path(__file__).resolve().parents[1]
PHOTO = (ROOT / "examples" / "astronaut.jpg").read_bytes()
CHECKPOINTS = ROOT / "models" / "checkpoints"
STEPS = 30
ROUNDS = 5


def subject(pipeline: Pipeline, method: EncodingMethod) -> Subject:
    """The photo's largest face."""
    pixels = decode(PHOTO, Limits()).pixels
    (face, *_) = pipeline.face_reader.detector.detect(pixels)
    (crop,) = pipeline.face_reader.crop(pixels, [face], method.manifest.crop_size)
    (reading,) = pipeline.face_reader.read(pixels, [face])
    return Subject(crop, reading.embedding, Age(group="30-39"))


def objective() -> LatentObjective:
    """What the graph was exported from."""
    weights, about = load_weights(CHECKPOINTS / "age_cgan")
    generator = build_generator(AgeCganShape.from_dict(about["shape"]))
    load_network(generator, weights, "generator_ema")
    return LatentObjective(generator, load_facenet(CHECKPOINTS / "facenet")).eval().requires_grad_(False)


def main() -> None:
    pipeline = build_pipeline(Settings(ROOT / "models" / "default"))
    method = pipeline.encoding_method("", searchable=True)
    face, searched = subject(pipeline, method), objective()
    start = method.encode([face.crop])[0]
    pixelwise, identity, prior = WEIGHTS["identity"]
    settings = latent_optimisation.SearchSettings(pixelwise, identity, prior, STEPS)
    image = torch.from_numpy(face.crop).permute(2, 0, 1)[None] / 127.5 - 1
    condition = torch.from_numpy(face.age.condition(method.groups))[None]

    def exported() -> float:
        weights = WEIGHTS["identity"]
        search = Search(lambda z: method.loss_and_gradient(z, face, weights), start, SearchSettings(steps=STEPS))
        return search.run().loss

    def eager() -> float:
        row = torch.from_numpy(start)[None]
        embedding = torch.from_numpy(face.embedding)[None]
        result = latent_optimisation.search_latents(searched, row, condition, image, embedding, settings)
        return float(result.after[0] @ settings.weights)

    durations: dict[str, list[float]] = {"exported": [], "torch": []}
    losses: dict[str, float] = {}
    for _ in range(ROUNDS):  # interleaved, so that a slow minute of the machine meets both alike
        for name, run in (("exported", exported), ("torch", eager)):
            begin = time.perf_counter()
            losses[name] = run()
            durations[name].append(time.perf_counter() - begin)
    medians = {name: statistics.median(seconds) for name, seconds in durations.items()}
    print(f"one search of {STEPS} steps, {torch.get_num_threads()} threads")
    for name, seconds in medians.items():
        print(f"{name:>10}: {seconds:6.2f} s, final loss {losses[name]:.5f}")
    print(f"torch takes {medians['torch'] / medians['exported']:.2f} times as long;", end=" ")
    print(f"the losses differ by {abs(losses['exported'] / losses['torch'] - 1):.2%}")


if __name__ == "__main__":
    main()
