"""Errors of the canary analysis."""

from app.cli_errors import MarqueeError


class AnalysisInputError(MarqueeError):
    """Samples, settings or responses of Prometheus that cannot be used."""


class PrometheusError(MarqueeError):
    """Prometheus does not respond, or its response cannot be used."""
