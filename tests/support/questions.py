"""The ten questions of docs/telemetry.md."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def read_questions() -> list[str]:
    """The statements in the order of the page."""
    text = (ROOT / "docs/telemetry.md").read_text()
    return [
        " ".join(found.split()) for found in re.findall(r"```sql\n(.*?)```", text, flags=re.DOTALL)
    ]
