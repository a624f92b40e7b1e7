"""Side-by-side runs against peers, both sides in one run on one machine. `make bench` or `python -m benchmarks NAME ...`."""
