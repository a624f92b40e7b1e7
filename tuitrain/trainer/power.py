"""Power a CUDA device draws, as its driver says. Needs nvidia-ml-py (extra `nvidia`); a CPU's power is not read."""

from __future__ import annotations

import torch

MILLIWATT_PER_WATT = 1000


class PowerMeter:
    """Reads the device's power; None where there is nothing that tells it, asked once."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._readable = device.type == "cuda"

    def read_w(self) -> float | None:
        """Watts now."""
        if not self._readable:
            return None
        try:
            return torch.cuda.power_draw(self._device) / MILLIWATT_PER_WATT
        except Exception:  # the driver's library is missing, or it does not report power: each raises a type of its own
            self._readable = False
            return None
