"""The operators' RPCs: offered only where API keys say who is one."""

from __future__ import annotations

from collections.abc import Callable

import grpc

from dorian.v1 import admin_pb2 as pb
from dorian.v1 import admin_pb2_grpc
from dorian_server.rpc.statuses import answer
from dorian_server.serving.bundles import ServedBundle

ADMIN_SERVICE = "dorian.v1.Admin"


class AdminService(admin_pb2_grpc.AdminServicer):
    """The service of ``admin.proto``; ``reload`` reads a bundle by its name anew, or all for an empty name."""

    def __init__(self, reload: Callable[[str], list[ServedBundle]]) -> None:
        self._reload = reload

    def ReloadBundles(
        self, request: pb.ReloadBundlesRequest, context: grpc.ServicerContext
    ) -> pb.ReloadBundlesResponse:
        return answer(context, lambda: pb.ReloadBundlesResponse(bundles=map(_write, self._reload(request.bundle))))


def _write(served: ServedBundle) -> pb.ServedBundle:
    bundle = served.pipeline.bundle
    return pb.ServedBundle(
        name=served.name, version=bundle.manifest.version, sha256=bundle.sha256, changed=served.changed
    )
