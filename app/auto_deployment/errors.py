"""Errors of retraining, publishing and restoring."""

from typing import Any, Literal

from app.cli_errors import MarqueeError

_OUTPUT_CHARACTERS = 4000
_REASON_CHARACTERS = 400


class DeploymentError(MarqueeError):
    """A step failed; the message names the step and the reason."""


class ToolError(DeploymentError):
    """A command of git, DVC or Marquee failed.

    Attributes:
        output: the end of what the command wrote.
    """

    def __init__(self, command: str, output: str) -> None:
        super().__init__(f"{command}: {_find_reason(output)}")
        self.output = output[-_OUTPUT_CHARACTERS:]


class VersionTakenError(DeploymentError):
    """Another version with the same number was published first."""


class NoVersionError(DeploymentError):
    """No version was made, and nothing has changed.

    Attributes:
        status: why, as the status of the run.
        subject: the reason in one line.
        metrics: of the data or of the model that was rejected.
    """

    def __init__(
        self,
        status: Literal["unchanged", "data_rejected", "gate_failed"],
        subject: str,
        body: str,
        metrics: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(body)
        self.status: Literal["unchanged", "data_rejected", "gate_failed"] = status
        self.subject = subject
        self.metrics = metrics or {}


def _find_reason(output: str) -> str:
    """The last line that is marked as an error, or else the last line."""
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    marked = [line for line in lines if line.lower().startswith(("error:", "fatal:"))]
    return (marked or lines or ["no reason given"])[-1][:_REASON_CHARACTERS]
