"""Errors as `application/problem+json` (RFC 9457)."""

import json

from flask import Flask, Response, request
from werkzeug.exceptions import HTTPException, InternalServerError

from app import logs

log = logs.get(__name__)


def problem(status: int, title: str, detail: str) -> Response:
    """A problem document as a response."""
    body = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return Response(json.dumps(body), status, mimetype="application/problem+json")


def init_app(app: Flask) -> None:
    """Answer every HTTP error and every unexpected exception as a problem."""
    app.register_error_handler(HTTPException, _http_error)
    app.register_error_handler(Exception, _crash)


def _http_error(error: HTTPException) -> Response:
    response = problem(error.code or 500, error.name, error.description or error.name)
    for name, value in error.get_headers():
        if name.lower() not in ("content-type", "content-length"):
            response.headers[name] = value
    return response


def _crash(error: Exception) -> Response:
    log.error("request failed", path=request.path, exc_info=error)
    return _http_error(InternalServerError())
