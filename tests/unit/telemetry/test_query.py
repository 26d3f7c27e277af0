"""Queries read exports and store, and can do nothing else."""

import json
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from app.cli import marquee
from app.telemetry.export import AnswerExporter
from app.telemetry.exports import ExportDirectory
from app.telemetry.query import QueryLimits, run_query
from tests.support.quality import QualityData
from tests.support.questions import read_questions


@pytest.fixture(scope="module")
def directories(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Exports and a store, in two segments, one watch of which overlaps."""
    data = QualityData(tmp_path_factory.mktemp("query"))
    for version, user, at in ((7, 42, 0), (8, 1000, 60), (8, 42, 90_000)):
        movies = data.answer(version, user, at)
        data.watch(user, movies[0], at + 600, minutes=3)
        data.commit_watches()
    exports = data.settings.store_dir.parent / "exports"
    AnswerExporter(data.engine, ExportDirectory(exports)).run(datetime.now(UTC), 36_500)
    return exports, data.settings.store_dir


def run(directories: tuple[Path, Path], sql: str, *options: str, status: int = 0) -> str:
    paths = ["--exports", str(directories[0]), "--store", str(directories[1])]
    result = CliRunner().invoke(marquee, ["query", sql, *paths, *options])
    assert result.exit_code == status, result.output
    return result.stdout if status == 0 else result.output


def ask(directories: tuple[Path, Path], sql: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in run(directories, sql, "--json").splitlines()]


def test_there_are_ten_questions() -> None:
    assert len(read_questions()) == 10


@pytest.mark.parametrize("number", range(10))
def test_each_question_of_the_page_is_answered(directories: tuple[Path, Path], number: int) -> None:
    rows = ask(directories, read_questions()[number])
    assert rows
    if number == 0:
        assert [(row["version"], row["answers"]) for row in rows] == [(7, 1), (8, 2)]
    if number == 9:
        assert [row["watched"] for row in rows] == [3]


def test_rows_of_the_store_are_merged(directories: tuple[Path, Path]) -> None:
    rows = ask(directories, "SELECT user_id, minutes FROM watches ORDER BY first_time")
    assert rows == [{"user_id": u, "minutes": 3} for u in (42, 1000, 42)]


def test_a_table_is_printed_for_people(directories: tuple[Path, Path]) -> None:
    sql = "SELECT version, count(*) AS answers FROM answers GROUP BY ALL ORDER BY ALL"
    assert run(directories, sql).splitlines() == [
        "version  answers",
        "      7        1",
        "      8        2",
    ]


def test_rows_beyond_the_limit_are_not_printed(directories: tuple[Path, Path]) -> None:
    paths = ["--exports", str(directories[0]), "--store", str(directories[1])]
    arguments = ["query", "FROM range(5)", "--limit", "2", *paths]
    result = CliRunner().invoke(marquee, arguments)
    assert result.stdout.split() == ["range", "0", "1"]
    assert "only the first 2 rows" in result.stderr


def test_without_exports_and_store_the_tables_are_empty(tmp_path: Path) -> None:
    nothing = tmp_path / "a", tmp_path / "b"
    sql = "SELECT (SELECT count(*) FROM answers) + (SELECT count(*) FROM watches) AS n"
    assert ask(nothing, sql) == [{"n": 0}]


@pytest.mark.parametrize(
    "sql",
    [
        "COPY (SELECT 1) TO 'out.csv'",
        "SELECT 1; SELECT 2",
        "CREATE TABLE t AS SELECT 1",
        "DROP VIEW answers",
        "SET threads = 8",
        "ATTACH 'other.db'",
        "INSTALL httpfs",
        "",
    ],
)
def test_other_statements_are_refused(directories: tuple[Path, Path], sql: str) -> None:
    assert "not a query" in run(directories, sql, status=1)


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM read_text('/proc/self/environ')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM 'https://example.com/a.parquet'",
        "SELECT * FROM read_text('/proc/{process}/fd/{descriptor}')",
        "SELECT * FROM read_text('/proc/{process}/fd/../environ')",
    ],
)
def test_no_other_file_can_be_read(directories: tuple[Path, Path], sql: str) -> None:
    with Path("/etc/hostname").open() as other:
        names = {"process": os.getpid(), "descriptor": other.fileno()}
        assert "Permission Error" in run(directories, sql.format(**names), status=1)


def test_an_error_in_a_query_is_one_sentence(directories: tuple[Path, Path]) -> None:
    assert "Referenced column" in run(directories, "SELECT nothing FROM answers", status=1)


def test_a_query_is_stopped_after_its_time(directories: tuple[Path, Path]) -> None:
    sql = "SELECT count(*) FROM range(10000000) a, range(10000000) b WHERE a.range + b.range < 0"
    output = run(directories, sql, "--timeout", "0.5", status=1)
    assert "was stopped after 0.5 s" in output


def test_a_query_that_needs_too_much_memory_is_stopped(directories: tuple[Path, Path]) -> None:
    sql = "SELECT list(range || 'x') FROM range(20000000)"
    output = run(directories, sql, "--memory-mb", "64", "--temp-mb", "1", status=1)
    assert "more than 64 MiB of memory" in output


def test_files_that_are_replaced_meanwhile_are_still_read(
    directories: tuple[Path, Path], tmp_path: Path
) -> None:
    """Exports and compaction replace files by renaming."""
    exports = tmp_path / "exports"
    (exports / "answers").mkdir(parents=True)
    for path in (directories[0] / "answers").iterdir():
        (exports / "answers" / path.name).write_bytes(path.read_bytes())
    limits = QueryLimits(128, 60, tmp_path / "temp", 64)
    with run_query("FROM answers", exports, tmp_path / "none", limits) as result:
        for path in (exports / "answers").iterdir():
            path.unlink()
        assert len([*result.rows]) == 3
