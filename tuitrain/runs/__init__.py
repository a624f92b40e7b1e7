"""Runs: their folders, how they are started, watched and stopped. Must not import torch, Textual or Typer."""
