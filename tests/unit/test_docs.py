"""The documentation agrees with the code."""

import re
from pathlib import Path

import pytest

from app import docs_generator
from tests.conftest import ROOT


@pytest.mark.parametrize("name", docs_generator.pages())
def test_generated_pages_are_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text() == docs_generator.pages()[name], "run `make docs`"


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
def test_links_between_pages_exist(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
        assert link.startswith("http") or (page.parent / link).exists(), link


def test_the_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 60


@pytest.mark.parametrize("page", ["SECURITY.md", "docs/hardening.md"])
def test_the_tests_that_a_page_names_exist(page: str) -> None:
    names = re.findall(r"`(tests/[^`]+)`", (ROOT / page).read_text())
    assert names
    for name in names:
        path, _, function = name.partition("::")
        assert (ROOT / path).exists(), name
        assert not function or f"def {function}(" in (ROOT / path).read_text(), name
