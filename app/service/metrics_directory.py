"""The directory in which gunicorn's workers share their metrics.

With several workers prometheus_client keeps the counts of each process in files of this
directory, and every worker can return the sums of all (its multiprocess mode).
"""

import contextlib
import os
import tempfile
from pathlib import Path

#: Environment variable with the directory; prometheus_client reads it when it is imported.
VARIABLE = "PROMETHEUS_MULTIPROC_DIR"


def create() -> None:
    """Make an empty directory and set the variable, where it is not set yet.

    Call it before prometheus_client is imported. Files of an earlier run are removed, because
    they would be counted again.
    """
    if VARIABLE not in os.environ:
        os.environ[VARIABLE] = tempfile.mkdtemp(prefix="marquee-metrics-")
    Path(os.environ[VARIABLE]).mkdir(parents=True, exist_ok=True)
    _remove_files()


def remove() -> None:
    """Remove the files and, unless it is a mount point, the directory."""
    _remove_files()
    with contextlib.suppress(OSError):
        Path(os.environ[VARIABLE]).rmdir()


def _remove_files() -> None:
    for file in Path(os.environ[VARIABLE]).glob("*.db"):
        file.unlink(missing_ok=True)
