"""Run functions of this program on an Apache Spark cluster, and sum arrays there.

Workers need Python of the same minor version with the packages of `requirements/training.txt` and
`requirements/spark.txt`; this program itself is sent to them. They read and write files by the
same paths as the driver (docs/scaling.md).
"""

import logging
import os
import shutil
import sys
import tempfile
import time
import warnings
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import count
from pathlib import Path
from threading import Event, Thread
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

import app
from app import logs
from app.cli_errors import MarqueeError
from app.spark.errors import SparkError

Item = TypeVar("Item")
Result = TypeVar("Result")
#: Receives the number of finished tasks and of all tasks known so far.
Report = Callable[[int, int], None]
Array = NDArray[Any]

INSTALL = (
    "the engine Spark needs pyspark and Java 17 or 21: run `make spark SYSTEM=1`, or "
    "`pip install --require-hashes -r requirements/spark.txt` and install a Java runtime"
)
#: Properties of every application; others come from spark-defaults.conf (SPARK_CONF_DIR).
_PROPERTIES = {
    "spark.ui.showConsoleProgress": "false",
    # A task uses one core: without limits, each library in it would start a thread for each core.
    "spark.executorEnv.POLARS_MAX_THREADS": "1",
    "spark.executorEnv.OPENBLAS_NUM_THREADS": "1",
    "spark.executorEnv.OMP_NUM_THREADS": "1",
}
#: Numbers of an array that are summed by one task: 16 MB.
_SLICE = 2_000_000
_POLL_SECONDS, _LOG_SECONDS = 0.5, 30
_log = logs.get(__name__)
_groups = count(1)


def ignore_report(_done: int, _total: int) -> None:
    """Discard a report of progress."""


@dataclass(frozen=True)
class _Failure:
    """An expected error in a task: it is returned, since running the task again changes nothing."""

    message: str


class Cluster:
    """A running Spark application.

    Attributes:
        session: the Spark session.
        version: version of Spark.
    """

    def __init__(self, session: Any) -> None:
        self.session = session
        self.version: str = session.version
        self._context = session.sparkContext

    def run(
        self,
        name: str,
        function: Callable[[Item], Result],
        items: Sequence[Item],
        report: Report = ignore_report,
    ) -> list[Result]:
        """Call a function for each item, each in a task of its own; return results in their order.

        A task may run more than once, also at the same time: where it writes files, it replaces
        them by rename (`app.spark.files`).

        Args:
            name: shown in Spark's UI and in log lines.
            function: a function of this program or a `partial` of one.
            items: arguments of the tasks.
            report: receives the progress.

        Raises:
            SparkError: the job failed, or a task raised an error that is meant for the user.
        """
        if not items:
            return []
        tasks = self._context.parallelize(items, len(items)).map(partial(_call, function))
        with self.watch(name, report):
            results = tasks.collect()
        return [_unwrap(result) for result in results]

    def sum(
        self,
        name: str,
        function: Callable[[Item], Sequence[Array]],
        groups: Sequence[Sequence[Item]],
        report: Report = ignore_report,
    ) -> list[Array]:
        """Sum what a function returns for all items, array by array.

        Each group is summed by one task. The order of the sums depends on the groups alone, so
        that the same groups give the same bits, whatever is run again after a failure.

        Args:
            name: as for `run`.
            function: returns equally many arrays of equal shapes for each item.
            groups: the items.
            report: receives the progress.
        """
        numbered = list(enumerate(groups))
        parts = self._context.parallelize(numbered, len(numbered)).flatMap(
            partial(sum_group, function)
        )
        sums = parts.groupByKey(len(numbered)).mapValues(sum_in_order)
        with self.watch(name, report):
            found = dict(sums.collect())
        if failures := [part for part in found.values() if isinstance(part, _Failure)]:
            raise SparkError(failures[0].message)
        return join_sums(found)

    @contextmanager
    def watch(self, name: str, report: Report = ignore_report) -> Iterator[None]:
        """Report the progress of the Spark jobs of this block, and log it every half minute.

        Raises:
            SparkError: a job failed.
        """
        group, end = f"marquee-{next(_groups)}", Event()
        self._context.setJobGroup(group, name)
        thread = Thread(target=self._poll, args=(group, name, report, end), daemon=True)
        thread.start()
        try:
            yield
        except MarqueeError:
            raise
        except Exception as error:
            if type(error).__module__.split(".")[0] in ("pyspark", "py4j"):
                raise SparkError(f"Spark: {name} failed: {_describe(error)}") from error
            raise
        finally:
            end.set()
            thread.join()

    def _poll(self, group: str, name: str, report: Report, end: Event) -> None:
        logged = time.monotonic()
        while not end.wait(_POLL_SECONDS):
            try:
                done, total = self._count_tasks(group)
            except Exception:  # noqa: BLE001 - the job itself reports that Spark has ended
                return
            report(done, total)
            if total and time.monotonic() - logged >= _LOG_SECONDS:
                logged = time.monotonic()
                _log.info("spark tasks", stage=name, done=done, of=total)

    def _count_tasks(self, group: str) -> tuple[int, int]:
        """Return how many tasks of a job group are finished, and of how many known so far."""
        tracker, done, total = self._context.statusTracker(), 0, 0
        for job in tracker.getJobIdsForGroup(group):
            info = tracker.getJobInfo(job)
            for stage in () if info is None else info.stageIds:
                tasks = tracker.getStageInfo(stage)
                if tasks is not None:
                    done, total = done + tasks.numCompletedTasks, total + tasks.numTasks
        return done, total


@contextmanager
def connect(master: str, name: str) -> Iterator[Cluster]:
    """Start an application on a Spark cluster, and stop it at the end of the block.

    Args:
        master: URL of the cluster: `spark://host:7077`, `k8s://https://host:443`, `yarn`, or
            `local[2]` for two threads of this machine.
        name: what the application does, for Spark's UI.

    Raises:
        SparkError: pyspark or Java is missing, or the cluster cannot be reached.
    """
    with tempfile.TemporaryDirectory(prefix="marquee-code-") as code:
        session = _start(master, name, Path(code))
        try:
            yield Cluster(session)
        finally:
            session.stop()


def _start(master: str, name: str, code: Path) -> Any:
    """Start a session whose workers import this program from an archive in `code`."""
    session_type, error_type = load_session_types()
    if not (shutil.which("java") or os.environ.get("JAVA_HOME")):
        raise SparkError(f"{INSTALL} (no java in PATH)")
    logging.getLogger("py4j").setLevel(logging.WARNING)
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = session_type.builder.master(master).appName(f"marquee {name}")
    for key, value in _PROPERTIES.items():
        builder = builder.config(key, value)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            session = builder.getOrCreate()
        session.sparkContext.addPyFile(str(_pack_code(code)))
    except (error_type, *_java_errors()) as error:
        raise SparkError(f"Spark at {master} cannot be used: {_describe(error)}") from error
    return session


def load_session_types() -> tuple[Any, type[Exception]]:
    """Import pyspark; return its types of a session and of its errors.

    Raises:
        SparkError: it is not installed.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the version of pandas, which is not used
        try:
            import_module("pyspark.ml.recommendation")
            from pyspark.errors import PySparkException  # noqa: PLC0415 - optional requirement
            from pyspark.sql import SparkSession  # noqa: PLC0415
        except ImportError as error:
            raise SparkError(f"{INSTALL} ({error})") from error
    return SparkSession, PySparkException


def _java_errors() -> tuple[type[Exception], ...]:
    from py4j.protocol import Py4JError  # noqa: PLC0415 - comes with pyspark

    return (Py4JError, OSError)


def _pack_code(directory: Path) -> Path:
    """Write the modules of this program to an archive that Python can import from."""
    root, archive = Path(app.__file__).parent, directory / "marquee.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as content:
        for path in sorted(root.rglob("*.py")):
            content.write(path, Path(root.name) / path.relative_to(root))
    return archive


def _call(function: Callable[[Item], Result], item: Item) -> Result | _Failure:
    try:
        return function(item)
    except MarqueeError as error:
        return _Failure(str(error))


def _unwrap(result: Result | _Failure) -> Result:
    if isinstance(result, _Failure):
        raise SparkError(result.message)
    return result


def sum_group(
    function: Callable[[Item], Sequence[Array]], numbered: tuple[int, Sequence[Item]]
) -> Iterable[tuple[tuple[int, int], tuple[int, Any]]]:
    """Sum the arrays of a group's items; yield slices of the sums with their keys.

    A key is the number of an array and the first index of the slice; the shapes of all arrays, or a
    failure, have the key (-1, 0). A value is the number of the group and the slice.
    """
    number, items = numbered
    sums: list[Array] = []
    for item in items:
        found = _call(function, item)
        if isinstance(found, _Failure):
            yield (-1, 0), (number, found)
            return
        if not sums:
            sums = [np.array(array) for array in found]
        else:
            for total, array in zip(sums, found, strict=True):
                np.add(total, array, out=total)
    yield (-1, 0), (number, [array.shape for array in sums])
    for place, array in enumerate(sums):
        flat = array.reshape(-1)
        for first in range(0, max(1, len(flat)), _SLICE):
            yield (place, first), (number, flat[first : first + _SLICE])


def sum_in_order(parts: Iterable[tuple[int, Any]]) -> Any:
    """Sum the slices of one key in the order of the groups; return the shapes, or a failure."""
    ordered = [part for _, part in sorted(parts, key=lambda part: part[0])]
    for part in ordered:
        if isinstance(part, _Failure):
            return part
    total = ordered[0]
    if isinstance(total, list):  # the shapes, which are equal
        return total
    for part in ordered[1:]:
        total = total + part
    return total


def join_sums(sums: dict[tuple[int, int], Any]) -> list[Array]:
    """Return the arrays whose slices, and shapes, are given by their keys of `sum_group`."""
    slices = [key for key in sorted(sums) if key[0] >= 0]
    return [
        np.concatenate([sums[key] for key in slices if key[0] == number]).reshape(shape)
        for number, shape in enumerate(sums[-1, 0])
    ]


def _describe(error: Exception) -> str:
    """Return the line of an error of Spark that names the cause."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    causes = [line for line in lines if line.startswith("Caused by:")]
    named = [line for line in lines if "Error" in line or "Exception" in line]
    return ((causes or named or lines or [type(error).__name__])[-1])[:300]
