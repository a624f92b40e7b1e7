"""The terminal interface. Reads run folders, never talks to a trainer but through control.jsonl. Must not import torch."""
