from contextlib import closing
from pathlib import Path

from app.recent_activity.journal import Journal, Record

WRITES = [(5, b"abc"), (90_000, b""), (1, bytes(range(256)))]


def records(path: Path, seed: int = 1) -> list[Record]:
    with closing(Journal(path, seed)) as journal:
        return list(journal.read_records())


def test_records_are_read_as_they_were_written(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with closing(Journal(path, 1)) as journal:
        for sequence in (7, 8, 9):
            journal.append(sequence, WRITES)
    assert records(path) == [(sequence, WRITES) for sequence in (7, 8, 9)]
    assert records(path, seed=2) == []


def test_a_record_counts_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with closing(Journal(path, 1)) as journal:
        journal.append(7, WRITES)
        first = journal.size
        journal.append(8, WRITES)
    whole = path.read_bytes()
    for end in range(first, len(whole)):
        path.write_bytes(whole[:end])
        assert [record.sequence for record in records(path)] == [7], end
    for at in range(first, len(whole), 7):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert [record.sequence for record in records(path)] == [7], at


def test_the_rest_of_an_older_record_does_not_follow_a_newer_one(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with closing(Journal(path, 1)) as journal:
        for sequence in (1, 2, 3):
            journal.append(sequence, WRITES)
        journal.restart()
        journal.append(4, WRITES)
        assert [record.sequence for record in journal.read_records()] == [4]
        journal.erase()
        assert list(journal.read_records()) == []
