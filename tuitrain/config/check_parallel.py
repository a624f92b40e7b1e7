"""What cannot be among several processes: sharding that contradicts itself, and process counts that divide nothing.

`impossible_parallel` is asked of a file; `indivisible` again once `run.nproc = "auto"` has become a number, which no file says.
"""

from __future__ import annotations

from collections.abc import Iterator

from tuitrain.config.schema import Config

Finding = tuple[str, str, str]
"""(dotted key, what is wrong with values, what to do)"""
SHORTEST_AUTO_SEQ_LEN = 64


def impossible_parallel(config: Config) -> Iterator[Finding]:
    """Every impossible combination of [parallel] with itself and with the rest."""
    yield from _sharding(config)
    yield from _states(config)
    yield from indivisible(config)


def indivisible(config: Config) -> Iterator[Finding]:
    """What the number of processes does not divide. Nothing is said of what is still open."""
    yield from _shard_group(config)
    yield from _batch(config)


def nearest_divisor(number: int, wanted: int) -> int:
    """The divisor of `number` that is nearest to `wanted`; the smaller of two."""
    divisors = [each for each in range(1, number + 1) if number % each == 0]
    return min(divisors, key=lambda each: (abs(each - wanted), each))


def _sharding(config: Config) -> Iterator[Finding]:
    parallel = config.parallel
    if parallel.offload and parallel.zero < 2:
        message = f"moves sharded states to the host, and parallel.zero = {parallel.zero} keeps weights and gradients whole"
        yield "parallel.offload", message, "parallel.zero = 3, or 2"
    if not parallel.reshard and parallel.zero < 3:
        message = f"gathered weights stay through a step: that is of zero = 3; parallel.zero is {parallel.zero}"
        yield "parallel.reshard", message, "parallel.zero = 3, or leave it out"
    if parallel.shard_group is not None and parallel.zero == 0:
        message = f"groups of {parallel.shard_group} would share what parallel.zero = 0 holds whole in every process"
        yield "parallel.shard_group", message, "parallel.zero = 1, 2 or 3, or leave it out"


def _states(config: Config) -> Iterator[Finding]:
    zero, kind = config.parallel.zero, config.optim.kind
    if not zero:
        return
    if kind in ("adamw-8bit", "adamw-paged", "adamw-paged-8bit"):
        message = f"{kind} is bitsandbytes', which knows no sharded tensors; parallel.zero is {zero}"
        yield "optim.kind", message, "optim.kind = 'adamw': sharded, its moments are small too"
    if config.method.kind == "qlora" and config.method.quant == "int8" and zero >= 2:
        # bitsandbytes' 4-bit layer remembers the scales of its weight; the 8-bit one reads them from the weight itself
        # (Int8Params.CB), and FSDP2 gathers plain tensors.
        message = f"8-bit weights carry their scales with them, where cutting loses them; parallel.zero is {zero}"
        yield "parallel.zero", message, "method.quant = 'nf4', which can be cut; or parallel.zero = 1 or 0"


def _shard_group(config: Config) -> Iterator[Finding]:
    group, nproc = config.parallel.shard_group, config.run.nproc
    if group is not None and nproc != "auto" and nproc % group:
        message = f"groups of {group} do not divide {nproc} process{'es' * (nproc > 1)}"
        yield "parallel.shard_group", message, f"nearest that does: {nearest_divisor(nproc, group)}"


def _batch(config: Config) -> Iterator[Finding]:
    train, nproc = config.train, config.run.processes
    if train.batch_sequences is not None:
        yield from _sequences("train.batch_sequences", train.batch_sequences, config)
        return
    if train.batch_tokens == "auto":
        return
    if train.seq_len == "auto":
        unit = SHORTEST_AUTO_SEQ_LEN * nproc * (train.micro_batch if train.micro_batch != "auto" else 1)
        if train.batch_tokens % unit:
            message = f"{train.batch_tokens} tokens are no multiple of {unit}, the least that train.seq_len = 'auto' can divide"
            yield "train.batch_tokens", message, "give train.seq_len too"
        return
    sequences, rest = divmod(train.batch_tokens, train.seq_len)
    if rest:
        low, high = max(1, sequences) * train.seq_len, (sequences + 1) * train.seq_len
        message = f"{train.batch_tokens} tokens are no whole number of sequences of {train.seq_len}"
        yield "train.batch_tokens", message, f"nearest: {low} or {high}"
        return
    yield from _sequences("train.batch_tokens", sequences, config)


def _sequences(key: str, sequences: int, config: Config) -> Iterator[Finding]:
    """Whether that many sequences per step are dealt out evenly, and each process's into micro-batches."""
    train, nproc = config.train, config.run.processes
    if sequences % nproc:
        near = max(nproc, round(sequences / nproc) * nproc)
        said = f"{near * int(train.seq_len)} tokens" if key == "train.batch_tokens" else str(near)
        message = f"{sequences} sequences per step do not divide among {nproc} processes"
        yield key, message, f"nearest: {said}, or run.nproc={nearest_divisor(sequences, nproc)}"
        return
    per_process = sequences // nproc
    if train.micro_batch != "auto" and per_process % train.micro_batch:
        near = nearest_divisor(per_process, train.micro_batch)
        message = f"micro-batches of {train.micro_batch} do not divide the {per_process} sequences of each process"
        yield "train.micro_batch", message, f"nearest that does: {near}"
