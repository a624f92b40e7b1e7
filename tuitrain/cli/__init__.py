"""The command line: parse, call, print. One module per command group; output.py owns stdout, diagnostics.py owns stderr."""
