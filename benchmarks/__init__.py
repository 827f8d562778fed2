"""How fast is minigrad beside its peers? `python -m benchmarks` answers."""
