"""Requests to Docker's API that read secrets or change something, and those that cAdvisor sends."""

ID = "0123456789abcdef" * 4

#: What cAdvisor requests: its client (with a version in the path) and its own library.
ALLOWED = [
    ("HEAD", "/_ping"),
    ("GET", "/_ping"),
    ("GET", "/info"),
    ("GET", "/v1.44/info"),
    ("GET", "/v1.44/version"),
    ("GET", f"/v1.44/containers/{ID}/json"),
]
REFUSED = [
    *(
        ("GET", f"{version}{path}")
        for version in ("", "/v1.44")
        for path in (
            f"/containers/{ID}/archive?path=/run/marquee",
            f"/containers/{ID}/archive",
            f"/containers/{ID}/export",
            f"/containers/{ID}/logs?stdout=1",
            f"/containers/{ID}/logs",
            f"/containers/{ID}/top",
            f"/containers/{ID}/stats",
            f"/containers/{ID}/changes",
            f"/containers/{ID}/attach/ws",
            f"/containers/{ID}/json?size=1",
            "/containers/json",
            "/containers/json?all=1",
            "/containers/mysql/json",
            "/images/json",
            "/images/marquee:stable/get",
            "/images/get?names=marquee:stable",
            "/images/marquee:stable/json",
            "/images/marquee:stable/history",
            "/images/search?term=x",
            "/exec/1/json",
            "/volumes",
            "/networks",
            "/events",
            "/secrets",
            "/configs",
            "/swarm",
            "/nodes",
            "/services",
            "/tasks",
            "/plugins",
            "/system/df",
            "/distribution/x/json",
            "/session",
            "/grpc",
            "/",
        )
    ),
    # The same, in forms that the engine might understand and a careless rule might not.
    ("GET", f"/containers/{ID}/json/../archive"),
    ("GET", f"/info/../containers/{ID}/export"),
    ("GET", f"/containers/{ID}/json%2f..%2fexport"),
    ("GET", f"/containers/{ID}%2fexport"),
    ("GET", f"//containers/{ID}/export"),
    ("GET", f"/v1.44//containers/{ID}/export"),
    ("GET", "/%69mages/json"),
    ("GET", f"/containers/{ID}/json;/export"),
    *((method, "/info") for method in ("POST", "PUT", "DELETE", "PATCH", "OPTIONS")),
    ("POST", "/containers/create"),
    ("POST", f"/containers/{ID}/stop"),
    ("POST", f"/containers/{ID}/exec"),
    ("DELETE", f"/containers/{ID}"),
    ("PUT", f"/containers/{ID}/archive?path=/"),
]
