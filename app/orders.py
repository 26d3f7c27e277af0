"""Orders of an operator, as files: one program writes them, others carry them out.

The console writes an order to a temporary file and renames it. The process of releases
(scripts/release/orders.sh) and the scheduler read the directory, carry out what is theirs, and
record that elsewhere: no program needs a port or a shell of another. An order is carried out at
most once and not after its expiry, so that one that was given while its process was away has no
effect later.
"""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, get_args

from app.atomic_files import write_file
from app.text_files import parse_json

#: Format of an order file; readers refuse any other.
ORDER_FORMAT = 1
#: Until an order expires. The slowest reader looks every 15 seconds (marquee-release@.timer).
LIFETIME_SECONDS = 120
#: How far the id of an order may lie in the future: two clocks differ.
_MAX_CLOCK_DIFFERENCE_SECONDS = 60
_MAX_FILE_BYTES = 4096
_ID_DIGITS = 19
_NS_PER_SECOND = 1_000_000_000

Action = Literal["abort", "promote", "rollback", "retrain"]
ACTIONS: tuple[Action, ...] = get_args(Action)


@dataclass(frozen=True)
class Order:
    """An order.

    Attributes:
        id: when it was given, in nanoseconds since 1970: 19 digits, so that names sort by time.
        action: what to do.
        release: id of the release that was shown with it; it applies to no other. Empty: none was.
        reason: who gave it and why, in one line.
        expires_at: when it is not carried out any more, in Unix seconds.
        format: of the file.
    """

    id: str
    action: Action
    release: str
    reason: str
    expires_at: int
    format: int = ORDER_FORMAT


def create_order(action: Action, release: str, reason: str) -> Order:
    """Create an order that is given now."""
    now_ns = time.time_ns()
    expires_at = now_ns // _NS_PER_SECOND + LIFETIME_SECONDS
    return Order(f"{now_ns:0{_ID_DIGITS}}", action, release, reason, expires_at)


def write_order(directory: Path, order: Order) -> None:
    """Write `ID.json`: complete, or not at all.

    Raises:
        OSError: it cannot be written.
    """
    content = json.dumps(asdict(order), ensure_ascii=True) + "\n"
    write_file(directory / f"{order.id}.json", content.encode())


def read_orders(directory: Path, after: str) -> list[Order]:
    """Return the orders that are in force, oldest first.

    Files of another format, damaged ones, and orders that have expired are left out.

    Args:
        directory: of the order files; may be missing.
        after: id of the last order that was carried out; only later ones are returned.

    Raises:
        OSError: the directory cannot be read.
    """
    now = time.time()
    orders = [_read_order(path) for path in sorted(directory.glob("*.json"))]
    return [
        order
        for order in orders
        if order is not None
        and order.id > after
        and now < order.expires_at <= now + LIFETIME_SECONDS + _MAX_CLOCK_DIFFERENCE_SECONDS
        and int(order.id) / _NS_PER_SECOND <= now + _MAX_CLOCK_DIFFERENCE_SECONDS
    ]


def remove_expired_orders(directory: Path) -> None:
    """Remove the files of orders that have expired; call it where orders are written."""
    oldest_ns = time.time_ns() - LIFETIME_SECONDS * _NS_PER_SECOND
    for path in directory.glob("*.json"):
        if path.stem.isdigit() and int(path.stem) < oldest_ns:
            path.unlink(missing_ok=True)


def _read_order(path: Path) -> Order | None:
    if path.is_symlink() or not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            content = parse_json(file.read(_MAX_FILE_BYTES))
        order = Order(**content)
    except (OSError, ValueError, TypeError):
        return None
    is_valid = (
        order.format == ORDER_FORMAT
        and order.id == path.stem
        and len(order.id) == _ID_DIGITS
        and order.id.isascii()
        and order.id.isdigit()
        and order.action in ACTIONS
        and isinstance(order.release, str)
        and isinstance(order.reason, str)
        and isinstance(order.expires_at, int)
    )
    return order if is_valid else None
