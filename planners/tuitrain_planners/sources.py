"""The bibliography: every paper and page a formula of the planner rests on, by key.

`Quantity.source` holds such a key; the explain panel, the reports and planners/README.md print the full reference.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One work."""

    authors: str
    year: int
    title: str
    where: str
    """Equation, table or section the planner uses."""
    url: str

    def __str__(self) -> str:
        return f"{self.authors} ({self.year}), {self.title}, {self.where}, {self.url}"


BIBLIOGRAPHY: Final[dict[str, Source]] = {
    "patterson2021": Source(
        authors="Patterson et al.", year=2021, title="Carbon Emissions and Large Neural Network Training",
        where="section 2, equations for kWh and CO2e", url="https://arxiv.org/abs/2104.10350",
    ),
    "luccioni2022": Source(
        authors="Luccioni, Viguier, Ligozat", year=2022,
        title="Estimating the Carbon Footprint of BLOOM, a 176B Parameter Language Model",
        where="section 4.1: 150 kg per GPU and 2500 kg per server, 6 years at 85 % use", url="https://arxiv.org/abs/2211.02001",
    ),
    "daly2006": Source(
        authors="Daly", year=2006, title="A higher order estimate of the optimum checkpoint interval for restart dumps",
        where="section 4, total wall-clock time; equation 5, Young's (1974) period sqrt(2 C M)",
        url="https://doi.org/10.1016/j.future.2004.11.016",
    ),
    "llama3": Source(
        authors="Grattafiori et al.", year=2024, title="The Llama 3 Herd of Models",
        where="section 3.3.4: 419 unexpected interruptions in 54 days, 78 % of them hardware; above 90 % effective time",
        url="https://arxiv.org/abs/2407.21783",
    ),
    "opt2022": Source(
        authors="Zhang et al.", year=2022, title="OPT: Open Pre-trained Transformer Language Models",
        where="section 2.5: at least 35 manual and 70 automatic restarts in 2 months", url="https://arxiv.org/abs/2205.01068",
    ),
    "fsdp2023": Source(
        authors="Zhao et al.", year=2023, title="PyTorch FSDP: Experiences on Scaling Fully Sharded Data Parallel",
        where="section 3.2, units and their working memory", url="https://arxiv.org/abs/2304.11277",
    ),
    "kaplan2020": Source(
        authors="Kaplan et al.", year=2020, title="Scaling Laws for Neural Language Models",
        where="section 2.1, C = 6 N D with N without embeddings", url="https://arxiv.org/abs/2001.08361",
    ),
    "chinchilla": Source(
        authors="Hoffmann et al.", year=2022, title="Training Compute-Optimal Large Language Models",
        where="Tables 2-3, equations 2, 4 and 10, Appendix F", url="https://arxiv.org/abs/2203.15556",
    ),
    "nanogpt-scaling": Source(
        authors="Karpathy", year=2023, title="nanoGPT scaling_laws.ipynb",
        where="log-log lines through the rows of Hoffmann et al., Tables 3 and A3",
        url="https://github.com/karpathy/nanoGPT/blob/master/scaling_laws.ipynb",
    ),
    "epoch2024": Source(
        authors="Besiroglu, Erdil, Barnett, You", year=2024, title="Chinchilla Scaling: A replication attempt",
        where="fitted parameters with standard errors", url="https://arxiv.org/abs/2404.10102",
    ),
    "muennighoff2023": Source(
        authors="Muennighoff et al.", year=2023, title="Scaling Data-Constrained Language Models",
        where="equation 5 and Appendix A", url="https://arxiv.org/abs/2305.16264",
    ),
    "palm2022": Source(
        authors="Chowdhery et al.", year=2022, title="PaLM: Scaling Language Modeling with Pathways",
        where="Appendix B, model FLOPs utilisation", url="https://arxiv.org/abs/2204.02311",
    ),
    "megatron2021": Source(
        authors="Narayanan et al.", year=2021,
        title="Efficient Large-Scale Language Model Training on GPU Clusters Using Megatron-LM",
        where="Appendix, FLOP of the matrix products; the code since counts causal attention at half",
        url="https://arxiv.org/abs/2104.04473",
    ),
    "korthikanti2022": Source(
        authors="Korthikanti et al.", year=2022, title="Reducing Activation Recomputation in Large Transformer Models",
        where="sections 4 and 5: activation bytes per layer, model versus hardware FLOP", url="https://arxiv.org/abs/2205.05198",
    ),
    "zero2019": Source(
        authors="Rajbhandari et al.", year=2019, title="ZeRO: Memory Optimizations Toward Training Trillion Parameter Models",
        where="section 3.1, bytes per parameter of mixed-precision Adam", url="https://arxiv.org/abs/1910.02054",
    ),
    "micikevicius2017": Source(
        authors="Micikevicius et al.", year=2017, title="Mixed Precision Training",
        where="section 3.1, 16-bit copies of 32-bit master weights", url="https://arxiv.org/abs/1710.03740",
    ),
    "muon2024": Source(
        authors="Jordan et al.", year=2024, title="Muon: An optimizer for hidden layers in neural networks",
        where="algorithm: one momentum per matrix, Newton-Schulz iteration", url="https://kellerjordan.github.io/posts/muon/",
    ),
    "flash2022": Source(
        authors="Dao et al.", year=2022, title="FlashAttention: Fast and Memory-Efficient Exact Attention with IO-Awareness",
        where="algorithm 1 and Appendix B: what the backward pass keeps", url="https://arxiv.org/abs/2205.14135",
    ),
    "fedus2021": Source(
        authors="Fedus, Zoph, Shazeer", year=2021, title="Switch Transformers: Scaling to Trillion Parameter Models",
        where="section 2: a router sends each token to few experts, so computation does not grow with their number",
        url="https://arxiv.org/abs/2101.03961",
    ),
    "deepseek2024": Source(
        authors="DeepSeek-AI", year=2024,
        title="DeepSeek-V2: A Strong, Economical, and Efficient Mixture-of-Experts Language Model",
        where="section 2.1, multi-head latent attention, equations 9 to 19", url="https://arxiv.org/abs/2405.04434",
    ),
    "hu2021": Source(
        authors="Hu et al.", year=2021, title="LoRA: Low-Rank Adaptation of Large Language Models",
        where="section 4.1: r (m + n) parameters beside a frozen m x n", url="https://arxiv.org/abs/2106.09685",
    ),
    "beltagy2020": Source(
        authors="Beltagy, Peters, Cohan", year=2020, title="Longformer: The Long-Document Transformer",
        where="section 3.1: a window of w costs s w, not s^2", url="https://arxiv.org/abs/2004.05150",
    ),
    "shazeer2020": Source(
        authors="Shazeer", year=2020, title="GLU Variants Improve Transformer",
        where="SwiGLU; inner width 2/3 of 4 h keeps the parameter count", url="https://arxiv.org/abs/2002.05202",
    ),
    "qlora2023": Source(
        authors="Dettmers et al.", year=2023, title="QLoRA: Efficient Finetuning of Quantized LLMs",
        where="section 3, NF4, double quantisation, paged optimizers", url="https://arxiv.org/abs/2305.14314",
    ),
    "dettmers2022": Source(
        authors="Dettmers et al.", year=2022, title="8-bit Optimizers via Block-wise Quantization",
        where="section 2, moments in 8 bits by block", url="https://arxiv.org/abs/2110.02861",
    ),
    "adafactor2018": Source(
        authors="Shazeer, Stern", year=2018, title="Adafactor: Adaptive Learning Rates with Sublinear Memory Cost",
        where="section 3, the second moment as a row and a column", url="https://arxiv.org/abs/1804.04235",
    ),
    "dpo2023": Source(
        authors="Rafailov et al.", year=2023, title="Direct Preference Optimization",
        where="equation 7, a trained and a reference model on pairs", url="https://arxiv.org/abs/2305.18290",
    ),
    "shazeer2017": Source(
        authors="Shazeer et al.", year=2017,
        title="Outrageously Large Neural Networks: The Sparsely-Gated Mixture-of-Experts Layer",
        where="section 2, router and dispatch", url="https://arxiv.org/abs/1701.06538",
    ),
    "ring2023": Source(
        authors="Liu, Zaharia, Abbeel", year=2023, title="Ring Attention with Blockwise Transformers for Near-Infinite Context",
        where="section 3, blocks of keys and values passed on", url="https://arxiv.org/abs/2310.01889",
    ),
    "liger2024": Source(
        authors="Hsu et al.", year=2024, title="Liger Kernel: Efficient Triton Kernels for LLM Training",
        where="section 3.2, fused linear cross-entropy", url="https://arxiv.org/abs/2410.10989",
    ),
    "lion2023": Source(
        authors="Chen et al.", year=2023, title="Symbolic Discovery of Optimization Algorithms",
        where="algorithm 2: one moment, the update its sign", url="https://arxiv.org/abs/2302.06675",
    ),
    "lomo2023": Source(
        authors="Lv et al.", year=2023, title="Full Parameter Fine-tuning for Large Language Models with Limited Resources",
        where="section 3.2, the step fused into backward", url="https://arxiv.org/abs/2306.09782",
    ),
}  # fmt: skip
