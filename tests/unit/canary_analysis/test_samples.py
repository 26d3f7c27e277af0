"""Lines of samples."""

import json

import numpy as np
import pytest

from app.canary_analysis.errors import AnalysisInputError
from app.canary_analysis.samples import SampleTable, parse_samples
from tests.support.canary_samples import encode, make_line, make_lines

ISSUE_LINE = (
    b'{"minute": 0, "slot": "canary", "version": "7", "status": {"200": 48, "500": 0, "404": 1},'
    b' "buckets": {"0.005": 40, "0.25": 48, "+Inf": 48}, "source": {"personal": 30, "popular": 12,'
    b' "recent": 6}, "started": 49, "up": 12, "scrapes": 12}\n'
)


def test_a_line_becomes_counts() -> None:
    table = SampleTable()
    table.add(parse_samples(ISSUE_LINE))
    found = table.observations(2)
    assert found.canary.answered.tolist() == [[49, 0]]
    assert found.canary.client_errors.tolist() == [[1, 0]]
    assert found.canary.buckets is not None
    assert found.canary.popular is not None
    assert found.canary.buckets[0, 0].tolist() == [40, 8, 0]
    assert found.canary.popular.tolist() == [[12, 0]]
    assert found.canary.recent is not None
    assert found.canary.recent.tolist() == [[6, 0]]
    assert found.canary.recent_unused is None
    assert found.canary.reached.tolist() == [[12, 0]]
    assert found.stables.slots == 0


def test_a_line_survives_being_stored() -> None:
    (sample,) = parse_samples(ISSUE_LINE)
    assert parse_samples(sample.to_json().encode()) == [sample]
    (sample,) = parse_samples(ISSUE_LINE.replace(b'"started"', b'"recent_unused": 3, "started"'))
    assert parse_samples(sample.to_json().encode()) == [sample]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"minute": -1}, "minute is -1"),
        ({"minute": 1.5}, "minute is 1.5"),
        ({"minute": True}, "minute is true"),
        ({"slot": ""}, "slot is not a name"),
        ({"status": {"200": -1}}, "status 200 is -1"),
        ({"status": {"ok": 1}}, "not a status code"),
        ({"status": None}, "status is not a JSON object"),
        ({"up": 13}, "more than the 12 scrapes"),
        ({"buckets": {"0.1": 5, "+Inf": 4}}, "not cumulative"),
        ({"buckets": {"0.1": 5}}, "+Inf is missing"),
        ({"buckets": {"fast": 5, "+Inf": 5}}, "not a number of seconds"),
        ({"started": "many"}, "started is"),
        ({"source": [1]}, "source is not a JSON object"),
        ({"recent_unused": -1}, "recent_unused is -1"),
        ({"seconds": -0.1}, "seconds is -0.1, not from 0"),
        ({"seconds": 1e300}, "seconds is 1e+300, not from 0"),
        ({"buckets": 5}, "buckets is not a JSON object"),
        ({"buckets": False}, "buckets is not a JSON object"),
        ({"version": True}, "version is neither"),
        ({"minute": 100_000}, "minute 100000 is too large"),
        ({"status": {"200": 10**13}}, "status 200 is 10000000000000"),
        ({"status": {"200": float("nan")}}, "status 200 is NaN"),
        ({"status": {"200": float("inf")}}, "status 200 is Infinity"),
    ],
)
def test_a_wrong_line_is_named(change: dict[str, object], message: str) -> None:
    lines = [make_line(0, "stable-1"), make_line(0, "canary") | change]
    with pytest.raises(AnalysisInputError, match="line 2"):
        parse_samples(encode(lines))
    with pytest.raises(AnalysisInputError, match=message.replace("+", r"\+")):
        parse_samples(encode(lines))


@pytest.mark.parametrize("text", [b"[1]\n", b"nonsense\n", b'{"minute": 1\n', b"\xff\xfe\x00"])
def test_what_is_no_json_object_is_refused(text: bytes) -> None:
    with pytest.raises(AnalysisInputError, match="samples"):
        parse_samples(text)


def test_two_different_samples_of_a_minute_are_refused() -> None:
    lines = [make_line(0, "canary"), make_line(0, "canary", requests=3)]
    with pytest.raises(AnalysisInputError, match=r"line 2: .* 'canary' differs from line 1"):
        parse_samples(encode(lines))


def test_the_same_line_twice_counts_once() -> None:
    table = SampleTable()
    table.add(parse_samples(encode([make_line(0, "canary"), make_line(0, "canary")])))
    assert table.observations(1).canary.answered.tolist() == [[48]]


def test_a_known_sample_stays() -> None:
    table = SampleTable()
    table.add(parse_samples(encode([make_line(0, "canary")])))
    assert table.add(parse_samples(encode([make_line(0, "canary", requests=3)]))) == []
    assert table.observations(1).canary.answered.tolist() == [[48]]


def test_samples_of_an_earlier_version_in_the_canary_slot_are_left_out() -> None:
    lines = [make_line(0, "canary", version="6"), make_line(1, "canary")]
    table = SampleTable()
    table.add(parse_samples(encode(lines)))
    assert table.observations(2).canary.answered.tolist() == [[0, 48]]


def test_slots_with_different_buckets_are_compared_at_common_bounds() -> None:
    lines = [
        make_line(0, "canary", buckets={"0.005": 40, "0.1": 41, "0.25": 48, "+Inf": 48}),
        make_line(0, "stable-1", buckets={"0.005": 90, "0.25": 96, "+Inf": 96}),
    ]
    table = SampleTable()
    table.add(parse_samples(encode(lines)))
    found = table.observations(1)
    assert found.bounds.tolist() == [0.005, 0.25]
    assert found.canary.buckets is not None
    assert found.canary.buckets[0, 0].tolist() == [40, 8, 0]


def test_what_the_stables_do_not_export_is_none() -> None:
    lines = make_lines(2)
    for line in lines:
        if line["slot"] != "canary":
            del line["started"], line["source"]
    table = SampleTable()
    table.add(parse_samples(encode(lines)))
    found = table.observations(2)
    assert found.stables.started is None
    assert found.stables.popular is None
    assert found.canary.started is not None


def test_numbers_beyond_64_bits_are_refused() -> None:
    line = make_line(0, "canary") | {"started": 10**30}
    with pytest.raises(AnalysisInputError, match="started"):
        parse_samples(json.dumps(line).encode())


def test_the_largest_counts_of_the_longest_window_do_not_overflow() -> None:
    # At most 10**12 of each of a few statuses in each of 100,000 minutes.
    assert np.iinfo(np.int64).max > 10**12 * 100_000 * 60
