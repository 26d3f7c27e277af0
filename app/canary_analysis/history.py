"""What an analysis keeps in the directory of its release: the samples it has seen, and an abort.

The verdict is computed from all samples at each look, so a restart between two looks changes
nothing. Samples that were judged once stay as they were, whatever Prometheus returns later.
"""

import json
import os
from pathlib import Path
from typing import Any

from app.atomic_files import fsync, write_file
from app.canary_analysis.errors import AnalysisInputError
from app.canary_analysis.samples import Sample, parse_samples

_SAMPLES, _DECISION, _ANALYSIS = "samples.jsonl", "decision.json", "analysis.json"


class AnalysisDirectory:
    """Files of one release's analysis."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read_samples(self) -> list[Sample]:
        """Return the stored samples. The unfinished line of a killed process is left out."""
        try:
            data = (self._path / _SAMPLES).read_bytes()
        except FileNotFoundError:
            return []
        return parse_samples(data[: data.rfind(b"\n") + 1])

    def append_samples(self, samples: list[Sample]) -> None:
        """Store more samples."""
        if not samples:
            return
        self._path.mkdir(parents=True, exist_ok=True)
        path = self._path / _SAMPLES
        is_new = not path.exists()
        with path.open("ab+") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(0)
            data = file.read()
            complete = data.rfind(b"\n") + 1
            if complete != end:
                file.truncate(complete)
            file.write("".join(f"{sample.to_json()}\n" for sample in samples).encode())
            file.flush()
            os.fsync(file.fileno())
        if is_new:
            fsync(self._path)

    def read_decision(self) -> dict[str, Any] | None:
        """Return the stored ABORT, or None."""
        return self._read_json(_DECISION)

    def write_decision(self, result: dict[str, Any]) -> None:
        """Store an ABORT, which stays whatever comes later."""
        self._write_json(_DECISION, result)

    def read_analysis(self) -> dict[str, Any]:
        """Return window, version and start of the last look; empty before the first one."""
        return self._read_json(_ANALYSIS) or {}

    def write_analysis(self, content: dict[str, Any]) -> None:
        """Store window, version and start."""
        if content != self.read_analysis():
            self._write_json(_ANALYSIS, content)

    def _read_json(self, name: str) -> dict[str, Any] | None:
        path = self._path / name
        try:
            content = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise AnalysisInputError(f"{path}: not JSON: {error}") from error
        if not isinstance(content, dict):
            raise AnalysisInputError(f"{path}: not a JSON object")
        return content

    def _write_json(self, name: str, content: dict[str, Any]) -> None:
        self._path.mkdir(parents=True, exist_ok=True)
        write_file(self._path / name, json.dumps(content).encode() + b"\n")
