"""Errors as `application/problem+json` (RFC 9457), the same in every Flask application."""

import json

from flask import Flask, Response
from werkzeug.exceptions import HTTPException


def problem(
    status: int, title: str, detail: str, headers: dict[str, str] | None = None
) -> Response:
    """Build a problem document as a response."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return Response(json.dumps(body), status, headers, mimetype="application/problem+json")


def init_app(app: Flask) -> None:
    """Return HTTP errors as problem documents; uncaught exceptions are logged and become 500."""
    app.register_error_handler(HTTPException, _handle_http_error)


def _handle_http_error(error: HTTPException) -> Response:
    kept = {
        name: value
        for name, value in error.get_headers()
        if name.lower() not in ("content-type", "content-length")
    }
    return problem(error.code or 500, error.name, error.description or error.name, kept)
