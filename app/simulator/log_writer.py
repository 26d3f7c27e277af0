"""Writes the log: corrupts some lines, and counts each under what a reader must find in it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from app.simulator.corruption import LineCorruptor, LineKind

#: Kinds of valid lines, named as in the summary of `marquee collect`.
LINE_KINDS: tuple[LineKind, ...] = ("watches", "ratings", "recommendations", "accounts")
#: Label of lines that a reader must reject: this prefix and the reason.
REJECTED_PREFIX = "rejected:"


class Sink(Protocol):
    """A destination of log lines.

    Attributes:
        lost: lines that could not be delivered, by label.
    """

    lost: Counter[str]

    def write(self, label: str, lines: Sequence[str]) -> None:
        """Take lines; `label` is what they are counted under."""

    def close(self) -> None:
        """Deliver every line that was taken, or count it as lost."""


@dataclass
class LogWriter:
    """Corrupts some lines, counts all, and passes them to every sink.

    Attributes:
        corruptor: selects and corrupts lines.
        sinks: where lines go.
        counts: lines by label: their kind, or `REJECTED_PREFIX` and the reason.
        undetectable: corrupted lines that are still valid, counted under their kind.
    """

    corruptor: LineCorruptor
    sinks: list[Sink]
    counts: Counter[str] = field(default_factory=Counter)
    undetectable: int = 0

    def write(self, kind: LineKind, lines: list[str]) -> None:
        """Write lines of one kind."""
        rejected = []
        for index, method in reversed(self.corruptor.select(len(lines))):
            line, reason = self.corruptor.corrupt(kind, lines[index], method)
            if reason is None:
                lines[index] = line
                self.undetectable += 1
            else:
                del lines[index]
                rejected.append((REJECTED_PREFIX + reason, line))
        self._write(kind, lines)
        for label, line in rejected:
            self._write(label, [line])

    def write_rejected(self, reason: str, line: str) -> None:
        """Write a line that a reader must reject for this reason."""
        self._write(REJECTED_PREFIX + reason, [line])

    def close(self) -> None:
        """Deliver every line, or count it as lost."""
        for sink in self.sinks:
            sink.close()

    def lost(self) -> Counter[str]:
        """Return the lines that a sink could not deliver, by label."""
        return sum((sink.lost for sink in self.sinks), Counter())

    def summary(self) -> dict[str, Any]:
        """Return what a collector of all delivered lines must count, under its names."""
        lost = self.lost()
        delivered = self.counts - lost
        reasons = {
            label.removeprefix(REJECTED_PREFIX): count
            for label, count in sorted(delivered.items())
            if label.startswith(REJECTED_PREFIX)
        }
        return {
            "lines": delivered.total(),
            **{kind: delivered[kind] for kind in LINE_KINDS},
            "rejected": sum(reasons.values()),
            "reasons": reasons,
            "undetectable": self.undetectable,
            "lost": lost.total(),
        }

    def _write(self, label: str, lines: list[str]) -> None:
        if not lines:
            return
        self.counts[label] += len(lines)
        for sink in self.sinks:
            sink.write(label, lines)
