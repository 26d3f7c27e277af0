"""A directory that appears whole or not at all: written aside, made durable, renamed."""

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
    """Yield an empty directory beside `target`; on success it takes `target`'s place.

    When the block raises, `target` is as it was. What a killed process left aside is removed by
    the next one that writes the same target.
    """
    target = Path(os.path.abspath(target))  # noqa: PTH100 - resolve() would follow a link
    target.parent.mkdir(parents=True, exist_ok=True)
    prefix = f".{target.name}.staged-"
    for left_over in target.parent.glob(f"{prefix}*"):
        if not _is_alive(left_over.name.removeprefix(prefix).split("-")[0]):
            shutil.rmtree(left_over, ignore_errors=True)
    staged = Path(tempfile.mkdtemp(prefix=f"{prefix}{os.getpid()}-", dir=target.parent))
    try:
        yield staged
        staged.chmod(0o755)
        for path in [*staged.rglob("*"), staged]:
            sync(path)
        if target.exists():
            _exchange(staged, target)
        else:
            staged.rename(target)
        sync(target.parent)
    finally:
        shutil.rmtree(staged, ignore_errors=True)


def write_file(path: Path, data: bytes) -> None:
    """Write a file aside and rename it into place."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with aside.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    sync(path.parent)


def _exchange(first: Path, second: Path) -> None:
    """Swap two directories in one step of the file system (Linux, renameat2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    arguments = (_AT_FDCWD, os.fsencode(first), _AT_FDCWD, os.fsencode(second), _RENAME_EXCHANGE)
    if libc.renameat2(*arguments) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(second))


def sync(path: Path) -> None:
    """Wait until a file, or the entries of a directory, would survive a power failure."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _is_alive(pid: str) -> bool:
    return pid.isdigit() and Path(f"/proc/{pid}").exists()
