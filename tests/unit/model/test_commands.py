import json
from pathlib import Path

from click.testing import CliRunner

from app.cli import marquee
from tests.conftest import MOVIES


def run(*arguments: object, stdin: str | None = None) -> tuple[int, str, str]:
    result = CliRunner().invoke(marquee, [str(a) for a in arguments], input=stdin)
    return result.exit_code, result.stdout, result.stderr


def test_recommend_prints_one_line_per_user(shared_model: Path) -> None:
    code, out, _ = run("recommend", "--model", shared_model, "--n", 2, 42, 43)
    assert code == 0
    assert out == f"42\t{MOVIES[1]},{MOVIES[2]}\n43\t{MOVIES[59]},{MOVIES[58]}\n"


def test_recommend_reads_users_from_standard_input(shared_model: Path) -> None:
    code, out, _ = run("recommend", "--model", shared_model, "--users-file", "-", stdin="7\n\n8\n")
    assert code == 0
    assert [line.split("\t")[0] for line in out.splitlines()] == ["7", "8"]


def test_recommend_prints_json(shared_model: Path) -> None:
    _, out, _ = run("recommend", "--model", shared_model, "--json", 7)
    assert json.loads(out) == {"user_id": 7, "movie_ids": MOVIES[:3], "source": "personal"}


def test_recommend_without_users_exits_with_status_2(shared_model: Path) -> None:
    assert run("recommend", "--model", shared_model)[0] == 2


def test_recommend_reports_the_line_of_an_invalid_user_id(shared_model: Path) -> None:
    code, _, err = run("recommend", "--model", shared_model, "--users-file", "-", stdin="7\nx\n")
    assert code == 1
    assert "line 2" in err


def test_recommend_exits_with_status_1_for_a_missing_model(tmp_path: Path) -> None:
    code, _, err = run("recommend", "--model", tmp_path / "none", 1)
    assert (code, "no such model directory" in err) == (1, True)


def test_verify_prints_version_users_and_movies(shared_model: Path) -> None:
    code, out, _ = run("verify", shared_model)
    assert code == 0
    assert "version 3, 4 users, 60 movies" in out


def test_verify_exits_with_status_1_for_a_defective_model(model: Path) -> None:
    (model / "lists" / "users.npy").unlink()
    code, out, err = run("verify", model, "--json")
    assert (code, out) == (1, "")
    assert "users.npy: missing" in err
