"""Freed memory goes back to the system at once: a collector needs what it holds, not what it held.

Three allocators share the process: Polars' (jemalloc), Arrow's and glibc's. Each keeps freed pages,
more of them the longer it runs; that was most of what ten times the lines cost.
"""

import ctypes
import os

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_KEPT = 128 * 1024


def give_back_at_once() -> None:
    """Call it before Polars or Arrow is imported: they look at the environment when they are."""
    os.environ.setdefault("_RJEM_MALLOC_CONF", "dirty_decay_ms:0,muzzy_decay_ms:0")
    os.environ.setdefault("ARROW_DEFAULT_MEMORY_POOL", "system")
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:  # glibc; setting one also ends its habit of raising the other
        mallopt(_M_MMAP_THRESHOLD, _KEPT)
        mallopt(_M_TRIM_THRESHOLD, _KEPT)
