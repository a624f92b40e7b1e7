"""Pure renderers: run state in, lines of styled text out. No Textual, no clock, no files: `--plain` and tests use them too."""
