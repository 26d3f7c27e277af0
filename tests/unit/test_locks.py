import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.locks import LockHeldError, exclusive_lock, is_locked, try_lock_descriptor

HOLD = """
import subprocess
import sys
from pathlib import Path
from app.locks import exclusive_lock
with exclusive_lock(Path(sys.argv[1])) as descriptor:
    if sys.argv[2:]:
        subprocess.Popen(sys.argv[2:], pass_fds=[descriptor])
    print("held", flush=True)
    sys.stdin.read()
"""


def hold(path: Path, *child: str) -> "subprocess.Popen[str]":
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path), *child],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_a_second_process_gets_an_error_with_the_owner(tmp_path: Path) -> None:
    with hold(tmp_path / "lock") as process:
        with (
            pytest.raises(LockHeldError, match=f"process {process.pid} since 20") as caught,
            exclusive_lock(tmp_path / "lock"),
        ):
            pytest.fail("two processes hold the lock")
        assert caught.value.owner.startswith(f"process {process.pid} since")
        process.communicate("")


def test_the_lock_of_a_killed_process_is_released(tmp_path: Path) -> None:
    with hold(tmp_path / "lock") as process:
        process.kill()
        process.communicate()
    with exclusive_lock(tmp_path / "lock", timeout_seconds=10):
        assert (tmp_path / "lock").read_text().startswith(f"process {os.getpid()} since")


def test_a_child_holds_the_lock_of_a_killed_process(tmp_path: Path) -> None:
    with hold(tmp_path / "lock", "cat") as process:
        process.kill()
        process.wait()
        with pytest.raises(LockHeldError), exclusive_lock(tmp_path / "lock"):
            pytest.fail("the child's lock was ignored")
        process.communicate("")  # ends the child, which reads the same pipe
    with exclusive_lock(tmp_path / "lock", timeout_seconds=10):
        pass


def test_only_one_descriptor_of_a_file_is_locked(tmp_path: Path) -> None:
    path = tmp_path / "data"
    path.touch()
    first, second = os.open(path, os.O_RDONLY), os.open(path, os.O_RDONLY)
    assert try_lock_descriptor(first)
    assert not try_lock_descriptor(second)
    os.close(first)
    assert try_lock_descriptor(second)
    os.close(second)


WITHOUT_SPACE = """
import resource
import sys
from pathlib import Path
from app.locks import exclusive_lock
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
with exclusive_lock(Path(sys.argv[1])):
    print("held")
"""


def test_a_lock_needs_no_space_on_the_disk(tmp_path: Path) -> None:
    """The limit of the file's size makes the write of the owner fail, as a full disk does."""
    command = [sys.executable, "-c", WITHOUT_SPACE, str(tmp_path / "lock")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "held\n"), done.stderr


def test_a_held_lock_is_seen_without_being_taken(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    assert not is_locked(path)
    with hold(path) as process:
        assert is_locked(path)
        process.kill()
    assert not is_locked(path)
    with exclusive_lock(path):
        assert is_locked(path)
