"""Docker's API by its socket: all containers of a project in one request, which costs little.

`docker inspect` for each container would need more processor time than the load itself.
"""

import http.client
import json
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

SOCKET = "/var/run/docker.sock"
_TIMEOUT_SECONDS = 20


class _SocketConnection(http.client.HTTPConnection):
    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(SOCKET)


@dataclass(frozen=True)
class ContainerState:
    """A container as Docker reports it.

    Attributes:
        service: its service in the compose file.
        id: of the container.
        image: id of its image.
        state: created, running, paused, restarting, exited, dead.
        networks: names of the networks it is connected to.
    """

    service: str
    id: str
    image: str
    state: str
    networks: frozenset[str]


def get_json(path: str) -> Any:
    """Send a GET request; return the document.

    Raises:
        OSError: the engine does not respond, or not with status 200.
    """
    connection = _SocketConnection("localhost", timeout=_TIMEOUT_SECONDS)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        body = response.read()
    except http.client.HTTPException as error:
        raise OSError(f"Docker's API: {error!r}") from error
    finally:
        connection.close()
    if response.status != http.client.OK:
        raise OSError(f"Docker's API: {path}: {response.status} {body[:200]!r}")
    return json.loads(body)


def list_containers(project: str) -> list[ContainerState]:
    """Return the containers of a compose project, exited ones included.

    Raises:
        OSError: the engine does not respond.
    """
    filters = quote(json.dumps({"label": [f"com.docker.compose.project={project}"]}))
    return [
        ContainerState(
            service=row["Labels"].get("com.docker.compose.service", ""),
            id=row["Id"],
            image=row["ImageID"],
            state=row["State"],
            networks=frozenset(row["NetworkSettings"]["Networks"]),
        )
        for row in get_json(f"/containers/json?all=1&filters={filters}")
        if row["Labels"].get("com.docker.compose.oneoff", "False") == "False"
    ]


def read_memory(container: str) -> tuple[int, int]:
    """Return anonymous memory and limit of a running container in bytes; (0, 0) without."""
    stats = get_json(f"/containers/{container}/stats?stream=false&one-shot=true")["memory_stats"]
    return int(stats.get("stats", {}).get("anon", 0)), int(stats.get("limit", 0))


def was_killed_for_memory(container: str) -> bool:
    """Return whether the kernel has killed the container for its memory."""
    return bool(get_json(f"/containers/{container}/json")["State"]["OOMKilled"])
