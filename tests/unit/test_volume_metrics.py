"""Each process that writes to a volume exports the volume's free space and its own start."""

import os
from pathlib import Path

from prometheus_client import CollectorRegistry

from app.auto_deployment.scheduler import Scheduler, create_registry
from app.http_server import create_app
from app.ingest.kafka.metrics import CollectorMetrics
from app.provenance.quarantine import Quarantine
from app.provenance.shipper_metrics import ShipperMetrics
from app.provenance.spool_reader import SpoolReader
from app.service.application import create_app as create_service
from app.settings import Settings
from app.volume_metrics import VolumeMetrics


def check_volume(text: str, volume: str, directory: Path) -> None:
    samples = dict(line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    found = os.statvfs(directory)
    size = float(samples[f'marquee_volume_size_bytes{{volume="{volume}"}}'])
    free = float(samples[f'marquee_volume_free_bytes{{volume="{volume}"}}'])
    assert size == found.f_blocks * found.f_frsize
    assert 0 < free <= size
    assert float(samples["process_start_time_seconds"]) > 0


def read_metrics(registry: CollectorRegistry) -> str:
    return create_app(registry, lambda: True).test_client().get("/metrics").text


def test_the_collector_measures_the_store(tmp_path: Path) -> None:
    check_volume(read_metrics(CollectorMetrics(tmp_path).registry), "store", tmp_path)


def test_the_shipper_measures_the_spool_and_what_others_write_to(tmp_path: Path) -> None:
    settings = Settings(shipper_volumes=f"database={tmp_path},prometheus=/dev/shm")
    reader = SpoolReader(tmp_path, Quarantine(tmp_path, 1, 1))
    text = read_metrics(ShipperMetrics(reader, settings.shipper_volume_paths).registry)
    for volume, directory in (
        ("spool", tmp_path), ("database", tmp_path), ("prometheus", Path("/dev/shm")),
    ):  # fmt: skip
        check_volume(text, volume, directory)


def test_a_slot_measures_the_spool(shared_model: Path, tmp_path: Path) -> None:
    app = create_service(Settings(model_dir=shared_model, spool_dir=tmp_path))
    check_volume(app.test_client().get("/metrics").text, "spool", tmp_path)


def test_a_volume_without_its_directory_is_measured(tmp_path: Path) -> None:
    registry = CollectorRegistry()
    registry.register(VolumeMetrics({"workspace": tmp_path / "not" / "yet"}))
    check_volume(read_metrics(registry), "workspace", tmp_path)


def test_the_scheduler_measures_the_workspace(tmp_path: Path) -> None:
    settings = Settings(workspace_dir=tmp_path)
    registry = create_registry(settings, Scheduler(settings, lambda _stop: None))
    check_volume(read_metrics(registry), "workspace", tmp_path)
