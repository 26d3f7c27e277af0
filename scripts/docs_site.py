"""Hooks of MkDocs: pages that are outside of `docs/`, and links that leave it.

The links of the pages are those of the repository, so that they work there, too. A link to a file
that is no page, such as a script, becomes text.
"""

import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[1]
#: Path in the repository -> name of the page.
PAGES = {
    "README.md": "index.md",
    "SECURITY.md": "security.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changelog.md",
    "secrets/README.md": "secrets.md",
    "nginx/tls/README.md": "tls.md",
}
_SOURCES = {page: source for source, page in PAGES.items()}
_LINK = re.compile(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)#\s]+)(#[^)\s]*)?\)")
_CODE = re.compile(r"(^```.*?^```$)", re.MULTILINE | re.DOTALL)


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are outside of `docs/`."""
    for source, page in PAGES.items():
        content = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=content))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Let the links of a page lead to the pages of the site."""
    name = page.file.src_uri
    source = _SOURCES.get(name, f"docs/{name}")
    parts = _CODE.split(markdown)
    return "".join(
        part if part.startswith("```") else _LINK.sub(lambda m: _rewrite(m, source), part)
        for part in parts
    )


def _rewrite(match: re.Match[str], source: str) -> str:
    text, target, anchor = match[1], match[2], match[3] or ""
    if "://" in target:
        return match[0]
    path = (ROOT / source).parent.joinpath(target).resolve().relative_to(ROOT)
    if str(path) in PAGES:
        return f"[{text}]({PAGES[str(path)]}{anchor})"
    if path.parts[0] == "docs":
        return f"[{text}]({Path(*path.parts[1:])}{anchor})"
    return text if (ROOT / path).exists() else match[0]
