"""When the run is judged: validation, early stopping, samples."""

from __future__ import annotations

import time

from tuitrain.config.resolve import EVAL_TIME_FRAC
from tuitrain.trainer.evaluate import Evaluation, evaluate
from tuitrain.trainer.preference import averages
from tuitrain.trainer.sample import continue_prompts
from tuitrain.trainer.setup import Setup
from tuitrain.trainer.state import Ending, TrainState


class Judge:
    """Evaluates and samples, and says when it is enough. Its time counts as training time: minutes are minutes."""

    def __init__(self, setup: Setup, state: TrainState, *, micro_batch: int) -> None:
        self._setup, self._state, self._micro_batch = setup, state, micro_batch
        self._sample_s = 0.0
        """What generating took the last time."""

    def evaluate(self, *, final: bool = False) -> None:
        """One pass over the validation set, or the part that `eval.max_tokens` grants. May end the run (early stopping)."""
        setup, state, config = self._setup, self._state, self._setup.resolved.config.eval
        setup.telemetry.phase("eval")
        start = time.perf_counter()
        found = comparable = self._loss(config.max_tokens if isinstance(config.max_tokens, int) else None)
        if final and isinstance(config.max_tokens, int):  # the best so far was judged on a part: only that part compares
            found = self._loss(None)
        eval_s = time.perf_counter() - start
        take = getattr(setup.loss, "take_sums", None)
        shown = {} if take is None else averages(setup.world.sum(take()))
        position = state.position
        position.train_s += eval_s
        best = comparable.loss < position.best_loss - config.min_delta
        if best:
            position.best_loss, position.best_step, position.evals_without_gain = comparable.loss, position.step, 0
        else:
            position.evals_without_gain += 1
        state.last_eval = {"eval_loss": found.loss, "bits_per_byte": found.bits_per_byte}
        setup.telemetry.emit_main(
            "eval",
            loss=found.loss,
            bits_per_byte=found.bits_per_byte,
            tokens=found.tokens,
            bytes=found.bytes,
            eval_s=eval_s,
            best=best,
            **shown,
        )
        if config.patience is not None and position.evals_without_gain >= config.patience and state.ending is None:
            state.ending = Ending("finished", f"early stopping: {config.patience} evaluations without improvement")

    def _loss(self, max_tokens: int | None) -> Evaluation:
        setup = self._setup
        return evaluate(
            setup.loss, setup.loader, setup.world, micro_batch=self._micro_batch, max_tokens=max_tokens,
            tick=setup.telemetry.tick,
        )  # fmt: skip

    def before_training(self) -> None:
        """What the base does untouched: whatever training claims is measured from there."""
        self.evaluate()
        self.sample(always=True)

    def sample(self, *, always: bool = False) -> None:
        """Continue the prompts. The main process does it alone where it has the whole model; the others wait at their next sum.
        Of a fine-tuning run not `always`: generating must not cost more than evaluating may."""
        setup, state, config = self._setup, self._state, self._setup.resolved.config
        prompts, all_together = setup.language.prompts, setup.parallel.cuts_weights
        dear = setup.tuned and not always and self._sample_s > EVAL_TIME_FRAC * state.position.train_s
        if all_together:
            dear = setup.world.from_main(dear)
        if dear or not config.eval.sample_tokens or not prompts or not (setup.world.is_main or all_together):
            return
        setup.telemetry.phase("sample")
        start = time.perf_counter()
        with setup.parallel.whole_ends():
            made = continue_prompts(
                setup.decoder,
                setup.language,
                max_tokens=config.eval.sample_tokens,
                temperature=config.eval.temperature,
                seed=config.run.seed + state.position.step,
                tick=setup.telemetry.tick,
            )
        sample_s = time.perf_counter() - start
        state.position.train_s += sample_s
        self._sample_s = sample_s
        for index, (prompt, (text, tokens)) in enumerate(zip(prompts, made, strict=True)):
            setup.telemetry.emit_main("sample", index=index, prompt=prompt.shown, text=text, tokens=tokens, sample_s=sample_s)
