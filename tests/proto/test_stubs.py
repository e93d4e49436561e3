"""The committed stubs are those of the contract, and old and new protobuf runtimes both take them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from dorian.v1 import admin_pb2
from dorian.v1 import face_aging_pb2 as pb

STUBS = Path(__file__).resolve().parents[2] / "proto" / "src"
BY_HAND = {"dorian/v1/py.typed"}

OLD_PROGRAM = """
import sys
import google.protobuf
from dorian.v1 import admin_pb2, admin_pb2_grpc, face_aging_pb2_grpc
from dorian.v1 import face_aging_pb2 as pb
assert google.protobuf.__version__.startswith("4."), google.protobuf.__version__
assert {"FaceAgingStub", "FaceAgingServicer", "add_FaceAgingServicer_to_server"} <= set(vars(face_aging_pb2_grpc))
assert {"AdminStub", "AdminServicer", "add_AdminServicer_to_server"} <= set(vars(admin_pb2_grpc))
request = pb.AgeTransformRequest.FromString(bytes.fromhex(sys.argv[1]))
assert request.targets[1].years == 61.5 and request.HasField("source") and request.output.quality == 80
print(request.SerializeToString(deterministic=True).hex())
reloaded = admin_pb2.ReloadBundlesResponse.FromString(bytes.fromhex(sys.argv[2]))
assert reloaded.bundles[0].name == "portraits" and reloaded.bundles[0].changed
print(reloaded.SerializeToString(deterministic=True).hex())
"""


def files_in(folder: Path) -> dict[str, bytes]:
    """What lies in a folder of stubs, by path, without what Python caches and installers leave."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.glob("dorian/**/*"))
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_stubs_are_what_make_proto_makes(protoc: Callable[..., None], tmp_path: Path) -> None:
    protoc(f"--python_out={tmp_path}", f"--pyi_out={tmp_path}", f"--grpc_python_out={tmp_path}")
    made, committed = files_in(tmp_path), files_in(STUBS)
    assert set(made) == set(committed) - BY_HAND
    assert sorted(made) == [
        f"dorian/v1/{name}_pb2{suffix}" for name in ("admin", "face_aging") for suffix in (".py", ".pyi", "_grpc.py")
    ]
    assert [name for name in made if made[name] != committed[name]] == [], "run `make proto` and commit the stubs"


def test_an_old_protobuf_takes_the_stubs_and_writes_the_same_bytes(old_python: Callable[..., str]) -> None:
    request = pb.AgeTransformRequest(
        image=pb.Image(data=b"\xff\xd8"),
        targets=[pb.Age(group="60+"), pb.Age(years=61.5)],
        source=pb.Age(group="19-29"),
        method="age_cgan",
        output=pb.OutputOptions(format=pb.IMAGE_FORMAT_WEBP, quality=80),
    )
    reloaded = admin_pb2.ReloadBundlesResponse(bundles=[admin_pb2.ServedBundle(name="portraits", changed=True)])
    written = [message.SerializeToString(deterministic=True).hex() for message in (request, reloaded)]
    assert old_python("-c", OLD_PROGRAM, *written).split() == written
