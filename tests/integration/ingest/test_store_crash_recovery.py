"""Ingestion killed at any step leaves a consistent store, and a rerun gives an equal result."""

import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import polars as pl
import pytest

from app.ingest.event_buffer import EventBuffer
from app.ingest.log_parser import ONE_TO_FIVE
from app.ingest.schemas import KEY
from app.ingest.store_reader import open_store
from app.ingest.store_writer import open_writer

ROOT = Path(__file__).parents[3]
KILLS = 10

#: Ingests small batches with early compaction, and sends itself SIGKILL just before its n-th
#: operation on the store: opening, renaming or removing a file.
CHILD = """
import os, signal, sys
from pathlib import Path
from app.ingest import store_writer
from app.ingest.event_buffer import EventBuffer
from app.ingest.log_parser import ONE_TO_FIVE

store, log, kill_at = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
operations = 0

def count(event, arguments):
    global operations
    if event in ("os.rename", "os.remove", "open") and str(store) in str(arguments[0]):
        operations += 1
        if operations == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

lines = log.read_text().splitlines()
store_writer.MAX_SEGMENTS = 2
sys.addaudithook(count)
with store_writer.open_writer(store) as opened:
    buffer = EventBuffer(opened, ONE_TO_FIVE)
    for start in range(4):
        buffer.add_lines(lines[start::4])
        buffer.flush()
print(operations)
"""


def run(store: Path, log: Path, kill_at: int) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", CHILD, str(store), str(log), str(kill_at)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def read_store(store: Path) -> tuple[pl.DataFrame, pl.DataFrame]:
    with open_store(store) as snapshot:
        watches = pl.concat(map(snapshot.read_watches, snapshot.buckets)).sort(KEY)
        return watches, pl.concat(map(snapshot.read_ratings, snapshot.buckets)).sort(KEY)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    random = Random(3)
    lines = [
        f"2022-11-14T12:{random.randrange(60):02},{random.randrange(90)},"
        + random.choice(["GET /data/m/up+2009/{0}.mpg", "GET /rate/alien+1979={1}"]).format(
            random.randrange(90), random.randint(1, 5)
        )
        for _ in range(400)
    ]
    path = tmp_path / "some.log"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.slow
def test_a_store_survives_a_kill_at_any_operation(tmp_path: Path, log: Path) -> None:
    completed = run(tmp_path / "complete", log, 0)
    assert completed.returncode == 0, completed.stderr
    expected = read_store(tmp_path / "complete")
    operations = int(completed.stdout)
    assert operations > KILLS
    for kill_at in range(2, operations, operations // KILLS):
        store = tmp_path / f"killed-{kill_at}"
        assert run(store, log, kill_at).returncode == -signal.SIGKILL
        if (store / "manifest.json").exists():
            read_store(store)
        with open_writer(store) as writer:
            buffer = EventBuffer(writer, ONE_TO_FIVE)
            buffer.add_lines(log.read_text().splitlines())
            buffer.flush()
        assert all(a.equals(b) for a, b in zip(read_store(store), expected, strict=True))
        assert not list(store.glob(".*"))
