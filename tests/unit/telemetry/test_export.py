"""Days are exported once each, from a position on, as the database has them."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import polars as pl
import pytest
import sqlalchemy as sa
from click.testing import CliRunner

from app.cli import marquee
from app.forget.forget_user import forget_user
from app.telemetry.errors import TelemetryError
from app.telemetry.export import AnswerExporter
from app.telemetry.exports import ExportDirectory
from tests.support.quality import START, QualityData

DAY_SECONDS = 86_400.0
FIRST_DAY = START.date()
#: 01:00 of the day after the third one.
NOW = datetime.combine(FIRST_DAY + timedelta(days=3), datetime.min.time(), UTC) + timedelta(hours=1)


@pytest.fixture
def data(tmp_path: Path) -> QualityData:
    """Answers on the first and the third day."""
    data = QualityData(tmp_path)
    for version, user, at in ((7, 42, 0), (8, 1000, 60), (8, 42, 2 * DAY_SECONDS)):
        data.answer(version, user, at)
    return data


def export(data: QualityData, out: Path, now: datetime = NOW, days: int = 36_500) -> dict[str, int]:
    result = AnswerExporter(data.engine, ExportDirectory(out)).run(now, days)
    return {name: result[name] for name in ("days", "rows", "removed")}


def read_days(out: Path) -> pl.DataFrame:
    return pl.concat([pl.read_parquet(path) for path in ExportDirectory(out).list_days()])


def test_each_day_that_is_over_is_exported_once(data: QualityData, tmp_path: Path) -> None:
    out = tmp_path / "exports"
    early = NOW - timedelta(seconds=1)
    assert export(data, out, early) == {"days": 1, "rows": 2, "removed": 0}
    assert export(data, out) == {"days": 1, "rows": 1, "removed": 0}
    assert export(data, out) == {"days": 0, "rows": 0, "removed": 0}
    names = [path.name for path in ExportDirectory(out).list_days()]
    assert names == [f"day={FIRST_DAY + timedelta(days=n)}.parquet" for n in (0, 2)]
    assert ExportDirectory(out).read_position() == NOW.date()


def test_rows_are_those_of_the_database(data: QualityData, tmp_path: Path) -> None:
    export(data, tmp_path / "exports")
    rows = read_days(tmp_path / "exports")
    assert rows.select("version", "user_id", "slot", "source").rows() == [
        (7, 42, "slot-7", "personal"),
        (8, 1000, "slot-8", "personal"),
        (8, 42, "slot-8", "personal"),
    ]
    assert rows["answered_at"].dt.replace_time_zone(None)[0] == START
    assert rows["day"][0] == FIRST_DAY
    assert rows["movies"].to_list() == [
        data.lists[version].get(user).text.split(",")
        for version, user in ((7, 42), (8, 1000), (8, 42))
    ]


def test_an_export_that_was_interrupted_continues(
    data: QualityData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = ExportDirectory(tmp_path / "exports")
    exporter = AnswerExporter(data.engine, directory)
    read = exporter._read_day

    def fail(day: date):  # type: ignore[no-untyped-def]
        yield from read(day)
        if day > FIRST_DAY:
            raise OSError("no space left")

    monkeypatch.setattr(exporter, "_read_day", fail)
    with pytest.raises(OSError, match="no space"):
        exporter.run(NOW, 36_500)
    assert directory.read_position() == FIRST_DAY + timedelta(days=1)
    assert [path.name for path in directory.list_days()] == [f"day={FIRST_DAY}.parquet"]
    assert export(data, directory.path) == {"days": 1, "rows": 1, "removed": 0}
    assert not [*directory.path.rglob("*.unfinished")]


def test_old_days_are_removed(data: QualityData, tmp_path: Path) -> None:
    export(data, tmp_path / "exports")
    assert export(data, tmp_path / "exports", days=2)["removed"] == 1
    assert read_days(tmp_path / "exports").height == 1


def test_only_one_export_runs_and_a_damaged_position_is_reported(
    data: QualityData, tmp_path: Path
) -> None:
    directory = ExportDirectory(tmp_path / "exports")
    with directory.lock(), pytest.raises(TelemetryError, match="is being written"):
        export(data, directory.path)
    (directory.path / "position.json").write_text("{}")
    with pytest.raises(TelemetryError, match="is damaged"):
        export(data, directory.path)


def test_a_user_is_removed_from_all_days(data: QualityData, tmp_path: Path) -> None:
    out = tmp_path / "exports"
    export(data, out)
    settings = data.settings.model_copy(
        update={"export_dir": out, "recent_dir": tmp_path / "recent"}
    )
    removed = forget_user(settings, 42)
    assert (removed["exported"], removed["records"]) == (2, 2)
    assert read_days(out)["user_id"].to_list() == [1000]


def test_the_command_exports_what_it_says(data: QualityData, tmp_path: Path) -> None:
    with data.engine.connect() as connection:
        assert connection.scalar(sa.text("select count(*) from reccom")) == 3
    arguments = ["export", "--json", "--out", str(tmp_path / "exports")]
    environment = {**data.environment(), "MARQUEE_PROVENANCE_RETENTION_DAYS": "3650"}
    result = CliRunner().invoke(marquee, arguments, env=environment)
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["rows"] == 3
    builds = pl.read_parquet(tmp_path / "exports/builds.parquet")
    assert sorted(builds["version_number"]) == [7, 8]
