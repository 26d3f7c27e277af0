"""A user of the running stack is forgotten, and searched for in everything that is stored."""

import gzip
import json
import subprocess
from typing import Any

import pytest
import requests

from tests.support.docker import docker
from tests.support.retraining import create_log
from tests.support.shipper import wait_until_shipped
from tests.support.stack import PROJECT, URL, Stack
from tests.support.stream import RECENT_DAY

USER, OTHER = 7_654_321_098, 7_654_321_099
LINES = """\
{0}T12:24,{1},GET /data/m/whiplash+2014/42.mpg
{0}T12:26,{1},GET /rate/whiplash+2014=5
"""
#: The day of the events in the store, and of those of other users there.
STORE_DAY = "2022-11-14"
#: Files with the id of a user, as text or as a number of eight bytes, below /volumes. What is left
#: in the files of the database after rows were deleted is free space (docs/personal-data.md).
SEARCH = """
import json, pathlib
needles = [b"USER", (USER).to_bytes(8, "little"), (USER).to_bytes(8, "big")]
files = [path for path in pathlib.Path("/volumes").rglob("*") if path.is_file()]
print(json.dumps([str(f) for f in files if any(n in f.read_bytes() for n in needles)]))
"""
#: Users in the store's tables, and in the arrays of a model that is trained on it, as the next
#: version is.
NEXT_VERSION = """
import json, pathlib, subprocess, sys
import numpy, polars
def marquee(*arguments):
    subprocess.run(["marquee", *arguments], check=True, stdout=sys.stderr)
paths = ["/tmp/prepared/ratings.parquet", "/tmp/prepared/watches.parquet"]
marquee("prepare", "--out", "/tmp/prepared")
marquee("train", "--params", "/srv/params.yaml", "--ratings", paths[0], "--watches", paths[1],
        "--out", "/tmp/model")
users = {user for path in paths for user in polars.read_parquet(path)["user_id"]}
arrays = [numpy.load(p, allow_pickle=False) for p in pathlib.Path("/tmp/model").rglob("*.npy")]
found = [user for user in (USER, OTHER) if any((array == user).any() for array in arrays)]
print(json.dumps({"tables": sorted(users), "arrays": found}))
"""


def send_lines(stack: Stack, service: str, command: str, lines: str) -> None:
    subprocess.run(
        ["docker", "compose", "exec", "-T", service, "marquee", command, "--file", "-"],
        cwd=stack.clone, env=stack.environment, input=lines, text=True, check=True,
        capture_output=True,
    )  # fmt: skip


def collect(stack: Stack, user: int) -> None:
    """Add the user's lines to the store, and to the recent activity."""
    send_lines(stack, "collector", "collect", LINES.format(STORE_DAY, user))
    send_lines(stack, "recent", "follow", LINES.format(RECENT_DAY, user))


def search_volumes(user: int) -> list[str]:
    volumes = docker("volume", "ls", "--quiet", "--filter", f"name={PROJECT}_").split()
    names = [v for v in volumes if v != f"{PROJECT}_database"]
    mounts = [f"--volume={name}:/volumes/{name}:ro" for name in names]
    script = SEARCH.replace("USER", str(user))
    image = f"{PROJECT}:deployment"
    found: list[str] = json.loads(
        docker("run", "--rm", "--user=0", *mounts, "--entrypoint=python", image, "-c", script)
    )
    return found


def train_next_version(stack: Stack) -> dict[str, Any]:
    script = NEXT_VERSION.replace("USER", str(USER)).replace("OTHER", str(OTHER))
    result: dict[str, Any] = json.loads(
        docker(
            "run", "--rm", f"--volume={PROJECT}_store:/store:ro", "--tmpfs=/tmp:mode=1777",
            "--env=HOME=/tmp", f"--volume={stack.clone}/params.yaml:/srv/params.yaml:ro",
            "--workdir=/tmp", "--entrypoint=python", f"{PROJECT}:deployment", "-c", script,
            timeout_seconds=300,
        )
    )  # fmt: skip
    return result


def read_backup(stack: Stack) -> bytes:
    done = subprocess.run(
        ["docker", "compose", "run", "--rm", "-T", "archive", "backup", "-"],
        cwd=stack.clone, env=stack.environment, check=True, capture_output=True, timeout=300,
    )  # fmt: skip
    return gzip.decompress(done.stdout)


@pytest.mark.timeout(900)
def test_a_forgotten_user_is_nowhere_but_in_what_the_rules_leave(
    stack: Stack,
) -> None:
    for user in (USER, OTHER):
        collect(stack, user)
        assert requests.get(f"{URL}/recommend/{user}", timeout=5).status_code == 200
    wait_until_shipped()
    count = "select count(*) from reccom where user_id = {}"
    assert int(stack.sql(count.format(USER))[0][0]) >= 1  # two where NGINX sent it twice
    assert str(USER).encode() in read_backup(stack)
    recent_table = f"/volumes/{PROJECT}_recent/activity.table"
    assert recent_table in search_volumes(USER)
    stack.compose("stop", "collector", "shipper")
    try:
        # Records that wait in the spool while the user is forgotten.
        for user in (USER, OTHER):
            assert requests.get(f"{URL}/recommend/{user}", timeout=5).status_code == 200
        removed = json.loads(stack.compose("run", "--rm", "-T", "forget", str(USER), "--json"))
    finally:
        stack.compose("start", "collector", "shipper")
    assert (removed["watches"], removed["ratings"]) == (1, 1)
    # Slots may still be writing the file with the user's first record.
    assert removed["spool_records"] >= 1
    assert removed["records"] >= 1
    wait_until_shipped()
    assert stack.sql(count.format(USER)) == [["0"]]
    assert int(stack.sql(count.format(OTHER))[0][0]) >= 2
    assert stack.sql(count.format(2**63 - 1)) == [["0"]]
    assert search_volumes(USER) == []
    assert recent_table in search_volumes(OTHER)
    assert str(USER).encode() not in read_backup(stack)
    send_lines(stack, "collector", "collect", "\n".join(create_log(0, 6)))  # of other users
    version = train_next_version(stack)
    assert USER not in version["tables"]
    assert OTHER in version["tables"]
    assert version["arrays"] == [OTHER]
