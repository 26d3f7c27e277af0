import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.provenance.record_format import Answered, answer_frame, bodies, count, frame, parse_answer
from tests.unit.provenance.conftest import answered

ANSWERS = st.builds(
    Answered,
    time=st.integers(0, 2**63),
    user_id=st.integers(0, 10**18 - 1),
    took=st.integers(0, 2**63),
    flags=st.integers(0, 7),
    request_id=st.text("abc0123._-", min_size=1, max_size=64),
    movies=st.binary(max_size=200),
)


@given(st.lists(ANSWERS, max_size=5))
def test_what_was_framed_is_read_back(answers: list[Answered]) -> None:
    data = b"".join(answer_frame(*answer) for answer in answers)
    assert [parse_answer(body) for body, _ in bodies(data)] == answers
    assert count(data) == (len(answers), len(data))


@given(st.integers(0, 10_000))
def test_a_torn_end_is_left_out(cut: int) -> None:
    data = b"".join(answer_frame(*answered(i)) for i in range(50))
    torn = data[: cut % len(data)]
    read = list(bodies(torn))
    assert [parse_answer(body) for body, _ in read] == [answered(i) for i in range(len(read))]
    assert count(torn)[0] == len(read)
    assert len(torn) - count(torn)[1] < len(answer_frame(*answered()))


@pytest.mark.parametrize("place", range(0, 80, 7))
def test_a_changed_byte_is_noticed(place: int) -> None:
    data = bytearray(answer_frame(*answered()))
    data[place] ^= 1
    assert not list(bodies(bytes(data)))


def test_a_body_of_any_kind_has_the_same_frame() -> None:
    assert list(bodies(frame(b"{}"))) == [(b"{}", 8)]
