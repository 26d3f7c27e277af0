"""Reads the records that a run leaves in the database, the topic, the store, Git, DVC and files.

With the clients of these systems and with formats as they are documented, without the product's
code: a defect there must not hide itself.
"""

import hashlib
import json
import os
import re
import subprocess
import tempfile
import time
import zlib
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import requests
from kafka import KafkaConsumer, TopicPartition
from ruamel.yaml import YAML

from tests.support.campaign.docker_engine import list_containers, read_memory, was_killed_for_memory
from tests.support.campaign.records import (
    PublishedVersion,
    ReleaseEvent,
    RetrainingEnd,
    StoredAnswer,
    StoredPair,
    Usage,
)
from tests.support.campaign.system import Job, System
from tests.support.docker import docker
from tests.support.stack import PROJECT, PROMETHEUS, Stack
from tests.support.stream import BROKER

_SUBJECT = re.compile(r"Data and Model version update: \[(\d+)\]")
_UINT16_MOVIES = 65_535
_ATTEMPTS = 10
#: Of a volume, at the end of a run.
_MAX_DISK_SHARE = 0.95
_USER = re.compile(r"[^,]*,(\d{1,18}),")


# -- database ------------------------------------------------------------------------------------


def read_answers(stack: Stack, since: float) -> list[StoredAnswer]:
    """Return the rows of `reccom` of answers since a Unix time."""
    catalogue = {
        model: zlib.decompress(bytes.fromhex(packed)).decode().split("\n")
        for model, packed in stack.sql("select model_hash, hex(movie_ids) from catalogue")
    }
    models = dict(stack.sql("select build_id, model_hash from build"))
    rows = stack.sql(
        "select request_id, slot, version_number, user_id, hex(movie_numbers), build_id from reccom"
        f" where answered_at_us >= {int(since * 1e6)}"
    )
    found = []
    for request_id, slot, version, user, numbers, build in rows:
        movies = catalogue[models[build]]
        dtype = "<u2" if len(movies) <= _UINT16_MOVIES else "<u4"
        listed = np.frombuffer(bytes.fromhex(numbers), dtype).tolist()
        body = ",".join(movies[number] for number in listed)
        found.append(StoredAnswer(request_id, slot, version, int(user), body))
    return found


def read_dropped(start: float, end: float) -> dict[str, int]:
    """Return how many records were counted as lost in a span of time, by reason."""
    response = requests.get(
        f"{PROMETHEUS}/api/v1/query_range",
        params={"query": "marquee_provenance_records_dropped_total", "start": str(start - 15),
                "end": str(end), "step": "5"},
        timeout=30,
    ).json()  # fmt: skip
    dropped: Counter[str] = Counter()
    for series in response["data"]["result"]:
        values = [(float(at), float(value)) for at, value in series["values"]]
        # A series that begins within the span counts from 0; a value below the one before, too.
        before = values[0][1] if values[0][0] <= start else 0.0
        for _, value in values:
            dropped[series["metric"].get("reason", "")] += int(
                value - before if value >= before else value
            )
            before = value
    return {reason: count for reason, count in dropped.items() if count}


# -- stream --------------------------------------------------------------------------------------


def read_end_offset(topic: str) -> int:
    """Return the offset after the newest message of a topic of one partition."""
    partition = TopicPartition(topic, 0)
    with closing(KafkaConsumer(bootstrap_servers=BROKER)) as consumer:
        return int(consumer.end_offsets([partition])[partition])


def read_lines(topic: str, start: int) -> list[str]:
    """Return the lines of a topic from an offset on."""
    partition = TopicPartition(topic, 0)
    lines: list[str] = []
    consumer = KafkaConsumer(
        bootstrap_servers=BROKER, enable_auto_commit=False, auto_offset_reset="earliest"
    )
    with closing(consumer):
        consumer.assign([partition])
        consumer.seek(partition, start)
        end = int(consumer.end_offsets([partition])[partition])
        while consumer.position(partition) < end:
            for messages in consumer.poll(timeout_ms=1000, max_records=10_000).values():
                lines += [message.value.decode(errors="replace") for message in messages]
    return lines


def find_users(lines: Iterable[str]) -> set[int]:
    """Return the users of lines."""
    return {int(match[1]) for match in map(_USER.match, lines) if match}


def read_store(system: System, users: Collection[int]) -> list[StoredPair]:
    """Return the rows of all segments about some users."""
    for _ in range(_ATTEMPTS):
        with suppress(FileNotFoundError):  # segments were merged meanwhile
            if "store" in system.disks:
                return _read_segments(system.disks["store"], users)
            with tempfile.TemporaryDirectory() as directory:
                docker("cp", f"{system.container('collector')}:/store", directory)
                return _read_segments(Path(directory) / "store", users)
        time.sleep(1)
    raise AssertionError("the store changes all the time")


def _read_segments(directory: Path, users: Collection[int]) -> list[StoredPair]:
    manifest: dict[str, Any] = json.loads((directory / "manifest.json").read_text())
    wanted = pl.DataFrame({"user_id": list(users)}, schema={"user_id": pl.Int64})
    found: list[StoredPair] = []
    for table in ("watches", "ratings"):
        for segment in manifest[table]:
            rows = pl.read_parquet(directory / segment["name"]).join(
                wanted, on="user_id", how="semi"
            )
            if table == "watches":
                columns = rows.select("user_id", "movie_id", "minutes").iter_rows()
                found += [
                    StoredPair(user, movie, tuple(minutes)) for user, movie, minutes in columns
                ]
            else:
                columns = rows.select("user_id", "movie_id", "rating").iter_rows()
                found += [
                    StoredPair(user, movie, rating=int(value)) for user, movie, value in columns
                ]
    return found


# -- releases and versions -----------------------------------------------------------------------


def read_releases(clone: Path, since: float) -> list[ReleaseEvent]:
    """Return the histories of the releases that started since a Unix time."""
    events: list[ReleaseEvent] = []
    for file in sorted((clone / "data" / "release" / "history").glob("*.jsonl")):
        own = []
        for line in file.read_text().splitlines():
            with suppress(ValueError):  # the last line of a process that was killed
                row = json.loads(line)
                own.append(
                    ReleaseEvent(
                        file.stem, float(row["time"]), str(row["event"]),
                        *(str(row.get(name) or "")
                          for name in ("phase", "verdict", "outcome", "version", "kind")),
                    )
                )  # fmt: skip
        if own and own[0].time >= since:
            events += own
    return events


def read_versions(origin: Path, base: str, remote: Path) -> list[PublishedVersion]:
    """Return the versions that were pushed after a commit, with what DVC's remote lacks of them."""
    commits: dict[int, list[str]] = defaultdict(list)
    for line in git_in(origin, "log", "--format=%H %s", f"{base}..HEAD").splitlines():
        commit, _, subject = line.partition(" ")
        if match := _SUBJECT.fullmatch(subject):
            commits[int(match[1])].append(commit)
    tags = {
        int(name.removeprefix("version-")): git_in(origin, "rev-parse", f"{name}^{{commit}}")
        for name in git_in(origin, "tag", "--list", "version-*").split()
    }
    found = []
    for number, same in commits.items():
        found += [
            PublishedVersion(
                number,
                True,
                tags.get(number) == commit,
                tuple(_find_missing(origin, commit, remote)),
            )
            for commit in same
        ]
    known = git_in(origin, "tag", "--list", "version-*", "--merged", base).split()
    alone = tags.keys() - commits.keys() - {int(name.removeprefix("version-")) for name in known}
    return found + [PublishedVersion(number, False, True) for number in sorted(alone)]


def git_in(directory: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-c", "safe.directory=*", "-C", str(directory), *arguments],
        capture_output=True, text=True, check=True,
    ).stdout.strip()  # fmt: skip


def _find_missing(origin: Path, commit: str, remote: Path) -> list[str]:
    """Return the files that a version's commit names and the remote lacks or has damaged."""
    lock = YAML(typ="safe").load(git_in(origin, "show", f"{commit}:dvc.lock"))
    data = YAML(typ="safe").load(git_in(origin, "show", f"{commit}:data/collected.dvc"))
    hashes = [out["md5"] for out in data["outs"]]
    hashes += [out["md5"] for out in lock["stages"]["train"]["outs"] if out["path"] == "model"]
    missing = []
    for md5 in hashes:
        content = _read_object(remote, md5)
        if content is None:
            missing.append(md5)
            continue
        for entry in json.loads(content):
            if _read_object(remote, entry["md5"]) is None:
                missing.append(f"{entry['relpath']} ({entry['md5']})")
    return missing


def _read_object(remote: Path, md5: str) -> bytes | None:
    """Return an object of the DVC remote; None where it is missing or damaged."""
    try:
        content = (remote / "files" / "md5" / md5[:2] / md5[2:]).read_bytes()
    except FileNotFoundError:
        return None
    expected = md5.removesuffix(".dir")
    return content if hashlib.md5(content).hexdigest() == expected else None


def describe_retrainings(jobs: Iterable[Job]) -> list[RetrainingEnd]:
    """Return how retrainings ended that had begun: not those that found another one running."""
    return [
        RetrainingEnd(
            job.ended_at,
            str(job.result["status"]),
            str(job.result.get("subject") or ""),
            job.result.get("version"),
        )
        for job in jobs
        if job.kind == "retrain" and "status" in job.result
    ]


# -- resources -----------------------------------------------------------------------------------


def read_usage(system: System) -> tuple[list[Usage], list[str]]:
    """Return memory and disks at the end, and the containers that were killed for their memory."""
    usage, killed = [], []
    for container in list_containers(PROJECT):
        if container.state != "running":
            continue
        used, limit = read_memory(container.id)
        usage.append(Usage(container.service, "memory", used, limit))
        if was_killed_for_memory(container.id):
            killed.append(container.service)
    for name, directory in system.disks.items():
        size = os.statvfs(directory)
        used = (size.f_blocks - size.f_bavail) * size.f_frsize
        # What a run leaves must leave space for the next one.
        limit = int(_MAX_DISK_SHARE * size.f_blocks * size.f_frsize)
        usage.append(Usage(name, "disk", used, limit))
    return usage, killed
