"""What a request costs beside plain peers (`python -m bench.requests`)."""
