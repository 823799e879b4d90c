"""Benchmarks: ours and what people would take instead, side by side in one run; `python -m tests.bench`."""
