"""Kill `forget_user` before its changes of files and its statements, each time in another copy.

Run as a process of its own: python -m tests.support.killed_forget DIRECTORY USER EVERY
DIRECTORY has `data` (store, spool, recent, provenance.db). One in EVERY of the steps is tried.
Prints a JSON object: how many steps were tried, and the failures by step.
"""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from app.forget.forget_user import forget_user
from app.settings import Settings

_CHANGES = {"os.rename", "os.remove", "os.truncate", "os.mkdir"}


def _run(directory: Path, user: int, kill_before: int) -> None:
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1
        if steps == kill_before:
            os.kill(os.getpid(), signal.SIGKILL)

    def on_event(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _CHANGES or (
            event == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR)
        ):
            count()

    def counted(call: Callable[..., Any]) -> Callable[..., Any]:
        def run(*arguments: Any) -> Any:
            count()
            return call(*arguments)

        return run

    sys.addaudithook(on_event)
    for name in ("pwrite", "fsync", "ftruncate"):
        setattr(os, name, counted(getattr(os, name)))
    for event in ("before_cursor_execute", "commit"):
        sa.event.listen(sa.engine.Engine, event, lambda *_: count())
    settings = Settings(
        store_dir=directory / "store",
        spool_dir=directory / "spool",
        recent_dir=directory / "recent",
        database=f"sqlite:///{directory}/provenance.db",
    )
    forget_user(settings, user)


def _fork(directory: Path, user: int, kill_before: int) -> int:
    """Run in a process of its own; return its exit status, or the negative number of its signal."""
    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        _run(directory, user, kill_before)
    except BaseException as error:  # noqa: BLE001 - this process must end here
        print(error, file=sys.stderr)  # noqa: T201
        os._exit(1)
    os._exit(0)


def main(directory: Path, user: int, every: int) -> None:
    """Kill and repeat until a run comes to its end."""
    needles = (str(user).encode(), user.to_bytes(8, "little"), user.to_bytes(8, "big"))
    copy, tried, failures = directory / "copy", 0, {}
    while True:
        shutil.copytree(directory / "data", copy)
        status = _fork(copy, user, 1 + tried * every)
        if status == -signal.SIGKILL:
            tried += 1
            status = _fork(copy, user, 0)
            files = [path for path in copy.rglob("*") if path.is_file()]
            found = [f.name for f in files if any(n in f.read_bytes() for n in needles)]
            if status or found:
                failures[1 + (tried - 1) * every] = (status, found)
            shutil.rmtree(copy)
            continue
        print(json.dumps({"tried": tried, "status": status, "failures": failures}))  # noqa: T201
        return


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
