"""The documentation says what the code does."""

import re
from pathlib import Path

import pytest

from app import docs_generator
from tests.conftest import ROOT


@pytest.mark.parametrize("name", docs_generator.pages())
def test_the_reference_is_up_to_date(name: str) -> None:
    assert (ROOT / name).read_text() == docs_generator.pages()[name], "run `make docs`"


@pytest.mark.parametrize("page", [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))])
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)#]+)", page.read_text()):
        assert link.startswith("http") or (page.parent / link).exists(), link


def test_the_readme_fits_one_screen() -> None:
    assert len((ROOT / "README.md").read_text().splitlines()) <= 60
