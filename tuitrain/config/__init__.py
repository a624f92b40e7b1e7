"""Configuration: schema, TOML with overrides, resolving what is left open. Must not import torch, Textual or Typer."""
