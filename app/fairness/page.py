"""The fairness report as Markdown, for people."""

from collections.abc import Iterator
from typing import Any

from app.fairness.users_side import METRICS
from app.terminal_text import escape_control_characters

_MAX_NAME_LENGTH = 60


def write_page(report: dict[str, Any]) -> str:
    """Return the page of a report, as `make_report` returns it."""
    return "\n".join(_write_report(report)) + "\n"


def write_comparison(comparison: dict[str, Any]) -> str:
    """Return the page of a comparison, as `compare_with_model` returns it."""
    limit = comparison["max_regression"]
    lines = [
        "# Groups of users beside the model in production",
        "",
        "nDCG of both models for the same users and events, newer than those that either was "
        f"trained on. A group is worse where its nDCG is lower by more than {limit:.0%}, beyond "
        "chance and after the correction for the number of groups.",
        "",
        "| attribute | group | users | before | now | ratio | p, corrected | worse |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in comparison["groups"]:
        cells = (
            row["attribute"],
            _name(row["group"]),
            f"{row['users']:,}",
            _number(row["before"]),
            _number(row["after"]),
            _span(*row["ratio"]),
            f"{row['corrected_p_value']:.3f}",
            "**yes**" if row["worse"] else "no",
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines += _compare_movies(comparison["movies_side"])
    return "\n".join(lines) + "\n"


def _compare_movies(sides: dict[str, Any]) -> Iterator[str]:
    """What both models show to the same users."""
    yield from ("", "## Movies", "", "| | before | now |", "|---|---|---|")
    before, after = sides["before"], sides["after"]
    yield f"| movies | {before['movies']:,} | {after['movies']:,} |"
    for key, title in (("never_shown", "shown to none of these users"), ("gini", "Gini")):
        yield f"| {title} | {_number(before[key])} | {_number(after[key])} |"
    cells = (_span(*(side["similarity"][end] for end in ("value", "low", "high")))
             for side in (before, after))  # fmt: skip
    yield f"| two users' lists have in common | {' | '.join(cells)} |"
    rows = [side["by_class"]["popularity"] for side in (before, after)]
    for one, other in zip(*rows, strict=True):
        shown = (_span(*(row["shown"][end] for end in ("value", "low", "high")))
                 for row in (one, other))  # fmt: skip
        yield f"| shown: {one['class']} by popularity | {' | '.join(shown)} |"


def summarize(report: dict[str, Any]) -> str:
    """Return the result of a report in one sentence, for the message of a version."""
    found = find_differences(report, "adjusted") or []
    groups = sum(len(attribute["groups"]) for attribute in report["users_side"])
    worse = [text for text, metric, value in found if metric == "ndcg" and value < 0]
    return f"{groups} groups of users, nDCG at equal activity lower in " + (
        f"{len(worse)}: {', '.join(worse)}" if worse else "none of them"
    )


def find_differences(report: dict[str, Any], kind: str) -> list[tuple[str, str, float]]:
    """Return (group, metric, difference) of the differences of one kind beyond chance."""
    return [
        (f"{attribute['attribute']} {_name(group['group'])}", metric, group[metric][kind]["value"])
        for attribute in report["users_side"]
        for group in attribute["groups"]
        for metric in METRICS
        if group[metric][kind] and group[metric][kind]["differs"]
    ]


def _write_report(report: dict[str, Any]) -> Iterator[str]:
    confidence, k = f"{1 - report['significance']:.0%}", report["k"]
    yield "# Whom this version serves how well, and which movies it shows"
    yield ""
    yield (
        f"The first {k} recommended movies of {report['users']:,} users with held-out events. "
        f"Intervals: {confidence}, {report['resamples']:,} bootstrap samples of users. Groups of "
        f"fewer than {report['min_users']} users are not shown. docs/fairness.md explains the "
        "metrics and tests."
    )
    missing = {"gender", "age", "occupation"} - set(report["attributes"])
    if missing:
        yield ""
        names = ", ".join(sorted(missing))
        yield f"Not known of the users: {names} (`marquee enrich` collects them)."
    yield ""
    yield "## Differences beyond chance"
    yield ""
    for kind, title in (("difference", "as they are"), ("adjusted", "at equal activity")):
        found = find_differences(report, kind)
        text = "; ".join(f"{name}: {metric} {_signed(value)}" for name, metric, value in found)
        yield f"- Beside all other users, {title}: {text or 'none'}"
    for attribute in report["users_side"]:
        yield from _write_attribute(attribute)
    yield from _write_movies(report["movies_side"])


def _write_attribute(attribute: dict[str, Any]) -> Iterator[str]:
    yield ""
    yield f"## Users by {attribute['attribute']}"
    if attribute["groups"]:
        yield ""
        yield "| group | users | metric | value | beside others | at equal activity |"
        yield "|---|---|---|---|---|---|"
    for group in attribute["groups"]:
        for number, metric in enumerate(METRICS):
            row = group[metric]
            head = (_name(group["group"]), f"{group['users']:,}") if number == 0 else ("", "")
            differences = (format_difference(row[kind]) for kind in ("difference", "adjusted"))
            cells = (*head, metric, _span(row["value"], row["low"], row["high"]), *differences)
            yield f"| {' | '.join(cells)} |"
    if attribute["groups_not_shown"]:
        yield ""
        yield (
            f"Not shown, because they are too small: {attribute['groups_not_shown']} groups with "
            f"{attribute['users_not_shown']} users together."
        )
    if attribute["worst_to_best"]:
        yield ""
        yield "| metric | lowest | highest | difference | ratio |"
        yield "|---|---|---|---|---|"
    for metric, row in attribute["worst_to_best"].items():
        names = f"{_name(row['lowest'])} | {_name(row['highest'])}"
        yield f"| {metric} | {names} | {_span(*row['difference'])} | {_span(*row['ratio'])} |"


def _write_movies(side: dict[str, Any]) -> Iterator[str]:
    similarity = side["similarity"]
    yield ""
    yield "## Movies"
    yield ""
    yield (
        f"Of {side['movies']:,} movies {side['never_shown']:.1%} are shown to none of these users. "
        f"Gini coefficient of exposure {side['gini']:.3f} (0: all movies equally). Two users' "
        f"lists have {_span(similarity['value'], similarity['low'], similarity['high'])} of their "
        "movies in common."
    )
    for attribute, rows in side["by_class"].items():
        yield ""
        yield (
            f"| {attribute} | movies | of the catalogue | of what was watched | of what is shown "
            "| shown to watched |"
        )
        yield "|---|---|---|---|---|---|"
        for row in rows:
            shown = row["shown"]
            cells = (_name(row["class"]), f"{row['movies']:,}", f"{row['catalogue']:.1%}",
                     f"{row['watched']:.1%}",
                     f"{shown['value']:.1%} ({shown['low']:.1%} to {shown['high']:.1%})",
                     _number(row["shown_to_watched"]))  # fmt: skip
            yield f"| {' | '.join(cells)} |"


def format_difference(row: dict[str, Any] | None) -> str:
    """Return the cell of a difference, in bold where it is beyond chance."""
    if row is None:
        return "-"
    mark = "**" if row["differs"] else ""
    return f"{mark}{_signed(row['value'])}{mark} (p {row['corrected_p_value']:.3f})"


def _signed(value: float) -> str:
    """A difference; a small one with its first digit, so that none beyond chance reads as 0."""
    rounded = f"{value:+.4f}"
    return rounded if float(rounded) or not value else f"{value:+.0e}"


def _span(value: float | None, low: float | None, high: float | None) -> str:
    return f"{_number(value)} ({_number(low)} to {_number(high)})"


def _number(value: float | None) -> str:
    return "-" if value is None or value != value else f"{value:.4f}"  # noqa: PLR0124 - NaN


def _name(text: str) -> str:
    """A name from the metadata API, which may be any text, for a cell of a table."""
    plain = escape_control_characters(text[:_MAX_NAME_LENGTH])
    for character in "\\|`*_<>[]":
        plain = plain.replace(character, f"\\{character}")
    return plain
