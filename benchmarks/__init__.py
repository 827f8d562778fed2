"""Benchmarks of minigrad beside its peers: `python -m benchmarks`."""
