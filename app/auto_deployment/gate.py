"""Is a model good enough to become a version?"""

from typing import Any

from app.auto_deployment.thresholds import Gate


def judge(figures: dict[str, Any], gate: Gate) -> list[str]:
    """What speaks against a model, by `marquee evaluate`'s figures of its rehearsal."""
    found = []
    rmse = figures.get("rmse")
    if rmse is not None and not rmse < gate.rmse:
        found.append(f"RMSE is {rmse:.4f} and must be below {gate.rmse:g}")
    for name in ("ndcg", "coverage"):
        value, least = figures.get(name), getattr(gate, name)
        if value is None or not value >= least:
            said = "not known" if value is None else f"{value:.4f}"
            found.append(f"{name} is {said} and must be at least {least:g}")
    return found


def compare(
    candidate: dict[str, Any], in_service: dict[str, Any], number: int, gate: Gate
) -> tuple[list[str], str]:
    """What speaks against a candidate beside the version in service, and a line that says all.

    Both were scored on the same events, newer than what either was made from.
    """
    events = candidate.get("events", 0)
    if events < gate.compared_events:
        return [], (
            f"not compared with version {number}: {events} newer events, "
            f"{gate.compared_events} are needed"
        )
    found, said = [], []
    for name, better in (("ndcg", 1), ("rmse", -1)):
        mine, theirs = candidate.get(name), in_service.get(name)
        if mine is None or theirs is None:
            continue
        said.append(f"{name} {mine:.4f}, version {number}'s {theirs:.4f}")
        if better * mine < better * theirs * (1 - better * gate.worse):
            found.append(f"{name} is {mine:.4f}, worse than version {number}'s {theirs:.4f}")
    return found, f"on {events:,} newer events: " + "; ".join(said)
