"""A power failure at any moment: positions and events agree, or the file is filled again.

The follower runs over real lines. Every write, truncation, rename and sync that it makes is
recorded. Then the directory is rebuilt as a disk may hold it at a cut point: what was synced is
there; of the rest each sector of 512 bytes, each change of a size and each rename may be missing.
"""

import itertools
import json
import os
import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from app.recent_activity import table_writer
from app.recent_activity.follower_metrics import FollowerMetrics
from app.recent_activity.reader import RecentActivityReader
from app.recent_activity.table_directory import TableLimits, open_current_table
from app.recent_activity.table_format import TABLE_NAME, TableError
from app.recent_activity.table_updater import TableUpdater
from app.recent_activity.table_writer import TableWriter, open_table
from app.settings import Settings, read_settings
from tests.support.recent_activity import describe_users
from tests.support.soak import IS_SOAK

#: `make soak` runs the full test.
CUTS = 1000 if IS_SOAK else 60
SECTOR = 512
LIMITS = TableLimits(movies=3, older_movies=4, days=7, max_users=150)
LINES_PER_COMMIT = 40


@dataclass
class Operation:
    """One operation on a file: `create`, `write`, `size`, `sync`, `rename`, `link` or
    `sync_names` (of a directory)."""

    kind: str
    path: str
    offset: int = 0
    data: bytes = b""
    target: str = ""


class Recorder:
    """Records the operations of this process on files of a directory.

    Attributes:
        operations: in their order.
    """

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.operations: list[Operation] = []
        self._directory = str(directory)
        self._monkeypatch = monkeypatch
        self._wrap("open", self._record_open)
        self._wrap("pwrite", self._record_write)
        self._wrap("ftruncate", self._record_size)
        for name in ("fsync", "fdatasync"):
            self._wrap(name, self._record_sync)
        for name, kind in (("replace", "rename"), ("link", "link")):
            self._wrap(name, partial(self._record_name, kind))

    def _wrap(self, name: str, record: Callable[..., None]) -> None:
        original = getattr(os, name)

        def call(*arguments: Any, **options: Any) -> Any:
            result = original(*arguments, **options)
            record(result, *arguments)
            return result

        self._monkeypatch.setattr(os, name, call)

    def _add(self, kind: str, path: str, **details: Any) -> None:
        if path.startswith(self._directory):
            self.operations.append(Operation(kind, path, **details))

    def _record_open(self, _: int, path: Any, flags: int, *__: Any) -> None:
        if flags & os.O_CREAT:
            self._add("create", str(path))

    def _record_write(self, size: int, descriptor: int, data: Any, offset: int) -> None:
        self._add("write", find_path(descriptor), offset=offset, data=bytes(data[:size]))

    def _record_size(self, _: None, descriptor: int, size: int) -> None:
        self._add("size", find_path(descriptor), offset=size)

    def _record_sync(self, _: None, descriptor: int) -> None:
        path = find_path(descriptor)
        self._add("sync_names" if Path(path).is_dir() else "sync", path)

    def _record_name(self, kind: str, _: None, path: Any, target: Any) -> None:
        self._add(kind, str(path), target=str(target))


def find_path(descriptor: int) -> str:
    return str(Path(f"/proc/self/fd/{descriptor}").readlink())


class Disk:
    """What operations leave on a disk. A name refers to the content of a file."""

    def __init__(self) -> None:
        self._names: dict[str, bytearray] = {}
        self._synced_names: dict[str, bytearray] = {}
        self._pending: dict[int, list[Operation]] = {}

    def run(self, operation: Operation) -> None:
        """Carry out an operation; changes wait for a sync of their file."""
        if operation.kind == "sync_names":
            self._synced_names = dict(self._names)
            return
        content = self._names.setdefault(operation.path, bytearray())
        if operation.kind in ("write", "size"):
            self._pending.setdefault(id(content), []).append(operation)
        elif operation.kind == "sync":
            for change in self._pending.pop(id(content), []):
                apply(content, change)
        elif operation.kind in ("rename", "link"):
            self._names[operation.target] = content
            if operation.kind == "rename":
                del self._names[operation.path]

    def lose_power(self, chance: random.Random, directory: Path) -> None:
        """Write what is left to a directory: of what was not synced, a random part."""
        names = self._names if chance.random() < 0.5 else self._synced_names
        share_kept = chance.random()
        for content in {id(content): content for content in names.values()}.values():
            for change in self._pending.get(id(content), []):
                apply_partly(content, change, chance, share_kept)
        for path, content in names.items():
            (directory / Path(path).name).write_bytes(content)


def rebuild(operations: list[Operation], chance: random.Random, directory: Path) -> None:
    """Write the files that a disk may hold after some operations and a power failure."""
    disk = Disk()
    for operation in operations:
        disk.run(operation)
    disk.lose_power(chance, directory)


def apply(content: bytearray, change: Operation) -> None:
    if change.kind == "size":
        size = change.offset
        content[size:] = bytes(max(0, size - len(content)))
        return
    end = change.offset + len(change.data)
    content.extend(bytes(max(0, end - len(content))))
    content[change.offset : end] = change.data


def apply_partly(
    content: bytearray, change: Operation, chance: random.Random, share_kept: float
) -> None:
    """Apply an operation that was not synced, sector by sector, or not at all."""
    if change.kind == "size":
        if chance.random() < share_kept:
            apply(content, change)
        return
    start, end = change.offset, change.offset + len(change.data)
    bounds = [start, *range(start - start % SECTOR + SECTOR, end, SECTOR), end]
    for low, high in itertools.pairwise(bounds):
        if chance.random() < share_kept:
            part = change.data[low - start : high - start]
            apply(content, Operation("write", change.path, low, part))


def read_lines(log: Path) -> list[str]:
    """Return lines of a log, half of them with few users, who so have more movies than are kept."""
    lines = log.read_text(errors="replace").splitlines()[:3000]
    for number in range(0, len(lines), 2):
        time, comma, rest = lines[number].partition(",")
        user, *request = rest.partition(",")
        if user.isdigit():
            lines[number] = "".join([time, comma, str(int(user) % 60), *request])
    return lines


def follow(settings: Settings, lines: list[str]) -> Iterator[tuple[int, dict[int, Any]]]:
    """Follow lines, with their number as position; yield position and users of each commit."""

    def fill(table: TableWriter) -> dict[str, Any]:
        return {"stream": 0}

    directory = settings.recent_dir
    with open_current_table(directory, LIMITS, fill, lambda _: None) as table:
        updater = TableUpdater(settings, directory, table, FollowerMetrics(directory), Counter())
        yield 0, describe_users(table)
        for end in range(LINES_PER_COMMIT, len(lines) + 1, LINES_PER_COMMIT):
            updater.add_lines(lines[end - LINES_PER_COMMIT : end])
            updater.commit({"stream": end})
            yield end, describe_users(table)


@pytest.mark.slow
def test_positions_and_events_agree_after_a_power_failure(
    tmp_path: Path,
    shared_data: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(table_writer, "_MAX_JOURNAL_BYTES", 60_000)  # checkpoints in between
    log = shared_data / "movielog" / "stream.log"
    lines = read_lines(log)
    settings = read_settings(recent_dir=tmp_path / "recent")
    settings.recent_dir.mkdir()
    with monkeypatch.context() as patch:
        recorder = Recorder(settings.recent_dir, patch)
        commits = dict(follow(settings, lines))
        with open_current_table(settings.recent_dir, LIMITS, lambda _: {}, print) as table:
            assert table.state.offsets["stream"] == len(lines)
    most = LIMITS.movies + LIMITS.older_movies
    assert sum(len(movies) == most for movies in commits[len(lines)].values()) > 20
    recorded = recorder.operations
    assert sum(o.kind == "sync" and o.path.endswith(TABLE_NAME) for o in recorded) > 5

    seed = int(os.environ["MARQUEE_TEST_SEED"])
    chance = random.Random(seed)
    refused = list[str]()
    positions = set()
    for number in range(CUTS):
        directory = tmp_path / f"cut-{number}"
        directory.mkdir()
        cut = chance.randrange(len(recorded) + 1)
        rebuild(recorded[:cut], chance, directory)
        check_reader(directory, commits)
        try:
            table = open_table(directory)
        except TableError as error:
            is_new = not any(o.kind == "rename" for o in recorded[:cut])
            assert error.problem == "absent" or not is_new, (seed, number, cut, str(error))
            if error.problem != "absent":
                refused.append(f"seed {seed}, cut {number} at {cut}: {error}")
            continue
        with closing(table):
            position = table.state.offsets["stream"]
            assert describe_users(table) == commits[position], (seed, number, cut)
            positions.add(position)
            least = max_synced_position(recorded[:cut])
            assert position >= least, (seed, number, cut)
    assert len(positions) > min(CUTS, len(commits)) // 4
    assert refused == []


def max_synced_position(operations: list[Operation]) -> int:
    """Return the position of the last record of the journal that was synced."""
    written = synced = 0
    for operation in operations:
        if not operation.path.endswith("journal"):
            continue
        if operation.kind == "write":
            found = operation.data.rpartition(b'"stream": ')[2].partition(b"}")[0]
            written = json.loads(found)
        elif operation.kind == "sync":
            synced = written
    return synced


def check_reader(directory: Path, commits: dict[int, Any]) -> None:
    """Check that a service that starts before the follower reads each user's own movies only."""
    reader = RecentActivityReader(directory)
    users = {user_id for users in commits.values() for user_id in users}
    for user_id in sorted(users)[::25]:
        found = reader.get(user_id)
        watched = {e[0] for users in commits.values() for e in users.get(user_id, [])}
        movies = [*(event.movie for event in found.events), *found.older]
        assert {reader.movie_ids[movie] for movie in movies} <= watched
