"""A console with a database, files of a release, and a Prometheus that answers from a table."""

from pathlib import Path

import pytest
from flask.testing import FlaskClient
from pytest_httpserver import HTTPServer

from app.console.console import Console
from app.console.server import create_app
from tests.support.console import (
    AnsweringPrometheus,
    AnsweringScheduler,
    fill_database,
    open_console,
    settings_of,
    write_release,
)
from tests.support.provenance import Environment


def create_console(directory: Path, prometheus: AnsweringPrometheus) -> Console:
    write_release(directory / "release")
    return open_console(settings_of(directory, prometheus.url))


@pytest.fixture
def environment(tmp_path: Path, shared_model: Path) -> Environment:
    return fill_database(tmp_path, shared_model)


@pytest.fixture
def prometheus(httpserver: HTTPServer) -> AnsweringPrometheus:
    return AnsweringPrometheus(httpserver)


@pytest.fixture
def scheduler(httpserver: HTTPServer) -> AnsweringScheduler:
    return AnsweringScheduler(httpserver)


@pytest.fixture
def console(
    tmp_path: Path,
    environment: Environment,
    prometheus: AnsweringPrometheus,
    scheduler: AnsweringScheduler,
) -> Console:
    return create_console(tmp_path, prometheus)


@pytest.fixture
def client(console: Console) -> FlaskClient:
    return create_app(console, ["localhost"]).test_client()


@pytest.fixture(scope="module")
def pages(
    tmp_path_factory: pytest.TempPathFactory, shared_model: Path, make_httpserver: HTTPServer
) -> FlaskClient:
    """A client of a console that no test changes."""
    directory = tmp_path_factory.mktemp("console")
    fill_database(directory, shared_model)
    AnsweringScheduler(make_httpserver)
    console = create_console(directory, AnsweringPrometheus(make_httpserver))
    return create_app(console, ["localhost"]).test_client()
