"""Memory of one training step on one device, phase by phase. The peak is the largest phase."""

from tuitrain_planners.memory.activations import Activations, activations
from tuitrain_planners.memory.device import DeviceMemory, device_memory
from tuitrain_planners.memory.head import LOSS_HEADS, LossHead, loss_head
from tuitrain_planners.memory.phases import GROUPS, StepMemory, step_memory

__all__ = [
    "GROUPS",
    "LOSS_HEADS",
    "Activations",
    "DeviceMemory",
    "LossHead",
    "StepMemory",
    "activations",
    "device_memory",
    "loss_head",
    "step_memory",
]
