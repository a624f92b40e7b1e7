"""Fine-tuning data: examples in any usual format, chat templates, which tokens are trained, packing. Must not import torch."""
