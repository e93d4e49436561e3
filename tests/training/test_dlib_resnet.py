"""dlib's face recognition network: read from dlib's own file, folded, whitened, and made a checkpoint by the commands."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from torch import Tensor, nn
from torch.nn import functional as F

from dorian_training.checkpoint import load_weights, save_weights
from dorian_training.cli.train import main
from dorian_training.dlib_files import read_dlib_resnet
from dorian_training.errors import CheckpointError
from dorian_training.methods.whitening import fit_whitening
from dorian_training.networks.dlib_resnet import DlibResNet, DlibResNetShape, ResidualBlock
from dorian_training.networks.facenet import load_facenet
from dorian_training.networks.inception_resnet import InceptionResNetShape, InceptionResNetV1

PUBLISHED = next(
    (Path(__file__).parents[3] / "shared" / "teachers").glob("dlib_face_recognition_resnet_v1.fp16.safetensors"), None
)


def integer(value: int) -> bytes:
    """An integer as dlib writes it."""
    data = abs(value).to_bytes((abs(value).bit_length() + 7) // 8 or 1, "little")
    return bytes([len(data) | (0x80 if value < 0 else 0)]) + data


def layer(name: str, values: np.ndarray, *sizes: int) -> bytes:
    """A layer's name, the sizes that stand before its tensor, and the tensor."""
    tensor = integer(2) + b"".join(integer(size) for size in (values.size, 1, 1, 1))
    head = integer(len(name)) + name.encode() + b"".join(map(integer, sizes))
    return head + tensor + struct.pack(f"<{values.size}f", *values.ravel())


@pytest.fixture(scope="module")
def unfolded() -> list[tuple[str, Tensor, Tensor, Tensor, Tensor]]:
    """Name, weight, bias, gamma and beta of each convolution and the affine layer behind it."""
    generator = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=generator)

    def layers() -> Iterator[tuple[str, Tensor, Tensor, Tensor, Tensor]]:
        for name, module in DlibResNet(DlibResNetShape()).named_modules():
            if isinstance(module, nn.Conv2d):
                width, fan_in = len(module.weight), module.weight[0].numel()
                weight = draw(*module.weight.shape) * (2 / fan_in) ** 0.5
                yield name, weight, draw(width) * 0.1, 1 + draw(width) * 0.2, draw(width) * 0.1

    return list(layers())


@pytest.fixture(scope="module")
def head() -> Tensor:
    return torch.randn(128, 256, generator=torch.Generator().manual_seed(1)) / 16


@pytest.fixture(scope="module")
def dat(
    tmp_path_factory: pytest.TempPathFactory, unfolded: list[tuple[str, Tensor, Tensor, Tensor, Tensor]], head: Tensor
) -> Path:
    """A file as dlib writes it, without what has no weights."""
    path: Path = tmp_path_factory.mktemp("dlib") / "network.dat"
    data = integer(1) + integer(13) + b"loss_metric_2" + integer(15) + b"input_rgb_image"
    for _, weight, bias, gamma, beta in unfolded:
        data += layer("con_4", torch.cat([weight.ravel(), bias]).numpy())
        data += layer("affine_", torch.cat([gamma, beta]).numpy()) + integer(8) + b"relu_110"
    path.write_bytes(data + layer("fc_2", head.T.contiguous().numpy(), 128, 256))
    return path


def test_a_dat_file_becomes_a_network_with_its_affine_layers_folded(
    dat: Path, unfolded: list[tuple[str, Tensor, Tensor, Tensor, Tensor]], head: Tensor
) -> None:
    network = read_dlib_resnet(dat)
    image = torch.rand(2, 3, 9, 9, generator=torch.Generator().manual_seed(2))
    for name, weight, bias, gamma, beta in unfolded:
        module = network.get_submodule(name)
        features = image.repeat(1, -(-weight.shape[1] // 3), 1, 1)[:, : weight.shape[1]]
        expected = F.conv2d(features, weight, bias) * gamma[:, None, None] + beta[:, None, None]
        torch.testing.assert_close(F.conv2d(features, module.weight, module.bias), expected, atol=1e-4, rtol=1e-4)
    assert torch.equal(network.head.weight, head)
    assert not network.training


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[: len(data) // 2], "is damaged|other kinds"),
        (lambda data: b"nothing of dlib", "its layers are of other kinds"),
        (lambda data: data.replace(b"fc_2", b"fd_2"), "its layers are of other kinds"),
        (lambda data: data[: data.index(b"con_4") + 5], "ends too early"),
    ],
)
def test_other_files_are_refused(dat: Path, tmp_path: Path, damage: Callable[[bytes], bytes], message: str) -> None:
    path = tmp_path / "other.dat"
    path.write_bytes(damage(dat.read_bytes()))
    with pytest.raises(CheckpointError, match=message):
        read_dlib_resnet(path)
    with pytest.raises(CheckpointError, match="cannot be read"):
        read_dlib_resnet(tmp_path / "absent.dat")


@pytest.mark.parametrize(("halves", "side", "out"), [(False, 5, 5), (True, 17, 8), (True, 8, 4), (True, 4, 2)])
def test_a_block_pads_what_is_smaller_with_zeros(halves: bool, side: int, out: int) -> None:
    """As dlib adds tensors of different shapes: with a convolution of zeros, what is left is the shortcut."""
    block = ResidualBlock(2, 4, halves)
    for parameter in block.parameters():
        nn.init.zeros_(parameter)
    image = torch.rand(1, 2, side, side)
    shortcut = F.avg_pool2d(image, 2) if halves else image
    result = block(image)
    assert result.shape == (1, 4, out, out)
    assert torch.equal(result[:, :2, : shortcut.shape[2], : shortcut.shape[3]], shortcut)
    assert not result[:, 2:].any()


@pytest.mark.skipif(PUBLISHED is None, reason="needs ../shared/teachers")
def test_the_published_weights_fit_by_their_names() -> None:
    weights, _ = load_weights(PUBLISHED)
    names = {name.replace(".c1.", ".conv1.").replace(".c2.", ".conv2.").replace("fc.", "head.") for name in weights}
    expected = {name for name in DlibResNet(DlibResNetShape()).state_dict() if not name.startswith("whitening")}
    assert names == expected


def test_a_whitening_without_shrinkage_leaves_unit_covariance() -> None:
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(500, 6)) @ rng.normal(size=(6, 6)) + 3
    whitening = fit_whitening(embeddings, 0.0)
    whitened = (embeddings - whitening.mean) @ whitening.matrix
    assert np.cov(whitened.T) == pytest.approx(np.eye(6), abs=1e-9)
    assert np.linalg.norm(whitening(embeddings), axis=1) == pytest.approx(np.ones(500))


def test_shrinkage_raises_small_variances_less() -> None:
    """Standard deviations of λᵢ become sqrt(λᵢ / (λᵢ + s · mean λ))."""
    rng = np.random.default_rng(0)
    embeddings = rng.normal(size=(4000, 3)) * (4.0, 1.0, 0.1)
    variances = np.linalg.eigvalsh(np.cov(embeddings.T))
    whitening = fit_whitening(embeddings, 0.5)
    whitened = (embeddings - whitening.mean) @ whitening.matrix
    expected = variances / (variances + 0.5 * variances.mean())
    assert np.cov(whitened.T) == pytest.approx(np.diag(expected), abs=1e-9)


@pytest.fixture(scope="module")
def published(dat: Path) -> Path:
    """The checkpoint that ``facenet-published`` makes of the file."""
    out = dat.parent / "published"
    arguments = ["--weights", dat, "--trained-on", "dlib", "--licence", "CC0-1.0", "--out", out]
    result = CliRunner().invoke(main, ["facenet-published", *map(str, arguments)])
    assert result.exit_code == 0, result.output
    assert "dlib's ResNet, learned from dlib; network.dat, sha256" in result.output
    return out


def test_the_commands_make_a_whitened_facenet(
    published: Path, write_archives: Callable[..., Path], tmp_path: Path, refused: Callable[..., bool]
) -> None:
    rows = [{"gender": gender, "ethnicity": "White", "archive": "fairface.zip"} for gender in ("Male", "Female") * 4]
    rows += [{"gender": "Male", "ethnicity": "Asian", "archive": "utkface.zip"}, {"split": "val"}]
    faces = write_archives(tmp_path / "faces", rows)

    def whiten(*options: object) -> object:
        shared = ["--facenet", published, "--data", faces, "--cache", tmp_path / "cache", "--out", tmp_path / "out"]
        return CliRunner().invoke(main, ["facenet-whitening", *map(str, [*shared, *options])])

    assert refused(whiten("--faces", 3), "fewer than 3 faces of Asian Male (1); lower --faces")
    assert refused(whiten("--only", "celeba"), "no face to fit on")
    result = whiten("--faces", 3, "--only", "fairface")
    assert result.exit_code == 0, result.output
    assert "whitened on 6 faces" in result.output
    assert refused(whiten("--faces", 3, "--only", "fairface"), "holds a checkpoint, which would be lost")

    weights, metadata = load_weights(tmp_path / "out")
    assert DlibResNetShape.from_dict(metadata["shape"]) == DlibResNetShape()
    assert metadata["shape"]["layout"] == "dlib_resnet_v1"
    assert metadata["licence"] == "CC0-1.0"
    assert metadata["data"] == {"dlib": 3_000_000, "fairface": 6}
    whitening = {"faces": {"fairface": 6}, "shrinkage": 1.0, "seed": 0}
    assert metadata["settings"]["whitening"] == whitening
    before, after = load_facenet(published), load_facenet(tmp_path / "out")
    image = torch.rand(2, 3, 150, 150) * 2 - 1
    with torch.no_grad():
        assert torch.equal(before.descriptor(image), after.descriptor(image))
        descriptor = before.descriptor(image)
        expected = F.normalize((descriptor - after.whitening_mean) @ after.whitening, dim=1)
        torch.testing.assert_close(after(image), expected)
        assert (before(image) * after(image)).sum(dim=1).abs().max() < 0.99
    assert weights.keys() == {"facenet_ema"}


def test_a_whitening_is_for_dlibs_network(
    write_archives: Callable[..., Path], tmp_path: Path, refused: Callable[..., bool]
) -> None:
    shape = InceptionResNetShape(repeats=(1, 1, 1), embedding=8)
    other = tmp_path / "inception.safetensors"
    save_weights(other, {"facenet_ema": InceptionResNetV1(shape).state_dict()}, {"shape": shape.as_dict()})
    faces = write_archives(tmp_path / "faces", [{}, {}])
    arguments = ["--facenet", other, "--data", faces, "--faces", 2, "--out", tmp_path / "out"]
    result = CliRunner().invoke(main, ["facenet-whitening", *map(str, arguments)])
    assert refused(result, "holds a FaceNet of another layout than dlib's")
