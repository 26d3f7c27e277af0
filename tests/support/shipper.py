"""Wait until the stack's shipper has written everything to the database."""

import re

import requests

from tests.support.stack import SHIPPER_URL
from tests.support.waiting import eventually


def count_spooled_records() -> float:
    """Return the number of records that are not in the database yet; NaN without a response."""
    try:
        text = requests.get(f"{SHIPPER_URL}/metrics", timeout=3).text
    except requests.RequestException:
        return float("nan")
    match = re.search(r"^marquee_provenance_spool_records (.+)$", text, re.MULTILINE)
    return float(match[1]) if match else float("nan")


def wait_until_shipped() -> None:
    """Wait until no record is left in the spool."""
    eventually(lambda: count_spooled_records() == 0, 60, "an empty spool")
