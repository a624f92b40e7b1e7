"""Generation: a worker in a process of its own. `tuitrain.runs.generation` talks to it and needs no torch."""
