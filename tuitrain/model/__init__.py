"""The native decoder, its first weights, and its checkpoint format. Must not import Textual or Typer."""
