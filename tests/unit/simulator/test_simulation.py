from collections import Counter
from datetime import datetime
from itertools import islice, pairwise
from pathlib import Path

import pytest

from app.ingest.log_parser import Account, InvalidLine, Rating, Recommendation, Watch, parse_line
from app.simulator.arrivals import Rates, arrivals
from app.simulator.asking import ModelAnswers
from app.simulator.choice_model import choose
from app.simulator.corruption import DamageRates
from app.simulator.driver import run_alone
from app.simulator.responses import Answer, judge
from app.simulator.simulation import Simulation
from tests.unit.simulator.environments import Kept, run, settings, world


def test_the_same_seed_sends_the_same_lines() -> None:
    assert run()[1] == run()[1]
    assert run()[1] != run(seed=9)[1]


def test_a_run_that_begins_at_another_time_has_other_visits_of_the_same_people() -> None:
    first, second = (
        list(islice(arrivals(world(start=start), Rates()), 50))
        for start in (datetime(2026, 1, 1), datetime(2026, 1, 2))
    )
    assert [a.user_id for a in first] != [a.user_id for a in second]


def test_every_line_is_what_it_was_counted_as() -> None:
    simulation, lines = run(damage=DamageRates(inserted=0.01, random_ids=0.005))
    names = {Watch: "watches", Rating: "ratings", Account: "accounts"}
    for label, line in lines:
        event = parse_line(line)
        found = f"damaged:{event.reason}" if isinstance(event, InvalidLine) else names[type(event)]
        assert found == label, line
    assert simulation.stream.counts == Counter(label for label, _ in lines)
    assert len(set(simulation.stream.counts)) >= 7


def test_movies_are_watched_minute_by_minute_and_then_rated() -> None:
    _, lines = run(damage=DamageRates(inserted=0, random_ids=0))
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


def test_a_time_at_second_0_has_no_seconds_as_often_as_set() -> None:
    for short, expected in ((1.0, {True}), (0.0, {False}), (0.5, {True, False})):
        _, lines = run(days=0.3, damage=DamageRates(0, 0, short))
        times = [line.split(",")[0] for _, line in lines]
        at_zero = {len(time) == 16 for time in times if len(time) == 16 or time.endswith(":00")}
        assert at_zero == expected


def test_people_who_join_say_so_first() -> None:
    simulation, lines = run(rates={"newcomers": 1.0}, damage=DamageRates(0, 0))
    events = [parse_line(line) for _, line in lines]
    seen: set[int] = set()
    for event in events:
        assert not isinstance(event, InvalidLine)
        if isinstance(event, Account):
            assert event.user_id not in seen
        else:
            assert event.user_id in seen
        seen.add(event.user_id)
    assert simulation.stream.counts["accounts"] > 100


def test_no_more_people_come_than_there_are() -> None:
    simulation, _ = run(users=30, rates={"newcomers": 1.0, "rate": 0.05})
    assert simulation.summary()["users"] <= 30


def test_who_asks_when_does_not_depend_on_what_is_answered(shared_model: Path) -> None:
    kept = Kept()
    simulation = Simulation(settings(), [kept])
    run_alone(simulation, ModelAnswers(shared_model), 0.2, lambda: None)
    asked = [line for label, line in kept.lines if label == "recommendations"]
    assert len(asked) > 100
    alone, _ = run()
    assert alone.stream.counts["accounts"] == simulation.stream.counts["accounts"]


def test_more_is_asked_by_day_and_in_bursts() -> None:
    here = world(start=datetime(2026, 1, 1))
    calm = Rates(rate=0.1, rhythm=0.9)
    hours = Counter(int(a.time // 3600) for a in islice(arrivals(here, calm), 8000))
    assert hours[16] > 5 * hours[4]
    wild = Rates(rate=10, bursts=30, burst_factor=10)
    tens = Counter(int(a.due // 10) for a in islice(arrivals(here, wild), 50_000))
    assert max(tens.values()) > 700
    assert sorted(tens.values())[len(tens) // 2] < 150


@pytest.mark.parametrize(
    ("status", "body", "seconds", "outcome"),
    [
        (200, "alien+1979,a_-.*%3a+1999", 0.1, "ok"),
        (200, "alien+1979", 0.601, "late"),
        (503, "alien+1979", 0.1, "status"),
        (200, "", 0.1, "malformed"),
        (200, "alien+1979, b", 0.1, "malformed"),
        (200, "alien+1979\n", 0.1, "malformed"),
        (200, ",".join(["a"] * 21), 0.1, "malformed"),
        (200, "a" * 201, 0.1, "malformed"),
        (200, '["alien+1979"]', 0.1, "malformed"),
    ],
)
def test_an_answer_is_judged_as_the_contract_says(
    status: int, body: str, seconds: float, outcome: str
) -> None:
    assert judge(status, body, seconds, "3").outcome == outcome


@pytest.mark.parametrize(
    "answer",
    [
        Answer("ok", 200, 0.1, ("a+1999", "b+2000")),
        Answer("late", 0, 0.6, detail="no answer, within\n600 ms"),
        Answer("unreachable", 0, 0.01, detail="Connect call failed ('127.0.0.1', 8082)"),
        Answer("status", 502, 0.1, detail="<html>\r\n<b>Bad, Gateway</b>é"),
        Answer("malformed", 200, 0.1, detail="no list"),
    ],
)
def test_every_answer_is_told_in_a_line_of_the_contract(answer: Answer) -> None:
    kept = Kept()
    simulation = Simulation(settings(damage=DamageRates(0, 0)), [kept])
    arrival = next(simulation.arrivals(None))
    simulation.answered(arrival, answer)
    [(label, line)] = kept.lines
    event = parse_line(line)
    assert label == "recommendations"
    assert isinstance(event, Recommendation)
    assert event.movie_ids == answer.movies
    assert event.response_ms == round(answer.seconds * 1000)


def test_the_best_movies_recommended_make_a_better_choice_than_none() -> None:
    here = world()
    gains = []
    for arrival in islice(arrivals(here, Rates(invalid=0)), 300):
        best = here.utilities(arrival.user_id, arrival.time).argsort()[::-1][:20].tolist()
        choice = choose(here, arrival, best, set())
        assert choice.recommended is not None
        assert choice.unaided <= choice.best
        gains.append(choice.recommended - choice.unaided)
    assert sum(gains) / len(gains) > 1


def test_what_is_recommended_changes_nothing_of_the_unaided_choice() -> None:
    here = world()
    for with_list, without in zip(
        islice(arrivals(here, Rates(invalid=0)), 50),
        islice(arrivals(here, Rates(invalid=0)), 50),
        strict=True,
    ):
        helped = choose(here, with_list, list(range(20)), set())
        alone = choose(here, without, [], set())
        assert helped.unaided == alone.unaided == alone.worth
        assert alone.recommended is None


def test_movies_that_are_watched_or_unknown_are_not_chosen_again() -> None:
    here = world()
    arrival = next(arrivals(here, Rates(invalid=0)))
    best = int(here.utilities(arrival.user_id, arrival.time).argmax())
    choice = choose(here, arrival, [best], {best})
    assert choice.movie != best
    assert choice.recommended is None
