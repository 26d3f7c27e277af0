"""The alert and recording rules, and the series that they name."""

import re
from typing import Any

from ruamel.yaml import YAML

from tests.conftest import ROOT

RULES = ROOT / "monitoring" / "prometheus" / "rules"
_KEYWORDS = {"and", "or", "unless", "bool", "offset", "by", "on", "without", "ignoring"}
_LABEL_LISTS = re.compile(r"\b(by|on|without|ignoring|group_left|group_right)\s*\([^)]*\)")
_RANGES = re.compile(r"\[[^\]]*\]|\boffset\s+\w+|#[^\n]*")
_SELECTOR = re.compile(r"(?<![\w:.])([a-zA-Z_:][\w:]*)\s*(\{[^}]*\})?\s*(\(?)")


def read_rules() -> list[dict[str, Any]]:
    """Return all rules of all files."""
    documents = [YAML(typ="safe").load(file) for file in sorted(RULES.glob("*.yml"))]
    return [rule for doc in documents for group in doc["groups"] for rule in group["rules"]]


def find_selectors(expression: str) -> set[str]:
    """Return the selectors of a PromQL expression: names with their matchers, without ranges."""
    text = _RANGES.sub(" ", _LABEL_LISTS.sub(" ", expression))
    return {
        name + matchers
        for name, matchers, parenthesis in _SELECTOR.findall(text)
        if not parenthesis and name not in _KEYWORDS
    }


def find_named_series() -> dict[str, list[str]]:
    """Return the selectors of all rules, each with the names of its rules.

    Series that recording rules make are left out.
    """
    recorded = {rule["record"] for rule in read_rules() if "record" in rule}
    named: dict[str, list[str]] = {}
    for rule in read_rules():
        for selector in find_selectors(rule["expr"]):
            if selector.partition("{")[0] not in recorded:
                named.setdefault(selector, []).append(rule.get("alert") or rule["record"])
    return named
