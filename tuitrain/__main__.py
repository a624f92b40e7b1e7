"""`tuitrain` and `python -m tuitrain`: no arguments open the interface, anything else is a command."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line; the exit code says how it went (see `errors`)."""
    from tuitrain.cli.run import run

    sys.exit(run(sys.argv[1:]))


if __name__ == "__main__":
    main()
