"""tuitrain_planners: the arithmetic of training language models. Pure, standard library only.

Start with `plan(PlanRequest(...))` for one run and `fit_to_time(...)` for the best run within a time budget; `explain()` on any
Quantity tells the formula, inputs and source behind it.
"""

from tuitrain_planners.adapters import ALL_LINEAR, Adapter
from tuitrain_planners.attention import attention_pairs_per_token
from tuitrain_planners.budget import Budget, Candidate, depth_candidates, fit_to_time, tokens_for
from tuitrain_planners.calibrate import (
    Calibration,
    Correction,
    Refusal,
    Sample,
    calibrate,
    corrected,
    counted_peak_bytes,
    runtime_bytes,
)
from tuitrain_planners.compiling import CPU_COMPILE_GAIN, CompileGain
from tuitrain_planners.device_names import find_device
from tuitrain_planners.dial import by_depth, by_parameters
from tuitrain_planners.economy import EMBODIED_KG_CO2E, GRIDS, Economy, grid
from tuitrain_planners.errors import PlanError
from tuitrain_planners.families import BY_DEPTH, FAMILIES, NATIVE
from tuitrain_planners.flops import CONVENTIONS, DEFAULT_CONVENTION, by_convention, executed_flop_per_token, flop_per_token
from tuitrain_planners.framework import FRAMEWORKS, Framework, framework
from tuitrain_planners.goodput import Goodput, Reliability
from tuitrain_planners.grid import by_precision, by_stage
from tuitrain_planners.hardware import Hardware, MfuPrior, measured
from tuitrain_planners.hf_config import shape_from_hf
from tuitrain_planners.html import to_html
from tuitrain_planners.laws import EPOCH, FITS, LossLaw, TokenRule, fit, loss_law
from tuitrain_planners.memory import DeviceMemory, StepMemory, device_memory, step_memory
from tuitrain_planners.mesh import Mesh
from tuitrain_planners.optimizers import OPTIMIZERS, Optimizer, optimizer
from tuitrain_planners.parameters import active_parameters, adapter_parameters, count_parameters, expert_parameters
from tuitrain_planners.parts import Experts, LatentAttention, SlidingWindow
from tuitrain_planners.plan import Plan, plan
from tuitrain_planners.precision import RECIPES, Precision, recipe
from tuitrain_planners.presets import find_hardware, find_shape, load_hardware, load_law, load_shape, preset_names
from tuitrain_planners.quantity import Band, Quantity
from tuitrain_planners.report import figures, to_dict
from tuitrain_planners.request import PlanRequest
from tuitrain_planners.scaling import (
    compute_optimal,
    effective_data,
    model_for_tokens,
    optimal_band,
    optimal_by_fit,
    optimal_tokens,
    predicted_loss,
    training_verdict,
)
from tuitrain_planners.screen import to_markdown, to_text
from tuitrain_planners.search import Found, Ranked, Rejected, search
from tuitrain_planners.search_layouts import Bounds, Layout, candidates
from tuitrain_planners.search_remedies import Remedy, remedies
from tuitrain_planners.shapes import ModelShape, native_gap
from tuitrain_planners.sources import BIBLIOGRAPHY, Source
from tuitrain_planners.storage import Host, Storage
from tuitrain_planners.throughput import Rate, Throughput, training_rate
from tuitrain_planners.units import (
    format_bytes,
    format_count,
    format_duration,
    format_flop,
    format_value,
    parse_bytes,
    parse_count,
    parse_duration,
    parse_flop,
    parse_flop_per_s,
)

__all__ = [
    "ALL_LINEAR",
    "BIBLIOGRAPHY",
    "BY_DEPTH",
    "CONVENTIONS",
    "CPU_COMPILE_GAIN",
    "DEFAULT_CONVENTION",
    "EMBODIED_KG_CO2E",
    "EPOCH",
    "FAMILIES",
    "FITS",
    "FRAMEWORKS",
    "GRIDS",
    "NATIVE",
    "OPTIMIZERS",
    "RECIPES",
    "Adapter",
    "Band",
    "Bounds",
    "Budget",
    "Calibration",
    "Candidate",
    "CompileGain",
    "Correction",
    "DeviceMemory",
    "Economy",
    "Experts",
    "Found",
    "Framework",
    "Goodput",
    "Hardware",
    "Host",
    "LatentAttention",
    "Layout",
    "LossLaw",
    "Mesh",
    "MfuPrior",
    "ModelShape",
    "Optimizer",
    "Plan",
    "PlanError",
    "PlanRequest",
    "Precision",
    "Quantity",
    "Ranked",
    "Rate",
    "Refusal",
    "Rejected",
    "Reliability",
    "Remedy",
    "Sample",
    "SlidingWindow",
    "Source",
    "StepMemory",
    "Storage",
    "Throughput",
    "TokenRule",
    "active_parameters",
    "adapter_parameters",
    "attention_pairs_per_token",
    "by_convention",
    "by_depth",
    "by_parameters",
    "by_precision",
    "by_stage",
    "calibrate",
    "candidates",
    "compute_optimal",
    "corrected",
    "count_parameters",
    "counted_peak_bytes",
    "depth_candidates",
    "device_memory",
    "effective_data",
    "executed_flop_per_token",
    "expert_parameters",
    "figures",
    "find_device",
    "find_hardware",
    "find_shape",
    "fit",
    "fit_to_time",
    "flop_per_token",
    "format_bytes",
    "format_count",
    "format_duration",
    "format_flop",
    "format_value",
    "framework",
    "grid",
    "load_hardware",
    "load_law",
    "load_shape",
    "loss_law",
    "measured",
    "model_for_tokens",
    "native_gap",
    "optimal_band",
    "optimal_by_fit",
    "optimal_tokens",
    "optimizer",
    "parse_bytes",
    "parse_count",
    "parse_duration",
    "parse_flop",
    "parse_flop_per_s",
    "plan",
    "predicted_loss",
    "preset_names",
    "recipe",
    "remedies",
    "runtime_bytes",
    "search",
    "shape_from_hf",
    "step_memory",
    "to_dict",
    "to_html",
    "to_markdown",
    "to_text",
    "tokens_for",
    "training_rate",
    "training_verdict",
]
