from collections import Counter
from datetime import datetime
from itertools import islice, pairwise
from pathlib import Path

import pytest

from app.ingest.log_parser import Account, InvalidLine, Rating, Recommendation, Watch, parse_line
from app.simulator.arrivals import ArrivalSettings, generate_arrivals
from app.simulator.corruption import CorruptionRates
from app.simulator.responses import Response, classify_response
from tests.support.simulator import (
    NO_CORRUPTION,
    make_environment,
    make_simulation,
    run_simulation,
)


def test_the_same_seed_writes_the_same_lines() -> None:
    assert run_simulation()[1] == run_simulation()[1]
    assert run_simulation()[1] != run_simulation(seed=9)[1]


def test_another_start_has_other_requests_of_the_same_users() -> None:
    first, second = (
        list(islice(generate_arrivals(make_environment(start=start), ArrivalSettings()), 50))
        for start in (datetime(2026, 1, 1), datetime(2026, 1, 2))
    )
    assert [a.user_id for a in first] != [a.user_id for a in second]


def test_every_line_is_counted_under_what_the_parser_finds_in_it() -> None:
    corruption = CorruptionRates(inserted=0.01, random_ids=0.005)
    simulation, lines = run_simulation(corruption=corruption)
    kinds = {Watch: "watches", Rating: "ratings", Account: "accounts"}
    for label, line in lines:
        event = parse_line(line)
        found = f"rejected:{event.reason}" if isinstance(event, InvalidLine) else kinds[type(event)]
        assert found == label, line
    assert simulation.log_writer.counts == Counter(label for label, _ in lines)
    assert len(simulation.log_writer.counts) >= 7


def test_movies_are_watched_minute_by_minute_and_then_rated() -> None:
    _, lines = run_simulation(corruption=NO_CORRUPTION)
    events = [parse_line(line) for _, line in lines]
    first = next(event for event in events if isinstance(event, Rating))
    minutes = [
        (event.minute, event.time)
        for event in events
        if isinstance(event, Watch)
        and (event.user_id, event.movie_id) == (first.user_id, first.movie_id)
    ]
    assert [minute for minute, _ in minutes] == list(range(len(minutes)))
    assert {(b[1] - a[1]).total_seconds() for a, b in pairwise(minutes)} <= {60.0}
    assert first.time > minutes[-1][1]


def test_the_set_share_of_times_at_second_0_omits_the_seconds() -> None:
    for short_times, expected in ((1.0, {True}), (0.0, {False}), (0.5, {True, False})):
        _, lines = run_simulation(days=0.3, corruption=CorruptionRates(0, 0, short_times))
        times = [line.split(",")[0] for _, line in lines]
        is_short = {len(time) == 16 for time in times if len(time) == 16 or time.endswith(":00")}
        assert is_short == expected


def test_a_new_user_has_an_account_line_before_all_others() -> None:
    simulation, lines = run_simulation(arrivals={"new_users": 1.0}, corruption=NO_CORRUPTION)
    seen: set[int] = set()
    for event in (parse_line(line) for _, line in lines):
        assert not isinstance(event, InvalidLine)
        assert isinstance(event, Account) == (event.user_id not in seen)
        seen.add(event.user_id)
    assert simulation.log_writer.counts["accounts"] > 100


def test_the_number_of_users_is_limited() -> None:
    simulation, _ = run_simulation(max_users=30, arrivals={"new_users": 1.0, "rate": 0.05})
    assert simulation.summary()["users"] <= 30


def test_arrivals_do_not_depend_on_the_responses(shared_model: Path) -> None:
    with_model, lines = run_simulation(model=shared_model)
    assert len([line for label, line in lines if label == "recommendations"]) > 100
    without_model, _ = run_simulation()
    accounts = [s.log_writer.counts["accounts"] for s in (with_model, without_model)]
    assert accounts[0] == accounts[1]


def test_the_request_rate_follows_the_daily_cycle_and_bursts() -> None:
    environment = make_environment(start=datetime(2026, 1, 1))
    diurnal = ArrivalSettings(rate=0.1, diurnal=0.9)
    hours = Counter(
        int(a.time // 3600) for a in islice(generate_arrivals(environment, diurnal), 8000)
    )
    assert hours[16] > 5 * hours[4]
    bursty = ArrivalSettings(rate=10, bursts=30, burst_factor=10)
    windows = Counter(
        int(a.due // 10) for a in islice(generate_arrivals(environment, bursty), 50_000)
    )
    assert max(windows.values()) > 700
    assert sorted(windows.values())[len(windows) // 2] < 150


@pytest.mark.parametrize(
    ("status", "body", "seconds", "outcome"),
    [
        (200, "alien+1979,a_-.*%3a+1999", 0.1, "ok"),
        (200, "alien+1979", 0.601, "timeout"),
        (503, "alien+1979", 0.1, "http_error"),
        (200, "", 0.1, "malformed"),
        (200, "alien+1979, b", 0.1, "malformed"),
        (200, "alien+1979\n", 0.1, "malformed"),
        (200, ",".join(["a"] * 21), 0.1, "malformed"),
        (200, "a" * 201, 0.1, "malformed"),
        (200, '["alien+1979"]', 0.1, "malformed"),
    ],
)
def test_a_response_is_classified_by_the_contract(
    status: int, body: str, seconds: float, outcome: str
) -> None:
    assert classify_response(status, body, seconds, "3").outcome == outcome


@pytest.mark.parametrize(
    "response",
    [
        Response("ok", 200, 0.1, ("a+1999", "b+2000")),
        Response("timeout", 0, 0.6, detail="no response, within\n600 ms"),
        Response("connection_error", 0, 0.01, detail="Connect call failed ('127.0.0.1', 8082)"),
        Response("http_error", 502, 0.1, detail="<html>\r\n<b>Bad, Gateway</b>é"),
        Response("malformed", 200, 0.1, detail="no list"),
    ],
)
def test_every_response_is_logged_in_the_form_of_the_contract(response: Response) -> None:
    simulation, sink = make_simulation(corruption=NO_CORRUPTION)
    simulation.handle_response(next(simulation.arrivals(None)), response)
    [(label, line)] = sink.lines
    event = parse_line(line)
    assert label == "recommendations"
    assert isinstance(event, Recommendation)
    assert event.movie_ids == response.movies
    assert event.response_ms == round(response.duration_seconds * 1000)
