"""The ingest commands, on small input and on the real log and tables."""

import gzip
import json
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.support.commands import MARQUEE, invoke, marquee, summary_of

LINES = (
    "2022-11-14T12:24,7,GET /data/m/up+2009/0.mpg\n"
    "2022-11-14T12:24:09,7,GET /rate/up+2009=4\n"
    "2022-11-14T12:24,N7,GET /data/m/up+2009/0.mpg\n"
)


def test_plain_gzip_and_piped_logs_are_collected_together(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(LINES)
    (tmp_path / "b.log.gz").write_bytes(gzip.compress(LINES.replace(",7,", ",8,").encode()))
    files = ["--file", tmp_path / "a.log", "--file", tmp_path / "b.log.gz", "--file", "-"]
    third = LINES.replace(",7,", ",9,").replace("\n", "\r\n").encode()
    summary = summary_of("collect", *files, "--store", tmp_path / "s", stdin=third)
    assert {k: summary[k] for k in ("lines", "watches", "ratings", "rejected", "pairs")} == {
        "lines": 9,
        "watches": 3,
        "ratings": 3,
        "rejected": 3,
        "pairs": 3,
    }
    assert summary["reasons"]["user"] == 3


def test_an_unreadable_file_changes_nothing(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(LINES)
    (tmp_path / "b.log.gz").write_bytes(b"\x1f\x8bnot gzip")
    reasons = {"none.log": b"No such file", "b.log.gz": b"compression", ".": b"directory"}
    for bad, message in reasons.items():
        files = ["--file", tmp_path / "a.log", "--file", tmp_path / bad]
        completed = marquee("collect", *files, "--store", tmp_path / "s")
        assert completed.returncode == 1
        assert b"Error: cannot read " in completed.stderr
        assert message in completed.stderr
        assert not (tmp_path / "s").exists()


def test_a_truncated_file_is_an_error_and_can_be_collected_again(tmp_path: Path) -> None:
    complete = gzip.compress(LINES.encode())
    (tmp_path / "a.log.gz").write_bytes(complete[:-4])
    collect = ["collect", "--file", tmp_path / "a.log.gz", "--store", tmp_path / "s"]
    completed = marquee(*collect)
    assert completed.returncode == 1
    assert b"a.log.gz" in completed.stderr
    (tmp_path / "a.log.gz").write_bytes(complete)
    assert summary_of(*collect)["pairs"] == 1


def test_a_closed_standard_input_does_not_matter_or_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(LINES)
    done = {}
    for name in (tmp_path / "a.log", "-"):
        command = [MARQUEE, "collect", "--file", name, "--store", tmp_path / "s"]
        done[name] = subprocess.run(
            ["bash", "-c", 'exec "$@" <&-', "bash", *command], capture_output=True, check=False
        )
    assert done[tmp_path / "a.log"].returncode == 0, done[tmp_path / "a.log"].stderr
    assert done["-"].returncode == 1
    assert done["-"].stderr == b"Error: standard input is closed\n"


def test_file_and_for_together_are_wrong_usage(tmp_path: Path) -> None:
    completed = invoke("collect", "--file", "-", "--for", "1m", "--store", tmp_path)
    assert completed.returncode == 2
    assert b"cannot be used with --file" in completed.stderr


def test_a_table_is_printed_and_no_progress_bar_without_a_terminal(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_text(LINES)
    completed = marquee("collect", "--file", tmp_path / "a.log", "--store", tmp_path / "s")
    assert completed.stdout.splitlines()[0].split() == [b"lines", b"3"]
    assert completed.stderr == b""


def test_prepare_without_a_store_names_the_command_that_creates_one(tmp_path: Path) -> None:
    completed = invoke("prepare", "--store", tmp_path / "s", "--out", tmp_path / "out")
    assert completed.returncode == 1
    assert b"marquee collect --file LOG" in completed.stderr


@pytest.fixture(scope="module")
def real_store(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with the real log, collected twice."""
    store = tmp_path_factory.mktemp("real") / "store"
    log = shared_data / "movielog/stream.log"
    for _ in range(2):  # collecting it again changes nothing
        summary = summary_of("collect", "--file", log, "--store", store)
        del summary["seconds"], summary["lines_per_second"]
        assert summary == {
            "lines": 50_000,
            "watches": 49_258,
            "ratings": 266,
            "recommendations": 425,
            "accounts": 0,
            "rejected": 51,
            "repaired": 12,
            "reasons": {
                "fields": 0,
                "time": 10,
                "user": 4,
                "request": 3,
                "movie": 30,
                "minute": 4,
                "rating": 0,
            },
            "pairs": 29_960,
        }
    return store


def test_the_real_table_is_imported(real_store: Path, shared_data: Path) -> None:
    table = shared_data / "cinematch/ratings.csv"
    for _ in range(2):
        summary = summary_of("import-ratings", table, "--store", real_store)
        assert (summary["rows"], summary["accepted"], summary["rejected"]) == (37_984, 37_928, 56)
        assert summary["reasons"] == {"fields": 3, "time": 0, "user": 1, "movie": 52, "rating": 0}
        assert (summary["repaired"], summary["ratings"]) == (10, 38_192)


def test_the_real_store_is_prepared(real_store: Path, shared_data: Path, tmp_path: Path) -> None:
    summary_of("import-ratings", shared_data / "cinematch/ratings.csv", "--store", real_store)
    split = ["--out", tmp_path / "out", "--test-share", "0.2"]
    summary = summary_of("prepare", "--store", real_store, *split)
    assert summary == {
        "ratings": 38_190,
        "watches": 29_952,
        "repaired": 22,
        "dropped": 2,
        "impossible_time": 0,
        "split_time": "2023-11-29T18:57:11",
        "train": {"ratings": 30_549, "watches": 29_952},
        "test": {"ratings": 7_641, "watches": 0},
    }


def test_movielens_needs_a_scale_with_half_stars(shared_data: Path, tmp_path: Path) -> None:
    table = shared_data / "ml-latest-small/ratings.csv"
    summary = summary_of(
        "import-ratings", table, "--store", tmp_path / "s", MARQUEE_RATING_MIN="0.5"
    )
    assert (summary["accepted"], summary["repaired"], summary["ratings"]) == (100_004, 0, 100_004)
    without_scale = summary_of("import-ratings", table, "--store", tmp_path / "t")
    assert without_scale["reasons"]["rating"] == 1_101


def test_control_characters_of_a_rejected_row_are_not_printed(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text(
        "user_id,movie_id,rating,time\n1,a\x1b[31mx,3,\n\x1b]0;title\x07,b,3,\n7,c,3,\n"
    )
    arguments = ["import-ratings", "--store", tmp_path / "s", tmp_path / "r.csv"]
    result = marquee(*arguments, MARQUEE_LOG_FORMAT="terminal")
    assert rb"1,a\x1b[31mx,3," in result.stderr
    assert rb"\x1b]0;title\x07,b,3," in result.stderr
    assert b"\x1b" not in result.stdout + result.stderr


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("import-ratings --store s <(cat r.csv) --json", {"rows": 2, "accepted": 2}),
        ("cat r.csv | $marquee import-ratings --store s /dev/stdin --json", {"rows": 2}),
        ("cat r.csv | $marquee import-ratings --store s - --json", {"rows": 2}),
        ("gzip -c r.csv | $marquee import-ratings --store s - --json", {"rows": 2}),
        ("collect --store s --file <(cat l.log) --json", {"lines": 3, "watches": 1}),
    ],
)
def test_pipes_are_read_like_files(tmp_path: Path, command: str, expected: dict[str, int]) -> None:
    (tmp_path / "r.csv").write_text("userId,movieId,rating\n1,up+2009,4\n2,up+2009,3\n")
    (tmp_path / "l.log").write_text(LINES)
    line = command if "$marquee" in command else f"$marquee {command}"
    done = subprocess.run(
        ["bash", "-c", line.replace("$marquee", MARQUEE)],
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    summary = json.loads(done.stdout)
    assert {name: summary[name] for name in expected} == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", b"no rows"),
        ("user,movie,rating\n1,up+2009,9\n2,up+2009,8\n", b"MARQUEE_RATING_MIN"),
        ("1 up+2009 4\n2 up+2009 4\n", b"another delimiter"),
        ("user,movie,rating\n1,Up (2009),4\n", b"movie ids consist of"),
    ],
)
def test_a_table_of_which_no_row_is_taken_is_an_error(
    tmp_path: Path, content: str, message: bytes
) -> None:
    (tmp_path / "r.csv").write_text(content)
    done = invoke("import-ratings", "--store", tmp_path / "s", tmp_path / "r.csv", "--json")
    assert (done.returncode, done.stdout) == (1, b"")
    assert message in done.stderr


def test_a_log_of_which_no_line_is_taken_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "l.log").write_text("user,movie,rating\n1,up+2009,4\n")
    done = invoke("collect", "--store", tmp_path / "s", "--file", tmp_path / "l.log")
    assert done.returncode == 1
    assert b"none of 2 lines was ingested; 2 were rejected for reason time" in done.stderr


def test_a_column_that_looks_like_a_time_is_reported(tmp_path: Path) -> None:
    (tmp_path / "r.csv").write_text("user,movie,rating,reviewed\n1,up+2009,4,2005-09-06\n")
    done = marquee("import-ratings", "--store", tmp_path / "s", tmp_path / "r.csv")
    assert done.returncode == 0
    assert b"looks like a time and is ignored" in done.stderr
    assert b"reviewed" in done.stderr


def test_a_log_of_repairable_lines_only_is_ingested(tmp_path: Path) -> None:
    line = "2022-11-14T12:24,{},GET /data/m/{}/0.mpg\n"
    (tmp_path / "a.log").write_text(line.format(1, "up+2009") + line.format(2, "up+2009"))
    (tmp_path / "b.log").write_text(line.format(3, "u p+2009"))
    for name in ("a.log", "b.log"):
        summary = summary_of("collect", "--store", tmp_path / "s", "--file", tmp_path / name)
    assert (summary["lines"], summary["rejected"], summary["repaired"]) == (1, 1, 1)


def test_impossible_times_are_rejected_on_arrival(tmp_path: Path) -> None:
    times = ["2022-11-14T12:24", "2926-11-14T12:24", "1026-11-14T12:24", "1989-12-31T23:59:59"]
    lines = [f"{time},7,GET /data/m/up+2009/{n}.mpg\n" for n, time in enumerate(times)]
    lines += [f"{time},7,GET /rate/alien+1979=4\n" for time in times]
    (tmp_path / "l.log").write_text("".join(lines))
    (tmp_path / "r.csv").write_text(
        "user,movie,rating,time\n1,up+2009,4,978300760\n2,up+2009,4,2926-01-01\n3,up+2009,4,1\n"
        "4,up+2009,4,40000000000\n5,up+2009,4,\n"
    )
    summary = summary_of("collect", "--store", tmp_path / "s", "--file", tmp_path / "l.log")
    assert (summary["watches"], summary["ratings"], summary["reasons"]["time"]) == (1, 1, 6)
    command = ["import-ratings", "--store", tmp_path / "s", tmp_path / "r.csv"]
    summary = summary_of(*command)
    assert (summary["accepted"], summary["reasons"]["time"]) == (2, 3)
    assert summary_of(*command, MARQUEE_MIN_EVENT_YEAR="1970")["reasons"]["time"] == 2


def test_the_streams_zone_narrows_the_limit(tmp_path: Path) -> None:
    def local(hours: float) -> str:
        return (datetime.now(UTC) + timedelta(hours=hours)).strftime("%Y-%m-%dT%H:%M:%S")

    lines = [f"{local(hours)},7,GET /data/m/up+2009/0.mpg\n" for hours in (-0.1, 5.4, 5.8, 23)]
    (tmp_path / "l.log").write_text("".join(lines))
    for zone, rejected in (("", 0), ("Asia/Kolkata", 2), ("UTC", 3)):
        summary = summary_of(
            "collect", "--store", tmp_path / "s", "--file", tmp_path / "l.log",
            MARQUEE_STREAM_TIME_ZONE=zone,
        )  # fmt: skip
        assert summary["reasons"]["time"] == rejected, zone
