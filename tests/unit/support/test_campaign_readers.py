"""The checker reads Git, DVC, histories and the load's log, also where something is missing."""

import asyncio
import hashlib
import json
from pathlib import Path

import polars as pl

from tests.support.campaign import tcp_proxy
from tests.support.campaign.observers import parse_hit
from tests.support.campaign.readers import read_releases, read_store, read_versions
from tests.support.campaign.records import PublishedVersion, StoredPair
from tests.support.campaign.system import System
from tests.support.retraining import git
from tests.support.service import free_port

LOCK = """
schema: '2.0'
stages:
  prepare: {{outs: [{{path: data/prepared, md5: not-pushed.dir}}]}}
  train: {{outs: [{{path: model, md5: {model}}}]}}
"""


def add_directory(remote: Path, files: dict[str, bytes]) -> str:
    """Add a directory to a DVC remote; return its hash."""
    entries = []
    for name, content in files.items():
        entries.append({"md5": add_object(remote, content, ""), "relpath": name})
    return add_object(remote, json.dumps(entries).encode(), ".dir")


def add_object(remote: Path, content: bytes, suffix: str) -> str:
    md5 = hashlib.md5(content).hexdigest() + suffix
    path = remote / "files" / "md5" / md5[:2] / md5[2:]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    return md5


def publish(tree: Path, remote: Path, number: int, *, tag: bool = True) -> None:
    """Commit a version and its files as a retraining does."""
    model = add_directory(remote, {"lists.npy": b"lists %d" % number})
    data = add_directory(remote, {"segment.parquet": b"segment %d" % number})
    (tree / "dvc.lock").write_text(LOCK.format(model=model))
    (tree / "data").mkdir(exist_ok=True)
    (tree / "data" / "collected.dvc").write_text(f"outs: [{{path: collected, md5: {data}}}]\n")
    git(tree, "add", "--all")
    git(tree, "commit", "--quiet", "--message", f"Data and Model version update: [{number}]")
    if tag:
        git(tree, "tag", "--annotate", "--message", "v", f"version-{number}")


def test_versions_are_complete_or_named_with_what_they_lack(tmp_path: Path) -> None:
    tree, remote = tmp_path / "tree", tmp_path / "versions"
    tree.mkdir()
    git(tree, "init", "--quiet")
    publish(tree, remote, 1)
    base = git(tree, "rev-parse", "HEAD")
    for number in (2, 3, 4):
        publish(tree, remote, number, tag=number != 3)
    git(tree, "tag", "version-9", base)
    damaged = hashlib.md5(b"lists 4").hexdigest()
    (remote / "files" / "md5" / damaged[:2] / damaged[2:]).write_bytes(b"lists")
    found = sorted(read_versions(tree, base, remote), key=lambda version: version.number)
    assert found[:2] == [PublishedVersion(2, True, True), PublishedVersion(3, True, False)]
    assert found[2] == PublishedVersion(4, True, True, (f"lists.npy ({damaged})",))


def test_the_history_of_a_release_is_read_to_its_torn_end(tmp_path: Path) -> None:
    history = tmp_path / "data" / "release" / "history"
    history.mkdir(parents=True)
    (history / "old.jsonl").write_text('{"time":5,"event":"release_started"}\n')
    (history / "new.jsonl").write_text(
        '{"time":20,"event":"release_started","kind":"release","version":"2"}\n'
        '{"time":1,"event":"evalua\n'
        '{"time":30,"event":"release_completed","outcome":"promoted","version":"2"}\n'
        '{"time":31,"ev'
    )
    first, last = read_releases(tmp_path, since=10)
    assert (first.release, first.event, first.version) == ("new", "release_started", "2")
    assert (last.time, last.outcome) == (30, "promoted")


def test_rows_of_segments_that_the_manifest_names_are_read_for_some_users(tmp_path: Path) -> None:
    pl.DataFrame(
        {"user_id": [1, 2], "movie_id": ["a+1999", "b+2000"], "minutes": [[3, 4], [5]]},
        schema={"user_id": pl.Int64, "movie_id": pl.String, "minutes": pl.List(pl.UInt16)},
    ).write_parquet(tmp_path / "watches-1.parquet")
    pl.DataFrame(
        {"user_id": [1], "movie_id": ["a+1999"], "rating": [4.0]},
        schema={"user_id": pl.Int64, "movie_id": pl.String, "rating": pl.Float32},
    ).write_parquet(tmp_path / "ratings-2.parquet")
    (tmp_path / "watches-torn.parquet").write_bytes(b"PAR1 half")
    manifest = {
        "watches": [{"name": "watches-1.parquet"}],
        "ratings": [{"name": "ratings-2.parquet"}],
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    system = System(None, disks={"store": tmp_path})  # type: ignore[arg-type]
    assert read_store(system, {1}) == [
        StoredPair(1, "a+1999", (3, 4)),
        StoredPair(1, "a+1999", rating=4),
    ]


def test_a_line_of_the_load_is_read() -> None:
    hit = {
        "timestamp": "2026-11-27T12:00:00.123456789Z", "latency": 12_000_000, "code": 200,
        "url": "http://127.0.0.1:8082/recommend/42", "body": "YSsxOTk5", "error": "",
        "headers": {"X-Slot": ["canary"], "X-Request-Id": ["r"], "X-Model-Version": ["3"]},
    }  # fmt: skip
    request = parse_hit(hit)
    assert (request.user, request.body, request.slot) == (42, "a+1999", "canary")
    assert (request.status, request.seconds, request.version) == (200, 0.012, "3")
    failed = parse_hit({**hit, "code": 0, "headers": None, "body": None, "error": "refused"})
    assert (failed.status, failed.request_id, failed.error) == (0, "", "refused")


def test_the_proxy_passes_on_what_arrives() -> None:
    async def exchange() -> bytes:
        async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(await reader.read(100))
            writer.close()

        server = await asyncio.start_server(echo, "127.0.0.1", 0)
        port, listen_port = server.sockets[0].getsockname()[1], free_port()
        proxy = asyncio.create_task(tcp_proxy.serve(listen_port, "127.0.0.1", port, 0.01))
        while True:
            try:
                reader, writer = await asyncio.open_connection("127.0.0.1", listen_port)
                break
            except OSError:
                await asyncio.sleep(0.01)
        writer.write(b"hello")
        received = await reader.read(100)
        writer.close()
        proxy.cancel()
        server.close()
        return received

    assert asyncio.run(exchange()) == b"hello"
