"""Requests that NGINX refuses itself, and what it must return."""

import socket
from http.client import HTTPResponse

import requests

#: Path -> status of requests that `requests` would change before they are sent.
RAW_PATHS = {
    b"/recommend": 404,
    b"/recommend/": 404,
    b"/recommend/42%": 400,
    b"/recommend/%00": 400,
    b"/../../etc/passwd": 400,
    b"/version": 404,
    b"/recommend/" + 9000 * b"1": 414,
}
#: Whole requests -> status.
RAW_REQUESTS = {
    b"get /recommend/1 HTTP/1.1\r\nHost: x\r\n\r\n": 400,
    b"GET /recommend/1 HTTP/1.1\r\n\r\n": 400,
    b"GET /recommend/1 HTTP/3.0\r\nHost: x\r\n\r\n": 505,
    b"TRACE /recommend/1 HTTP/1.1\r\nHost: x\r\n\r\n": 405,
    b"POST /health HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n": 405,
    b"GET /recommend/1 HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: no\r\n\r\n": 501,
    b"GET /recommend/1 HTTP/1.1\r\nHost: x\r\nX-A: " + 9000 * b"a" + b"\r\n\r\n": 400,
    b"GET /recommend/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 3000\r\n\r\n": 413,
}


def find_wrong_errors(port: int) -> dict[str, str]:
    """Return the errors of the edge at a loopback port that are no problem document.

    Returns:
        What the edge returned, by the beginning of the request.
    """
    wrong = {}
    for path, status in RAW_PATHS.items():
        request = b"GET " + path + b" HTTP/1.1\r\nHost: other.example\r\n\r\n"
        if reply := explain_error(_send(port, request), status):
            wrong[request[:60].decode()] = reply
    for request, status in RAW_REQUESTS.items():
        if reply := explain_error(_send(port, request), status):
            wrong[request[:60].decode()] = reply
    return wrong


def _send(port: int, request: bytes) -> requests.Response:
    """Send a request as it is, and parse the response."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(request)
        parsed = HTTPResponse(connection)
        parsed.begin()
        response = requests.Response()
        response.status_code = parsed.status
        response.headers.update(parsed.getheaders())
        response._content = parsed.read()
    return response


def explain_error(response: requests.Response, status: int) -> str:
    """Return what is wrong with a response; an empty text if it is a problem document."""
    summary = f"{response.status_code} {dict(response.headers)} {response.text[:200]}"
    if response.headers.get("Content-Type") != "application/problem+json":
        return summary
    problem = response.json()
    is_complete = {"type", "title", "status", "detail"} <= problem.keys()
    return "" if response.status_code == problem["status"] == status and is_complete else summary
