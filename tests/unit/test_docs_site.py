"""The documentation site: every page is in its navigation. `make docs-site` checks the links."""

from typing import Any

from ruamel.yaml import YAML

from tests.conftest import ROOT

SITE: dict[str, Any] = YAML(typ="safe").load(ROOT / "mkdocs.yml")
#: Pages that scripts/docs_site.py adds from outside of `docs/`.
ADDED = {
    "index.md", "security.md", "contributing.md", "changelog.md", "secrets.md", "tls.md",
}  # fmt: skip


def test_every_page_is_in_the_navigation_once() -> None:
    named = [page for section in SITE["nav"] for pages in section.values() for page in pages]
    assert len(set(named)) == len(named)
    assert set(named) == {path.name for path in (ROOT / "docs").glob("*.md")} | ADDED


def test_a_warning_fails_the_build_and_nothing_is_loaded_from_elsewhere() -> None:
    assert SITE["strict"]
    assert SITE["theme"]["font"] is False
    assert set(SITE["validation"]["links"].values()) == {"warn"}
