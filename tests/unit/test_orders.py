"""Order files: in force for two minutes, once, and only in the form that this program writes."""

import json
import time
from pathlib import Path

import pytest

from app.orders import create_order, read_orders, remove_expired_orders, write_order

LATER = {"expires_at": int(time.time()) + 100}


def test_an_order_is_read_until_it_was_carried_out(tmp_path: Path) -> None:
    assert read_orders(tmp_path / "missing", after="") == []
    first, second = create_order("abort", "r", "why"), create_order("retrain", "", "")
    for order in (second, first):
        write_order(tmp_path, order)
    assert read_orders(tmp_path, after="") == [first, second]
    assert read_orders(tmp_path, after=first.id) == [second]
    assert read_orders(tmp_path, after=second.id) == []
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        f"{order.id}.json" for order in (first, second)
    ]


@pytest.mark.parametrize(
    "change",
    [
        {"expires_at": int(time.time()) - 1}, {"expires_at": int(time.time()) + 9999},
        {"format": 2}, {"action": "reboot"}, {"id": "0000000000000000001"}, {"id": "1"},
        {"release": 7}, {"reason": None}, {"expires_at": "never"}, {"more": 1},
    ],
)  # fmt: skip
def test_any_other_file_is_left_out(tmp_path: Path, change: dict[str, object]) -> None:
    order = create_order("abort", "r", "why")
    write_order(tmp_path, order)
    path = tmp_path / f"{order.id}.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    assert read_orders(tmp_path, after="") == []


def test_files_that_are_none_are_left_out(tmp_path: Path) -> None:
    for number, text in enumerate(("", "[1]", "{", '{"a": 1}')):
        (tmp_path / f"{number}.json").write_text(text)
    (tmp_path / "directory.json").mkdir()
    order = create_order("abort", "r", "why")
    write_order(tmp_path, order)
    path = tmp_path / f"{order.id}.json"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert read_orders(tmp_path, after="") == []
    future = f"{time.time_ns() + 3600 * 10**9}"
    content = {"id": future, "action": "abort", "release": "", "reason": "", **LATER}
    (tmp_path / f"{future}.json").write_text(json.dumps(content))
    assert read_orders(tmp_path, after="") == []


def test_expired_orders_are_removed_and_others_stay(tmp_path: Path) -> None:
    order = create_order("abort", "r", "why")
    write_order(tmp_path, order)
    old = tmp_path / f"{time.time_ns() - 3600 * 10**9}.json"
    old.write_text("{}")
    other = tmp_path / "notes.json"
    other.write_text("{}")
    remove_expired_orders(tmp_path)
    assert sorted(tmp_path.iterdir()) == [tmp_path / f"{order.id}.json", other]
