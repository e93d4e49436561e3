"""The operators' RPCs, which are offered only where there are API keys."""

from __future__ import annotations

from collections.abc import Callable

import grpc

from dorian.v1 import admin_pb2 as pb
from dorian.v1 import admin_pb2_grpc
from dorian_server.domain.errors import Reason
from dorian_server.rpc.statuses import ends_with_status
from dorian_server.serving.bundles import LoadedBundle


class AdminService(admin_pb2_grpc.AdminServicer):
    """The service of ``admin.proto``.

    Args:
        reload: Loads a bundle by its name again, or all for an empty name.
    """

    def __init__(self, reload: Callable[[str], list[LoadedBundle]]) -> None:
        self._reload = reload

    def on_reject(self, reason: Reason) -> None:
        """Do nothing: only callers' requests are counted."""

    @ends_with_status
    def ReloadBundles(
        self, request: pb.ReloadBundlesRequest, context: grpc.ServicerContext
    ) -> pb.ReloadBundlesResponse:
        """Reload one bundle or all, and return which have changed."""
        return pb.ReloadBundlesResponse(bundles=[_write(bundle) for bundle in self._reload(request.bundle)])


def _write(loaded: LoadedBundle) -> pb.ServedBundle:
    bundle = loaded.pipeline.bundle
    return pb.ServedBundle(
        name=loaded.name, version=bundle.manifest.version, sha256=bundle.sha256, changed=loaded.has_changed
    )
