"""Widgets: thin shells that show the lines a pure renderer made."""
