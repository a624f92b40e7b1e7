"""What is in training data before it is trained on: copies, leaks, languages, lengths, tokens. Must not import torch.

Each module looks at one thing and returns plain dataclasses with `to_dict`; `html` writes them all as one page.
"""
