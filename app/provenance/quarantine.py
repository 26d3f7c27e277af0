"""The quarantine: files of the spool that the shipper cannot read, kept until it can.

A newer program may have written them (during a release, or before a rollback), or they are damaged.
They lie in a subdirectory of the spool under the names they had. It is bounded in size and age; the
oldest files are removed.
"""

import contextlib
import os
import stat
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Literal, get_args

from app import logs

DIRECTORY = "quarantine"
#: Why a file is in the quarantine: its format has another number, or its content cannot be read.
Reason = Literal["format", "content"]
#: What a file is: a segment, or a description of an instance or a version.
Kind = Literal["segment", "info"]
KINDS: tuple[Kind, ...] = get_args(Kind)
#: Suffix that version 0.2.0 gave such files, in the spool itself, in place of these.
_OLD_SUFFIX = ".damaged"
_OLD_NAMES = {".info.damaged": ".info.json", ".damaged": ".segment"}

_DEFAULT_MAX_BYTES = 256 << 20
_DEFAULT_MAX_AGE_DAYS = 90
_SECONDS_PER_DAY = 86_400

_log = logs.get(__name__)


class UnreadableError(ValueError):
    """A file of the spool cannot be read.

    Attributes:
        reason: see `Reason`.
    """

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason: Reason = reason


class Quarantine:
    """The quarantine of one spool.

    Args:
        spool: the directory of the spool.
        max_bytes: bound of all files together.
        max_age_days: bound of the time since a file was last written.

    Attributes:
        added: the number of files so far, by kind and reason.
        removed: the number of files so far that were removed because of a bound.
    """

    def __init__(
        self,
        spool: Path,
        max_bytes: int = _DEFAULT_MAX_BYTES,
        max_age_days: float = _DEFAULT_MAX_AGE_DAYS,
    ) -> None:
        self.directory = spool / DIRECTORY
        self.added: Counter[tuple[Kind, Reason]] = Counter()
        self.removed = 0
        self._spool = spool
        self._max_bytes = max_bytes
        self._max_age_seconds = max_age_days * _SECONDS_PER_DAY
        self._failed: set[str] = set()

    def list_files(self) -> list[Path]:
        """The files, oldest first."""
        return sorted(self._read_sizes(), key=lambda path: path.name)

    def measure(self) -> tuple[int, int]:
        """The number of files and their bytes."""
        sizes = self._read_sizes()
        return len(sizes), sum(size for size, _ in sizes.values())

    def add(self, path: Path, error: UnreadableError) -> None:
        """Move a file of the spool here, in place of an earlier one of its name.

        If that fails (a full disk), the failure is logged, and the file stays where it is.
        """
        self._add(path, error, path.rename)

    def add_link(self, path: Path, error: UnreadableError) -> None:
        """Keep a segment here that can be read in part; it also stays in the spool."""
        if not (self.directory / path.name).exists():
            self._add(path, error, lambda target: os.link(path, target))

    def requeue(self, check: Callable[[Path], None]) -> tuple[list[Path], dict[Path, str]]:
        """Move the files that can be read by now back into the spool.

        Args:
            check: raises an `UnreadableError` for a file that cannot be read.

        Returns:
            The files that were moved, and the reason for each that was not.
        """
        moved: list[Path] = []
        kept: dict[Path, str] = {}
        for path in self.list_files():
            try:
                check(path)
                if (self._spool / path.name).exists():
                    kept[path] = "the spool has a file of this name"
                    continue
                path.rename(self._spool / path.name)
            except FileNotFoundError:  # removed or moved in the meantime
                continue
            except (UnreadableError, OSError) as error:
                kept[path] = str(error)
            else:
                moved.append(path)
        return moved, kept

    def adopt_old_files(self) -> None:
        """Move what a shipper of version 0.2.0 renamed here, under the name it had."""
        for path in self._spool.glob(f"[!.]*{_OLD_SUFFIX}"):
            old = next(old for old in _OLD_NAMES if path.name.endswith(old))
            try:
                self.directory.mkdir(exist_ok=True)
                path.rename(self.directory / (path.name.removesuffix(old) + _OLD_NAMES[old]))
            except OSError as error:
                _log.error("cannot move to the quarantine", file=path.name, error=str(error))

    def prune(self) -> None:
        """Remove the files that are too old, then the oldest until the rest is small enough."""
        sizes = self._read_sizes()
        total = sum(size for size, _ in sizes.values())
        oldest_allowed = time.time() - self._max_age_seconds
        removed = 0
        for path, (size, written_at) in sorted(sizes.items(), key=lambda item: item[1][1]):
            if total <= self._max_bytes and written_at >= oldest_allowed:
                break
            path.unlink(missing_ok=True)
            total -= size
            removed += 1
        if removed:
            self.removed += removed
            _log.error("quarantine is full or its files too old: oldest removed", files=removed)

    def _add(self, path: Path, error: UnreadableError, put: Callable[[Path], object]) -> None:
        try:
            self.directory.mkdir(exist_ok=True)
            put(self.directory / path.name)
        except FileNotFoundError:  # removed in the meantime
            return
        except OSError as failure:
            if path.name not in self._failed:
                self._failed.add(path.name)
                _log.error("cannot move to the quarantine", file=path.name, error=str(failure))
            return
        kind: Kind = "info" if path.suffix == ".json" else "segment"
        self.added[kind, error.reason] += 1
        _log.error("cannot read; moved to the quarantine", file=path.name, error=str(error))
        self.prune()

    def _read_sizes(self) -> dict[Path, tuple[int, float]]:
        """Size in bytes and time of the last write of each file."""
        sizes = {}
        for path in self.directory.glob("[!.]*"):
            with contextlib.suppress(FileNotFoundError):
                state = path.stat()
                if stat.S_ISREG(state.st_mode):
                    sizes[path] = state.st_size, state.st_mtime
        return sizes
