"""Generation. The worker is a process of its own, so whoever talks to it needs no torch.

`client` imports nothing heavy; `worker` imports torch and transformers.
"""
