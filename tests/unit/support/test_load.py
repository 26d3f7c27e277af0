"""Which outcomes of a load the container tests accept."""

from collections import Counter

import pytest

from tests.support import load
from tests.support.load import Result, assert_available


@pytest.fixture(autouse=True)
def no_soak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "IS_SOAK", False)


def test_a_tenth_of_the_responses_may_be_late() -> None:
    assert_available(Result(sent=1000, ok=900, late=100))
    with pytest.raises(AssertionError):
        assert_available(Result(sent=1000, ok=899, late=101))


def test_no_other_failure_is_allowed() -> None:
    with pytest.raises(AssertionError):
        assert_available(Result(sent=1000, ok=999, late=0, failures=Counter({"502": 1})))


def test_soak_allows_no_late_response(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "IS_SOAK", True)
    with pytest.raises(AssertionError):
        assert_available(Result(sent=1000, ok=999, late=1))
