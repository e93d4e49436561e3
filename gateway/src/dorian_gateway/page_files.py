"""The web page: a few files beside this module, which load nothing from elsewhere."""

from __future__ import annotations

from pathlib import Path

from starlette.responses import FileResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

FOLDER = Path(__file__).parent / "page"
_REVALIDATE = {"Cache-Control": "no-cache"}  # browsers ask whether a file has changed, by its ETag


class _Files(StaticFiles):
    def file_response(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        """Return a file that browsers keep, and ask again whether it has changed."""
        response = super().file_response(*args, **kwargs)
        response.headers.update(_REVALIDATE)
        return response


def page_routes() -> list[Route | Mount]:
    """Return the routes of the page and of its files."""

    async def index(_: object) -> FileResponse:
        return FileResponse(FOLDER / "index.html", media_type="text/html", headers=_REVALIDATE)

    return [Route("/", index, name="page"), Mount("/page", _Files(directory=FOLDER), name="page files")]
