"""What `make bench` measures; each module runs by itself as `python -m bench.NAME`."""
