"""Files and directories that are replaced atomically: write, fsync, rename."""

import ctypes
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # linux/fs.h


@contextmanager
def staged_directory(target: Path) -> Iterator[Path]:
    """Yield an empty directory next to `target` that replaces `target` at the end of the block.

    When the block raises, `target` is unchanged. The directory of a killed process is removed by
    the next process that writes the same target.

    Raises:
        OSError: a file cannot be written, or the directories cannot be exchanged.
    """
    target = Path(os.path.abspath(target))  # noqa: PTH100 - resolve() would follow a symbolic link
    target.parent.mkdir(parents=True, exist_ok=True)
    staged = make_directory(target.parent, f".{target.name}.staged-")
    try:
        yield staged
        staged.chmod(0o755)
        for path in [*staged.rglob("*"), staged]:
            fsync(path)
        if target.exists():
            _exchange(staged, target)
        else:
            staged.rename(target)
        fsync(target.parent)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def make_directory(parent: Path, prefix: str) -> Path:
    """Make a directory of this process, and remove those with this prefix of killed processes.

    Its name is the prefix, the process id and a random text. `parent` must exist; where several
    machines share it, the prefix has to differ between them.
    """
    for left_over in parent.glob(f"{prefix}*-*"):
        pid, *others = left_over.name.removeprefix(prefix).split("-")
        if len(others) == 1 and not _is_alive(pid):  # with more, it has another, longer prefix
            shutil.rmtree(left_over, ignore_errors=True)
    return Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=parent))


def write_file(path: Path, data: bytes) -> None:
    """Replace a file atomically with `data`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    fsync(path.parent)


@contextmanager
def replaced_file(path: Path) -> Iterator[Path]:
    """Yield the name of a file to be written, which is renamed to `path` at the end of the block.

    It is not flushed to the disk. The name begins with a dot and is different each time, so that
    several processes may write the same file, and none is read before it is complete.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        yield temporary
        temporary.chmod(0o644)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _exchange(first: Path, second: Path) -> None:
    """Swap two directories atomically (Linux, renameat2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = (_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE)
    if libc.renameat2(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(second))


def fsync(path: Path) -> None:
    """Flush a file, or the entries of a directory, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_alive(pid: str) -> bool:
    return pid.isdigit() and Path(f"/proc/{pid}").exists()
