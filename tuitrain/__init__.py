"""tuitrain: plan a language-model training run, launch it for real, and see plan beside reality while it runs."""

__version__ = "0.1.0"
__all__ = ["__version__"]
