"""Ingestion killed at any step leaves a consistent store, and a rerun gives an equal result."""

import signal
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest

from app.ingest.event_buffer import EventBuffer
from app.ingest.log_parser import ONE_TO_FIVE
from app.ingest.store_writer import open_writer
from tests.support.store_contents import read_store

ROOT = Path(__file__).parents[3]
KILLS = 10

#: Ingests small batches with early compaction, once for each pair of arguments: a store, and the
#: number of the operation on it (opening, renaming or removing a file) before which it is killed.
#: Each runs in a fork, and its result is printed: the number of operations, or minus the signal.
CHILD = """
import os, signal, sys
from pathlib import Path
from app.ingest import store_writer
from app.ingest.event_buffer import EventBuffer
from app.ingest.log_parser import ONE_TO_FIVE

def ingest(store, lines, kill_at):
    operations = 0

    def count(event, arguments):
        nonlocal operations
        if event in ("os.rename", "os.remove", "open") and store in str(arguments[0]):
            operations += 1
            if operations == kill_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(count)
    store_writer.MAX_SEGMENTS = 2
    with store_writer.open_writer(Path(store)) as opened:
        buffer = EventBuffer(opened, ONE_TO_FIVE)
        for start in range(4):
            buffer.add_lines(lines[start::4])
            buffer.flush()
    return operations

lines = Path(sys.argv[1]).read_text().splitlines()
for store, kill_at in zip(sys.argv[2::2], sys.argv[3::2]):
    child = os.fork()
    if not child:
        print(ingest(store, lines, int(kill_at)), flush=True)
        os._exit(0)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if status:
        print(status, flush=True)
"""


def run(log: Path, kills: dict[Path, int]) -> list[int]:
    """Ingest the log into each store, killed at an operation; return what `CHILD` prints."""
    pairs = [str(argument) for pair in kills.items() for argument in pair]
    command = [sys.executable, "-c", CHILD, str(log), *pairs]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [int(line) for line in done.stdout.split()]


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
    (operations,) = run(log, {tmp_path / "complete": 0})
    expected = read_store(tmp_path / "complete")
    assert operations > KILLS
    kills = {
        tmp_path / f"killed-{operation}": operation
        for operation in range(2, operations, operations // KILLS)
    }
    assert set(run(log, kills)) == {-signal.SIGKILL}
    for store in kills:
        if (store / "manifest.json").exists():
            read_store(store)
        with open_writer(store) as writer:
            buffer = EventBuffer(writer, ONE_TO_FIVE)
            buffer.add_lines(log.read_text().splitlines())
            buffer.flush()
        assert all(a.equals(b) for a, b in zip(read_store(store), expected, strict=True))
        assert not list(store.glob(".*"))
