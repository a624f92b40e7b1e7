"""Screens: what is on them, what their keys do. They paint from shared state; threads never touch them."""
