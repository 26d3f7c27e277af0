"""`/openapi.json`: the OpenAPI description, against which tests check the running service."""

from importlib.metadata import version
from typing import Any, get_args

from flask import Blueprint, Response, jsonify

from app.model.recommendation_lists import Source
from app.service.recommend import MAX_USER_ID_DIGITS

_PROBLEM = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}

#: Errors of NGINX (nginx/nginx.conf), which any request can get.
_EDGE_ERRORS = {
    "400": "Not a valid HTTP request.",
    "413": "The request has more than 1 KiB of content.",
    "414": "The URI is longer than 8 KiB.",
    "429": "Too many requests or connections of one client.",
    "503": "No slot is available.",
    "504": "No slot answered in time.",
}


def description(list_length: int) -> dict[str, Any]:
    """Build the OpenAPI 3.1 description of every route, of the service and through NGINX."""
    internal = {
        "/ready": _json("The model is loaded.", ["status", "version"]),
        "/version": _json("The served model.", ["version", "model_hash", "data"]),
        "/metrics": _text("Prometheus metrics."),
    }
    for operation in internal.values():
        operation["responses"]["404"] = _problem("Through NGINX: only inside the stack.")
    public = {
        "/recommend/{user_id}": _recommend(list_length),
        "/health": _json("The process is alive.", ["status"]),
        "/openapi.json": _json("This description.", ["openapi", "paths"]),
    }
    operations = {**public, **internal}
    for operation in operations.values():
        for status, text in _EDGE_ERRORS.items():
            operation["responses"].setdefault(status, _problem(text))
    return {
        "openapi": "3.1.0",
        "info": {"title": "Marquee", "version": version("marquee")},
        "paths": {path: {"get": operation} for path, operation in operations.items()},
    }


def blueprint(list_length: int) -> Blueprint:
    """The route that returns the description."""
    routes = Blueprint("openapi", __name__)
    document = description(list_length)

    @routes.get("/openapi.json")
    def openapi() -> Response:
        return jsonify(document)

    return routes


def _recommend(list_length: int) -> dict[str, Any]:
    headers = {
        "X-Request-Id": r"^[A-Za-z0-9._-]{1,64}$",
        "X-Model-Version": r"^\d+$",
        "X-Recommendation-Source": f"^({'|'.join(get_args(Source))})$",
        "X-Slot": r"^[A-Za-z0-9_.-]{1,40}$",
    }
    movie = r"[^,\s]+"
    return {
        "summary": f"Up to {list_length} movie ids, best first, separated by commas.",
        "parameters": [
            {
                "name": "user_id",
                "in": "path",
                "required": True,
                "schema": {"type": "integer", "minimum": 0, "maximum": 10**MAX_USER_ID_DIGITS - 1},
            },
            {
                "name": "profiling",
                "in": "query",
                "required": False,
                "description": "false: the popular movies of all users, the same for everyone.",
                "schema": {"type": "boolean", "default": True},
            },
        ],
        "responses": {
            "200": {
                "description": "The recommendation.",
                "headers": {
                    name: {"required": True, "schema": {"type": "string", "pattern": pattern}}
                    for name, pattern in headers.items()
                },
                "content": {
                    "text/plain": {
                        "schema": {
                            "type": "string",
                            "pattern": f"^({movie}(,{movie}){{0,{list_length - 1}}})?$",
                        }
                    }
                },
            },
            "400": _problem("Invalid user id, or `profiling` is neither true nor false."),
            "404": _problem("No user id, or a user id with a slash."),
        },
    }


def _problem(text: str) -> dict[str, Any]:
    return {"description": text, "content": {"application/problem+json": {"schema": _PROBLEM}}}


def _json(summary: str, required: list[str]) -> dict[str, Any]:
    schema = {"type": "object", "required": required}
    content = {"application/json": {"schema": schema}}
    return {"summary": summary, "responses": {"200": {"description": "OK", "content": content}}}


def _text(summary: str) -> dict[str, Any]:
    content = {"text/plain": {"schema": {"type": "string"}}}
    return {"summary": summary, "responses": {"200": {"description": "OK", "content": content}}}
