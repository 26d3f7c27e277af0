"""The report of a campaign: results of all seeds of a commit, added up, as JSON and HTML."""

import html
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import click
from scipy.stats import beta

from tests.conftest import ROOT
from tests.support.campaign.schedule import KINDS
from tests.support.soak import read_commit

DIRECTORY = ROOT / "build" / "campaign"
_CONFIDENCE = 0.95


def read_results(directory: Path) -> list[dict[str, Any]]:
    """Return the results of all seeds in a directory, by seed; those of parts of schedules not."""
    files = directory.glob("seed-*.json")
    results = [json.loads(file.read_text()) for file in files if ".kept" not in file.name]
    return sorted(results, key=lambda result: (result["schedule"]["seed"], result["started_at"]))


def lower_bound(successes: int, total: int) -> float:
    """Return the one-sided lower bound of a share at 95 % confidence (Clopper and Pearson, 1934).

    Each request counts as independent, which requests during one fault are not: the bound is of
    requests as they came in these schedules.
    """
    if not total or not successes:
        return 0.0
    return float(beta.ppf(1 - _CONFIDENCE, successes, total - successes + 1))


def add_up(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Add up the results of seeds.

    Returns:
        Seeds, requests, availability with its bound, faults by kind, recovery times, counts, and
        the violations by invariant with the seeds that have them.
    """
    requests: Counter[str] = Counter()
    simulator: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    for result in results:
        own = result["requests"]
        requests.update({name: own[name] for name in ("sent", "ok", "excused", "late", "failed")})
        summary = own.get("simulator", {}).get("requests", {})
        simulator.update({name: summary.get(name, 0) for name in ("sent", "ok", "malformed")})
        numbers = result["counts"]
        names = ("answers", "rows", "lines", "single lines", "versions")
        counts.update({name: numbers[name] for name in names})
        counts["dropped"] += sum(numbers["dropped"].values())
        for what in ("releases", "retrainings"):
            counts.update({f"{what} {how}": n for how, n in numbers[what].items()})
    judged = requests["sent"] - requests["excused"]
    recovery = [
        result["recovery_seconds"] for result in results if result["recovery_seconds"] is not None
    ]
    return {
        "commits": sorted({result["commit"] for result in results}),
        "seeds": [result["schedule"]["seed"] for result in results],
        "minutes": sum(result["schedule"]["minutes"] for result in results),
        "requests": dict(requests),
        "simulator_requests": dict(simulator),
        "availability": requests["ok"] / judged if judged else None,
        "availability_bound": lower_bound(requests["ok"], judged),
        "availability_with_excuses": requests["ok"] / requests["sent"] if judged else None,
        "recovery_seconds": {
            "median": median(recovery) if recovery else None,
            "worst": max(recovery, default=None),
            "never": len(results) - len(recovery),
        },
        "counts": dict(counts),
        "faults": count_faults(results),
        "violations": find_violations(results),
    }


def count_faults(results: Iterable[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return for each kind how often it was done, and how often not with which reasons."""
    found: dict[str, dict[str, Any]] = {
        kind: {"done": 0, "not_done": 0, "reasons": []} for kind in KINDS
    }
    for result in results:
        for fault in result["faults"]:
            row = found[fault["kind"]]
            note = fault["note"]
            is_missed = "begin: " in note or note.startswith("the moment")
            missed = fault["skipped"] or (note if is_missed else "")
            row["not_done" if missed else "done"] += 1
            if missed and missed not in row["reasons"]:
                row["reasons"].append(missed)
    return found


def find_violations(results: Iterable[dict[str, Any]]) -> dict[str, dict[str, list[str]]]:
    """Return the violations by invariant and seed."""
    found: dict[str, dict[str, list[str]]] = defaultdict(dict)
    for result in results:
        for invariant, texts in result["violations"].items():
            found[invariant][str(result["schedule"]["seed"])] = texts
    return dict(found)


# -- HTML ----------------------------------------------------------------------------------------

_STYLE = """
body { font: 15px/1.5 sans-serif; margin: 2em auto; max-width: 70em; color: #222 }
table { border-collapse: collapse; margin: 1em 0 } th { text-align: left }
td, th { padding: .2em .8em; border-bottom: 1px solid #ddd; vertical-align: top }
.bad { color: #a00 } pre { background: #f6f6f6; padding: .8em; overflow-x: auto }
"""


def to_html(total: dict[str, Any], results: Iterable[dict[str, Any]]) -> str:
    """Return the report as one page without scripts."""
    return "\n".join(
        [
            "<!doctype html><html lang=en><meta charset=utf-8><title>Fault campaign</title>",
            f"<style>{_STYLE}</style><h1>Fault campaign</h1>",
            _table(["", ""], _describe_total(total)),
            "<h2>Faults</h2>",
            _table(
                ["kind", "done", "not done", "why not"],
                [
                    [kind, row["done"], row["not_done"], "; ".join(row["reasons"])]
                    for kind, row in total["faults"].items()
                ],
            ),
            "<h2>Violations</h2>",
            *_describe_violations(total["violations"]),
            "<h2>Seeds</h2>",
            *map(_describe_seed, results),
            "</html>",
        ]
    )


def _describe_total(total: dict[str, Any]) -> list[list[Any]]:
    requests, recovery = total["requests"], total["recovery_seconds"]
    share = total["availability"]
    return [
        ["commits", ", ".join(total["commits"])],
        ["seeds", len(total["seeds"])],
        ["minutes under load", f"{total['minutes']:g}"],
        ["requests", f"{requests.get('sent', 0)}, {requests.get('failed', 0)} failed, "
                     f"{requests.get('late', 0)} late, {requests.get('excused', 0)} excused"],
        ["availability outside of the excuses", "none" if share is None else
         f"{share:.6%}, at least {total['availability_bound']:.6%} with 95 % confidence"],
        ["recovery", f"median {recovery['median']} s, worst {recovery['worst']} s, "
                     f"never {recovery['never']}"],
        *([name, value] for name, value in total["counts"].items()),
    ]  # fmt: skip


def _describe_violations(violations: dict[str, dict[str, list[str]]]) -> list[str]:
    if not violations:
        return ["<p>None."]
    return [
        f"<h3 class=bad>{html.escape(name)}</h3>"
        + _table(["seed", "violations"], [[seed, "\n".join(t[:5])] for seed, t in seeds.items()])
        for name, seeds in violations.items()
    ]


def _describe_seed(result: dict[str, Any]) -> str:
    schedule, counts = result["schedule"], result["requests"]
    rows = [
        [f["number"], f"{p['start']:.1f}", f"{p['seconds']:.1f}", f"{f['kind']} {f['target']}",
         f["skipped"] or f["note"]]
        for p, f in zip(schedule["faults"], result["faults"], strict=True)
    ]  # fmt: skip
    state = "bad" if result["violations"] else "good"
    title = (
        f"seed {schedule['seed']}: {counts['sent']} requests, {len(result['violations'])} "
        f"violations, well again after {result['recovery_seconds']} s"
    )
    table = _table(["#", "start (s)", "duration (s)", "fault", "note"], rows)
    return f"<details><summary class={state}>{html.escape(title)}</summary>{table}</details>"


def _table(head: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    cells = "".join(f"<th>{html.escape(text)}</th>" for text in head)
    lines = [f"<table><tr>{cells}</tr>"]
    for row in rows:
        cells = "".join(
            f"<td>{html.escape(str(value)).replace(chr(10), '<br>')}</td>" for value in row
        )
        lines.append(f"<tr>{cells}</tr>")
    return "\n".join([*lines, "</table>"])


@click.command(epilog="Example: python -m tests.support.campaign.report 7afc9fcdc5f2")
@click.argument("commits", nargs=-1)
def main(commits: tuple[str, ...]) -> None:
    """Add up the results of the seeds of COMMITS; without any, of the current commit.

    Writes build/campaign/report.json and report.html, and prints the sums.

    Exit status: 0 no violation, 1 a violation or no result, 2 invalid arguments.
    """
    sys.exit(_write_report(commits))


def _write_report(commits: Sequence[str]) -> int:
    commit, is_modified = read_commit()
    names = list(commits) or [f"{commit}-modified" if is_modified else commit]
    results = [result for name in names for result in read_results(DIRECTORY / name)]
    if not results:
        click.echo(f"no results of {', '.join(names)} in {DIRECTORY}", err=True)
        return 1
    total = add_up(results)
    (DIRECTORY / "report.json").write_text(json.dumps(total, indent=1) + "\n")
    (DIRECTORY / "report.html").write_text(to_html(total, results))
    for name, value in _describe_total(total):
        click.echo(f"{name}: {value}")
    for name, seeds in total["violations"].items():
        click.echo(f"VIOLATED {name}: seeds {', '.join(seeds)}")
    click.echo(f"report: {DIRECTORY / 'report.html'}")
    return int(bool(total["violations"]))


if __name__ == "__main__":
    main()
