"""Operating curves of the canary analysis: how often its verdicts are wrong."""
