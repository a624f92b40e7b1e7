"""The trainer: torch, and no interface. It reads a run's resolved.json and writes events, checkpoints and nothing else."""
