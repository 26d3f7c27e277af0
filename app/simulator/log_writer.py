"""What is sent: every line counted under what a reader must find in it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from app.simulator.corruption import Damage

#: As `marquee collect` names them.
KINDS = ("watches", "ratings", "recommendations", "accounts")
#: Label of lines that must be refused: this and the reason.
DAMAGED = "damaged:"


class Output(Protocol):
    """Takes lines somewhere, and says what it could not take."""

    lost: Counter[str]

    def write(self, label: str, lines: Sequence[str]) -> None:
        """Take lines; `label` says what they are counted as."""

    def close(self) -> None:
        """Wait until everything is there."""


@dataclass
class Stream:
    """Damages some lines, counts all, and hands them on.

    Attributes:
        damage: what spoils lines.
        outputs: where lines go.
        counts: by kind, and by `damaged:` with the reason.
        disguised: lines of `counts` that are damaged and still look right.
    """

    damage: Damage
    outputs: list[Output]
    counts: Counter[str] = field(default_factory=Counter)
    disguised: int = 0

    def write(self, kind: str, lines: list[str]) -> None:
        """Send lines of one kind."""
        spoiled = []
        for at, how in reversed(self.damage.pick(len(lines))):
            line, reason = self.damage.hit(kind, lines[at], how)
            if reason is None:
                lines[at] = line
                self.disguised += 1
            else:
                del lines[at]
                spoiled.append((DAMAGED + reason, line))
        self._send(kind, lines)
        for label, line in spoiled:
            self._send(label, [line])

    def write_refused(self, reason: str, line: str) -> None:
        """Send a line of which it is known that a reader must refuse it."""
        self._send(DAMAGED + reason, [line])

    def close(self) -> None:
        """Wait until everything is there."""
        for output in self.outputs:
            output.close()

    def sent(self) -> dict[str, Any]:
        """What a collector that reads everything must count, under its names; and what is lost."""
        lost: Counter[str] = sum((output.lost for output in self.outputs), Counter())
        arrived = self.counts - lost
        reasons = {
            label.removeprefix(DAMAGED): count
            for label, count in sorted(arrived.items())
            if label.startswith(DAMAGED)
        }
        return {
            "lines": arrived.total(),
            **{kind: arrived[kind] for kind in KINDS},
            "rejected": sum(reasons.values()),
            "reasons": reasons,
            "disguised": self.disguised,
            "lost": lost.total(),
        }

    def _send(self, label: str, lines: list[str]) -> None:
        if not lines:
            return
        self.counts[label] += len(lines)
        for output in self.outputs:
            output.write(label, lines)
