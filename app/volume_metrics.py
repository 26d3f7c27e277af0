"""Free space of the volumes that a process writes to, as metrics."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

FREE_BYTES = ("marquee_volume_free_bytes", "Free space, for a process that is not root.")
SIZE_BYTES = ("marquee_volume_size_bytes", "Size of the file system.")


class VolumeSize(NamedTuple):
    """The file system of a volume, in bytes."""

    free: int
    size: int


def measure_volume(directory: Path) -> VolumeSize | None:
    """Measure the file system of a directory, or of the one it will be created in.

    Returns:
        None if it cannot be measured.
    """
    existing = next(path for path in (directory, *directory.absolute().parents) if path.exists())
    try:
        found = os.statvfs(existing)
    except OSError:
        return None
    return VolumeSize(found.f_bavail * found.f_frsize, found.f_blocks * found.f_frsize)


class VolumeMetrics(Collector):
    """Measures volumes at each scrape.

    Args:
        volumes: directories by the name of the volume.
    """

    def __init__(self, volumes: Mapping[str, Path]) -> None:
        self._volumes = volumes

    def collect(self) -> Iterator[Metric]:
        """Yield free space and size of each volume that can be measured."""
        free = GaugeMetricFamily(*FREE_BYTES, labels=["volume"])
        size = GaugeMetricFamily(*SIZE_BYTES, labels=["volume"])
        for name, directory in self._volumes.items():
            if found := measure_volume(directory):
                free.add_metric([name], found.free)
                size.add_metric([name], found.size)
        yield free
        yield size
