"""``GET /`` and ``GET /docs``: pages for people, which load nothing from outside."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from fastapi import APIRouter, FastAPI
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

router = APIRouter(include_in_schema=False)

_WEB = Path(__file__).resolve().parent.parent / "web"
# 'self' covers the WebSocket to the same host as well.
_OWN = "default-src 'none'; script-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'"
_MEDIA = "img-src 'self' blob: data:; media-src 'self' blob:"
_PAGE_HEADERS = {
    "Content-Security-Policy": f"{_OWN}; style-src 'self'; {_MEDIA}; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=()",
    "Cache-Control": "no-cache",
}
# Swagger UI sets style attributes.
_DOCS_HEADERS = _PAGE_HEADERS | {
    "Content-Security-Policy": f"{_OWN}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; frame-ancestors 'none'"
}


@router.get("/")
async def page() -> Response:
    """The page to try pictures, videos and a camera on."""
    return FileResponse(_WEB / "index.html", headers=_PAGE_HEADERS)


@router.get("/docs")
async def docs() -> Response:
    """The API's documentation, by Swagger UI."""
    return FileResponse(_WEB / "docs.html", headers=_DOCS_HEADERS)


@router.get("/favicon.ico")
async def favicon() -> Response:
    """The icon, where browsers look for it unasked."""
    return FileResponse(_WEB / "icon.svg", media_type="image/svg+xml")


def mount_static(app: FastAPI) -> None:
    """Serve the files that the pages refer to."""
    swagger = Path(str(files("fastapi_offline"))) / "static"
    app.mount("/static/swagger", StaticFiles(directory=swagger), name="swagger")
    app.mount("/static", StaticFiles(directory=_WEB), name="static")
