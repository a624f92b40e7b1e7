"""One device's training step, taken apart: what it holds throughout, and what each phase adds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Final

from tuitrain_planners.memory.activations import activations
from tuitrain_planners.memory.copies import Copies, copies
from tuitrain_planners.memory.frozen import unpacked
from tuitrain_planners.memory.gloo import gathered_copy, summed_copy
from tuitrain_planners.memory.gradients import Gradients, gradients
from tuitrain_planners.memory.head import loss_head
from tuitrain_planners.memory.holding import Stage, held
from tuitrain_planners.memory.layer import Layer, Work
from tuitrain_planners.memory.new_rows import new_rows
from tuitrain_planners.memory.question import Question
from tuitrain_planners.memory.runtime import buffer_bytes, runtime
from tuitrain_planners.memory.sharding import Gathered, gathered
from tuitrain_planners.memory.states import (
    optimizer_bytes,
    per_parameter,
    step_workspace_bytes,
    trained,
    weight_bytes,
    working_copy_bytes,
)
from tuitrain_planners.parameters import hidden_matrix_groups
from tuitrain_planners.quantity import Quantity, derived, total

FP32_BYTES: Final = 4
_GROUP_ORDER: Final = ("weights", "gradients", "optimizer", "gathered", "activations", "head", "buffers", "runtime")


class Step:
    """The parts of one device's step, each computed once."""

    def __init__(self, question: Question, stage: Stage) -> None:
        ask = self.question = question
        framework = ask.sharding.framework
        self.sharding, self.stage = ask.sharding, stage
        self.precision = framework.states(ask.precision)
        self.holding = held(ask.shape, ask.mesh, stage)
        self.trained = trained(self.holding, ask.adapter)
        self.tokens = ask.seq_len * ask.sequences // ask.mesh.cp
        work = Work(
            tokens=self.tokens,
            seq_len=ask.seq_len,
            cut=ask.mesh.sequence_cut,
            naive=ask.attention == "naive",
            fused=ask.compiled and ask.device == "gpu",
            mask_bytes=1 if ask.device == "gpu" else None,
            imbalance=ask.expert_imbalance,
        )
        self.acts = activations(
            self.holding.shape,
            seq_len=ask.seq_len,
            micro_batch=ask.sequences,
            precision=self.precision,
            recompute=ask.recompute,
            framework=framework,
            adapter=ask.adapter,
            mesh=ask.mesh,
            stage=stage,
            micro_batches=ask.micro_batches,
            work=work,
        )
        self.layer = Layer(self.holding.shape, work, self.precision, framework, ask.adapter)
        # Autocast drops its casts when the forward pass ends, unless a layer keeps them for its backward: then the loss is
        # worst before backward begins.
        wide = self.precision.matrix.weight == FP32_BYTES if ask.adapter is None else ask.adapter.base == "fp32"
        self.casts = framework.autocast and self.precision.compute_bytes < FP32_BYTES and wide
        self.dropped = self.casts and ask.recompute != "none"
        self.head = loss_head(
            self.holding.shape,
            tokens=self.tokens if self.holding.has_head else 0,
            precision=self.precision,
            kind=ask.loss,
            chunk_rows=ask.chunk_rows,
            in_forward=self.dropped,
            frozen=ask.adapter is not None and not ask.adapter.trains_ends,
            held_bytes=framework.held_logit_bytes,
        )
        whole_weights = not self.sharding.shards_weights
        own_casts = self.own_casts = framework.casts_by_product and whole_weights and ask.adapter is None
        self.copies = copies(self.holding, self.precision, recomputing=ask.recompute != "none") if own_casts else Copies()
        self.weights = weight_bytes(
            self.holding, self.precision, ask.adapter, copies=not self.casts and not own_casts and whole_weights
        )
        self.grads: Gradients = gradients(
            self.holding,
            self.trained,
            self.precision,
            self.sharding,
            adapter=ask.adapter,
            accumulating=ask.micro_batches > 1,
            in_backward=ask.step_in_backward,
            loss=ask.loss,
        )
        self.units: Gathered = gathered(
            self.holding, self.precision, self.sharding, loss=ask.loss, adapter=ask.adapter, accumulating=ask.micro_batches > 1
        )
        self.states = optimizer_bytes(self.trained, self.precision, ask.optimizer, ask.adapter)

    def phases(self) -> tuple[Quantity, ...]:
        """Every phase, in the order of time."""
        ask, acts, units, grads, made = self.question, self.acts, self.units, self.grads, self.copies
        casts = tuple(self._casts())
        later = () if ask.recompute != "none" else casts
        held_always = self._held()
        loss_gradients = () if grads.whole_always or not self.holding.has_head else (self.head.gradients,)
        last = (acts.waiting, acts.live_layer, acts.backward)
        copy = self._written() if ask.device == "cpu" and ask.adapter is None else ()
        head = (self.head.temporaries, *self._unpacked_head()) if self.holding.has_head else ()
        return (
            _phase(
                "forward", held_always, weights=(*casts, *made.forward), activations=(acts.saved,), gradients=grads.passes,
                gathered=units.forward,
            ),
            _phase(
                "loss", held_always, weights=(*casts, *made.loss), activations=(acts.saved,),
                gradients=(*grads.passes, *loss_gradients), head=head, gathered=units.loss,
            ),
            _phase(
                "backward_start", held_always, weights=(*later, *made.backward_start), activations=self.at_last_layer(),
                gradients=(*grads.passes, *grads.start), gathered=units.backward_start, runtime=self._summed_by_gloo(),
            ),
            _phase(
                "backward_end", held_always, weights=(*later, *made.backward_end), activations=last,
                gradients=(*grads.passes, *grads.end), gathered=units.backward_end, runtime=self._summed_by_gloo(),
            ),
            max(self.embedding_moments(), key=lambda moment: moment.value),
            _phase(
                "optimizer", held_always, gradients=grads.step, optimizer=self._workspace(), runtime=self._gathered_by_gloo()
            ),
            _phase("save", held_always, weights=copy, gathered=self._whole_model()),
        )  # fmt: skip

    def at_last_layer(self) -> tuple[Quantity, ...]:
        """Activations when the last layer's backward begins: the final norm's are gone; a recomputed layer's result stands."""
        ask, acts, shape = self.question, self.acts, self.holding.shape
        layers = acts.saved.terms[0]
        saved = total("activations", (layers, self.layer.ends(first=self.stage != "last", last=False)), source=layers.source)
        if ask.recompute == "none":
            return (saved, acts.rebuilt, acts.backward)
        t, h, c = self.tokens // ask.mesh.sequence_cut, shape.hidden_size, self.precision.compute_bytes
        result = derived("result of the recomputed layer", t * h * c, "bytes", "t * h * c", t=t, h=h, c=c)
        return (saved, acts.rebuilt, acts.backward, result)

    def embedded_bytes(self) -> Quantity:
        """Gradient of what was looked up in the embedding, as wide as the table it comes from."""
        t, h = self.tokens // self.question.mesh.sequence_cut, self.holding.shape.hidden_size if self.trained.embedding else 0
        e = self.precision.matrix.weight if self.own_casts else self.precision.compute_bytes
        return derived("gradient of the embedded tokens", t * h * e, "bytes", "t * h * e", t=t, h=h, e=e)

    def embedding_moments(self) -> tuple[Quantity, Quantity, Quantity]:
        """Three moments of the embedding's backward: its gradient is made, a tied table's two are added, they are summed over
        the ranks. At the first the gradient of what was looked up stands too."""
        held_always, found = self._held(), self.embedded_bytes()
        waiting, table, grads = self.acts.waiting, self.units.backward_embedding, self.grads
        made, added, summed = ((*grads.passes, *each) for each in (grads.embedding, grads.added, grads.summed))
        return (
            _phase("backward_embedding", held_always, activations=(waiting, found), gradients=made, gathered=table),
            _phase("backward_embedding", held_always, activations=(waiting,), gradients=added, gathered=table),
            _phase("backward_embedding", held_always, activations=(waiting,), gradients=summed, gathered=self.units.summed),
        )

    def _on_device(self) -> bool:
        """Whether the optimizer's states are: paged ones live in host memory as far as the device's allocator knows."""
        return self.question.offload == "none" and not self.question.optimizer.paged

    def host_bytes(self) -> Quantity:
        """Offloaded or paged states of this device."""
        parts = []
        if not self._on_device():
            parts.append(self.sharding.optimizer(self.states))
        if self.question.offload == "all":
            parts.append(self.sharding.weights(self.weights))
        return total("host memory of offloaded states", parts, unit="bytes")

    def states_held(self) -> Quantity:
        """Weights and optimizer states, without the copies that come and go."""
        always = self._held()
        return total("states", (always["weights"], always["optimizer"]), unit="bytes")

    def _held(self) -> dict[str, Quantity]:
        """What stays through all phases."""
        ask = self.question
        weights = [] if ask.offload == "all" else [self.sharding.weights(self.weights)]
        if ask.reference == "copy":
            each = per_parameter("reference model", self.holding.count, self.precision.compute_bytes, "dpo2023")
            weights.append(self.sharding.weights(each))
        return {
            "weights": weights[0] if len(weights) == 1 else total("weights", weights, unit="bytes"),
            "gradients": total("gradients", self.grads.always, unit="bytes"),
            "optimizer": self.sharding.optimizer(self.states) if self._on_device() else total("optimizer", (), unit="bytes"),
            "buffers": total("buffers", self._buffers(), unit="bytes"),
            "runtime": total("runtime", runtime(ask.device, ask.sharding.framework.resident).counted(compiled=ask.compiled)),
        }

    def _buffers(self) -> list[Quantity]:
        ask = self.question
        parts = [
            buffer_bytes(ask.shape, ask.seq_len // ask.mesh.cp, self.precision),
            *self.sharding.framework.bucket_bytes(self.sharding.stage),
        ]
        if ask.adapter is not None:
            parts += unpacked(self.holding, ask.adapter, self.precision.compute_bytes, recomputing=ask.recompute == "full")
        if ask.mesh.cp > 1:
            parts.append(
                per_parameter(
                    "keys and values of a neighbour, twice",
                    4 * self.tokens * self.holding.shape.kv_size,
                    self.precision.compute_bytes,
                    "ring2023",
                )
            )
        return [each for each in parts if each.value]

    def _unpacked_head(self) -> tuple[Quantity, ...]:
        """The head in the type of its products, where it is kept in 8 bits."""
        ask = self.question
        if ask.adapter is None or not ask.adapter.ends_in_int8:
            return ()
        entries = self.holding.shape.vocab_size * self.holding.shape.hidden_size
        return (per_parameter("head, unpacked", entries, self.precision.compute_bytes, "definition"),)

    def _casts(self) -> Iterator[Quantity]:
        """16-bit copies of the weights that autocast makes; of frozen ones too, which backward multiplies by."""
        adapter, c = self.question.adapter, self.precision.compute_bytes
        if self.casts and adapter is None:
            yield working_copy_bytes(self.holding, self.precision, embedding=False)
        elif self.casts:
            matrices = self.holding.hidden + self.holding.head
            yield per_parameter("casts of frozen matrices", matrices, c, "micikevicius2017")
        if adapter is not None and self.sharding.framework.autocast and c < adapter.weight_bytes:
            yield per_parameter("casts of adapters", self.trained.adapter, c, "micikevicius2017")

    def _whole_model(self) -> tuple[Quantity, ...]:
        """What a full state dict puts together on a device to save it."""
        if not (self.sharding.framework.gathers_to_save and self.sharding.shards_weights and self.sharding.ranks > 1):
            return ()
        return (total("whole model, to be saved", self.weights.whole.terms),)

    def _workspace(self) -> tuple[Quantity, ...]:
        """Of the optimizer's step, or of what ZeRO-1 does after it, whichever is more."""
        parts, after = self._moving(), new_rows(self.holding, self.trained, self.precision, self.sharding)
        return (after,) if after.value > sum(each.value for each in parts) else parts

    def _moving(self) -> tuple[Quantity, ...]:
        if self.question.offload != "none":
            return ()
        ranks = self.sharding.ranks if self.sharding.stage >= 1 else 1
        work = step_workspace_bytes(self.holding, self.trained, self.precision.matrix, self.question.optimizer, ranks=ranks)
        entrywise = self.question.optimizer.temporary_moments or self.question.optimizer.largest_bytes
        shared = self.sharding.optimizer(work) if entrywise else work
        if not self.sharding.framework.widens_gradients or self.question.adapter is not None:
            return (shared,)
        wide = per_parameter("gradients in 32 bits", self.trained.matrices + self.trained.experts + self.trained.vectors, 4)
        return (shared, self.sharding.optimizer(wide))

    def _summed_by_gloo(self) -> tuple[Quantity, ...]:
        """On the CPU, sharded gradients being summed."""
        if self.question.device != "cpu" or self.sharding.ranks == 1 or not self.sharding.shards_gradients:
            return ()
        adapted = self.question.adapter is not None
        return (summed_copy(self.trained.adapter // self.holding.shape.num_layers if adapted else self.holding.layer),)

    def _gathered_by_gloo(self) -> tuple[Quantity, ...]:
        """On the CPU, new rows being gathered, where they are the step's fullest moment."""
        rows = new_rows(self.holding, self.trained, self.precision, self.sharding)
        if self.question.device != "cpu" or not rows.value or self._workspace() != (rows,):
            return ()
        return (gathered_copy(rows, self.sharding.ranks),)

    def _written(self) -> tuple[Quantity, ...]:
        """A cut model's largest tensor, whole: files are written tensor by tensor. What is whole is written as it is."""
        if not self.sharding.shards_weights or self.sharding.ranks == 1:
            return ()
        shape = self.holding.shape
        largest = max(shape.vocab_size * shape.hidden_size, *(rows * columns for rows, columns in hidden_matrix_groups(shape)))
        return (per_parameter("tensor being written", largest, self.precision.matrix.weight, "definition"),)


def _phase(name: str, always: Mapping[str, Quantity], **more: tuple[Quantity, ...]) -> Quantity:
    """What is always held, and what this moment adds to each group."""
    terms = []
    for group in _GROUP_ORDER:
        base, extra = always.get(group), tuple(each for each in more.get(group, ()) if each.value)
        if len(extra) == 1 and extra[0].name == group and not (base and base.value):
            terms.append(extra[0])
        elif extra:
            terms.append(total(group, (*(base.terms or (base,) if base and base.value else ()), *extra)))
        elif base is not None:
            terms.append(base)
    return total(name, terms)
