"""Wait until the stack's shipper has written everything to the database."""

import requests

from tests.support.stack import eventually

SHIPPER_URL = "http://127.0.0.1:8083"


def wait_until_shipped() -> None:
    """Wait until no record is left in the spool."""

    def is_empty() -> bool:
        try:
            text = requests.get(f"{SHIPPER_URL}/metrics", timeout=3).text
        except requests.ConnectionError:
            return False
        return "\nmarquee_provenance_spool_records 0.0" in text

    eventually(is_empty, 60, "an empty spool")
