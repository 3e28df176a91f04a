"""The interactive documentation at `/docs`: Swagger UI, whose files the service has itself."""

from __future__ import annotations

import base64
import hashlib
import html

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse
from starlette.staticfiles import StaticFiles

_FILES = "/docs/files"
# The presets are those of FastAPI's own page; `deepLinking` adds an address for each operation.
_SCRIPT = """
const place = document.getElementById("swagger-ui");
SwaggerUIBundle({
  url: place.dataset.document,
  domNode: place,
  deepLinking: true,
  presets: [SwaggerUIBundle.presets.apis, SwaggerUIBundle.SwaggerUIStandalonePreset],
});
"""
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<link rel="icon" href="{files}/favicon-32x32.png">
<link rel="stylesheet" href="{files}/swagger-ui.css">
</head>
<body>
<div id="swagger-ui" data-document="{document}"></div>
<script src="{files}/swagger-ui-bundle.js"></script>
<script>{script}</script>
</body>
</html>
"""
_HASH = base64.b64encode(hashlib.sha256(_SCRIPT.encode()).digest()).decode()
# Swagger UI sets styles of elements and has pictures in its style sheet.
_POLICY = (
    f"default-src 'none'; connect-src 'self'; script-src 'self' 'sha256-{_HASH}'; style-src 'self' 'unsafe-inline'; "
    "img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'"
)


def install_documentation(app: FastAPI) -> None:
    """Serve `/docs`; the browser connects to no other host."""

    async def docs(request: Request) -> HTMLResponse:
        below = request.scope.get("root_path", "")
        page = _PAGE.format(
            title=html.escape(app.title),
            files=html.escape(below + _FILES),
            document=html.escape(f"{below}{app.openapi_url}"),
            script=_SCRIPT,
        )
        return HTMLResponse(page, headers={"Content-Security-Policy": _POLICY})

    app.add_api_route("/docs", docs, include_in_schema=False)
    app.mount(_FILES, StaticFiles(packages=[("fastapi_swagger", "resources")]))
