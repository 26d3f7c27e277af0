"""The pages of the actions: choose one with the token, confirm it, and see what became of it."""

from dataclasses import dataclass

from flask import Blueprint, abort, redirect, render_template, request, url_for
from flask.typing import ResponseReturnValue

from app.console.confirmation import COOKIE, Guard, is_own_page, keep_or_create_cookie
from app.console.console import Console
from app.console.orders import Orders
from app.console.release_state import ReleaseState
from app.orders import ACTIONS, LIFETIME_SECONDS, Action

_MAX_NAME, _MAX_REASON = 60, 200
_MAX_FORM_BYTES = 10_000
#: Phases in which a release cannot be aborted any more (scripts/release/commands.sh).
_TOO_LATE = ("promoting", "restoring", "finalizing")

EFFECTS: dict[Action, str] = {
    "abort": "Ends the release: the canary slot gets the stable image, the version is rejected.",
    "promote": "Deploys the canary's version to all slots now, without waiting for the verdict.",
    "rollback": "Deploys the previous image to all slots, one at a time.",
    "retrain": "Starts a retraining now. A version that passes the gate is published.",
}


@dataclass(frozen=True)
class Choice:
    """An action.

    Attributes:
        action: its name.
        effect: what it does, in one sentence.
        refusal: why it does not apply now; empty if it does.
        release: id of the release that it would be for.
    """

    action: Action
    effect: str
    refusal: str
    release: str


def add_actions(pages: Blueprint, console: Console, orders: Orders, guard: Guard) -> None:
    """Add the pages of the actions.

    Args:
        pages: the blueprint.
        console: its state decides which actions apply.
        orders: where they are written.
        guard: of the token and the forms.
    """

    @pages.get("/actions")
    def actions() -> ResponseReturnValue:
        cookie = keep_or_create_cookie(request.cookies.get(COOKIE))
        try:
            states = console.release.get().value, console.retraining.get().value
            given, error = orders.list_given(*states), ""
        except OSError as problem:
            given, error = [], f"The log of orders cannot be read: {problem.strerror}"
        page = render_template(
            "actions.html",
            form_key=guard.form_key(cookie),
            choices=list_choices(console),
            given=given,
            error=error,
            lifetime=LIFETIME_SECONDS,
        )
        headers = {"Set-Cookie": f"{COOKIE}={cookie}; Path=/actions; HttpOnly; SameSite=Strict"}
        return page, 200, headers

    @pages.post("/actions")
    def confirm() -> ResponseReturnValue:
        cookie = _check_request(guard)
        _check_token(guard)
        choice = _find_choice(console, request.form.get("action", ""))
        name, reason = _one_line("name", _MAX_NAME), _one_line("reason", _MAX_REASON)
        if not name:
            abort(400, "Say who you are: the name is recorded with the action.")
        content = {"action": choice.action, "release": choice.release, "name": name}
        seal = guard.seal(cookie, {**content, "reason": reason})
        return render_template(
            "confirm.html",
            form_key=guard.form_key(cookie),
            seal=seal,
            choice=choice,
            name=name,
            reason=reason,
        )

    @pages.post("/actions/confirmed")
    def confirmed() -> ResponseReturnValue:
        cookie = _check_request(guard)
        choice, asked = _read_confirmation(console, guard, cookie)
        reason = f"{asked['name']} in the console: {asked['reason'] or 'no reason given'}"
        try:
            orders.give(choice.action, choice.release, reason, request.remote_addr or "")
        except OSError as error:
            abort(503, f"The order cannot be written: {error.strerror}.")
        return redirect(url_for("console.actions"), 303)


def list_choices(console: Console) -> list[Choice]:
    """Return every action, with why it does not apply now."""
    reading = console.release.get()
    state = reading.value or ReleaseState()
    release_id = state.release.id if state.release else ""
    return [
        Choice(
            action,
            EFFECTS[action],
            _refuse_retraining(console)
            if action == "retrain"
            else "the state of releases is not known"
            if reading.is_away
            else _refuse(action, state),
            "" if action == "retrain" else release_id,
        )
        for action in ACTIONS
    ]


def _refuse(action: Action, state: ReleaseState) -> str:
    release = state.release
    is_in_progress = release is not None and release.is_in_progress
    if action == "rollback":
        return "a release is in progress" if is_in_progress else ""
    if release is None or not is_in_progress:
        return "no release is in progress"
    if action == "promote" and release.phase != "analyzing":
        return "no canary is being analyzed"
    return "it is too late, roll back after it" if release.phase in _TOO_LATE else ""


def _refuse_retraining(console: Console) -> str:
    metrics = console.metrics.get().value
    if metrics and metrics.get("retrain_configured") == 0:
        return "retraining is switched off"
    if metrics and metrics.get("retrain_running") == 1:
        return "a retraining is running"
    return ""


def _find_choice(console: Console, action: str) -> Choice:
    """The choice of a form; an error of the request where it does not apply."""
    found = [choice for choice in list_choices(console) if choice.action == action]
    if not found:
        abort(400, "There is no such action.")
    if found[0].refusal:
        abort(409, f"Not possible now: {found[0].refusal}.")
    return found[0]


def _read_confirmation(
    console: Console, guard: Guard, cookie: str
) -> tuple[Choice, dict[str, str]]:
    """What was confirmed; an error of the request where it does not apply any more."""
    asked = guard.unseal(cookie, request.form.get("seal", ""))
    if asked is None:
        abort(403, "The confirmation is too old, or was sent already: begin again.")
    choice = _find_choice(console, asked["action"])
    if choice.release != asked["release"]:
        abort(409, "Another release has begun or ended meanwhile: begin again.")
    return choice, asked


def _check_token(guard: Guard) -> None:
    is_right = guard.check_token(request.form.get("token", ""))
    if is_right is None:
        abort(429, "Too many wrong tokens: wait for a minute.")
    if not is_right:
        abort(403, "The token is not that of this console (secrets/console_token).")


def _check_request(guard: Guard) -> str:
    """Refuse a form that no page of this console has sent; return the cookie's value."""
    request.max_content_length = _MAX_FORM_BYTES
    headers, cookie = request.headers, request.cookies.get(COOKIE)
    is_own = is_own_page(headers.get("Origin"), headers.get("Sec-Fetch-Site"), request.host)
    if not is_own or not guard.check_form(cookie, request.form.get("form_key", "")):
        abort(403, "No page of this console has sent this form, or it is too old: begin again.")
    return cookie or ""


def _one_line(field: str, max_length: int) -> str:
    return " ".join(request.form.get(field, "").split())[:max_length]
