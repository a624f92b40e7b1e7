"""The worker: loads a model folder, or an adapter beside its base, with transformers and generates, streaming.
`tuitrain.runs.generation` says what it speaks.

    python -m tuitrain.engine.worker MODEL_DIR [--threads N]

stdout carries the protocol alone; whatever libraries print goes to stderr. Only safetensors are loaded, and no code from
the folder.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from queue import Queue
from typing import Any

import torch
from transformers import AutoTokenizer, StoppingCriteria, StoppingCriteriaList, TextIteratorStreamer

from tuitrain.model.trained import load_trained


class _Stop(StoppingCriteria):  # type: ignore[misc]
    """Ends a generation when asked to."""

    def __init__(self) -> None:
        self.asked = threading.Event()

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        return torch.full((input_ids.shape[0],), self.asked.is_set(), dtype=torch.bool, device=input_ids.device)


class Worker:
    """One model, one generation at a time."""

    def __init__(self, folder: Path, out: Any) -> None:
        self._out, self._lock = out, threading.Lock()
        start = time.perf_counter()
        device = "cuda" if torch.cuda.is_available() else "cpu"
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        dtype = torch.float32 if device == "cpu" else torch.bfloat16
        trained = load_trained(folder, dtype=dtype, device=torch.device(device))
        self.model, self.adapted = trained.lm, trained.adapted
        self._stop = _Stop()
        self.ends = _end_ids(self.model, self.tokenizer)
        self.say(
            kind="ready",
            model=folder.name,
            adapter=self.adapted,
            parameters=self.model.num_parameters(),
            context=int(self.model.config.max_position_embeddings),
            has_chat_template=self.tokenizer.chat_template is not None,
            load_s=time.perf_counter() - start,
        )

    def say(self, **message: Any) -> None:
        """One line of the protocol."""
        with self._lock:
            self._out.write(json.dumps(message) + "\n")
            self._out.flush()

    def stop(self) -> None:
        """End the current generation."""
        self._stop.asked.set()

    def generate(self, request: dict[str, Any]) -> None:
        """Answer one request."""
        self._stop.asked.clear()
        ids = self._encode(request)
        context = int(self.model.config.max_position_embeddings)
        room = context - ids.shape[1]
        if room < 1:
            self.say(
                kind="error",
                message=f"the prompt has {ids.shape[1]} tokens, the model's context is {context}",
                hint="shorten it",
            )
            return
        if request.get("seed") is not None:
            torch.manual_seed(int(request["seed"]))
        streamer = TextIteratorStreamer(self.tokenizer, skip_prompt=True, skip_special_tokens=True)
        temperature = float(request["temperature"])
        sampling: dict[str, Any] = {"do_sample": False}
        if temperature > 0:
            sampling = {
                "do_sample": True,
                "temperature": temperature,
                "top_p": request["top_p"],
                "top_k": request["top_k"] or None,
            }
        result: dict[str, Any] = {}

        def work() -> None:
            base = (
                contextlib.nullcontext() if request.get("adapter", True) or not self.adapted else self.model.disable_adapter()
            )
            try:
                with torch.inference_mode(), base:
                    result["ids"] = self.model.generate(
                        ids,
                        attention_mask=torch.ones_like(ids),
                        streamer=streamer,
                        max_new_tokens=min(int(request["max_tokens"]), room),
                        pad_token_id=self.tokenizer.eos_token_id,
                        eos_token_id=sorted(self.ends) or None,
                        use_cache=True,
                        stopping_criteria=StoppingCriteriaList([self._stop]),
                        **sampling,
                    )
            except Exception as error:  # the thread's boundary: told to the client
                result["error"] = f"{type(error).__name__}: {error}"
                streamer.end()

        start = time.perf_counter()
        thread = threading.Thread(target=work)
        thread.start()
        for piece in streamer:
            if piece:
                self.say(kind="text", text=piece)
        thread.join()
        if "error" in result:
            self.say(kind="error", message=result["error"], hint="")
            return
        wall_s = time.perf_counter() - start
        made = int(result["ids"].shape[1] - ids.shape[1])
        ended = made > 0 and int(result["ids"][0, -1]) in self.ends
        reason = "stopped" if self._stop.asked.is_set() else "end" if ended else "length"
        self.say(kind="done", tokens=made, wall_s=wall_s, tokens_per_s=made / wall_s if wall_s else 0.0, reason=reason)

    def _encode(self, request: dict[str, Any]) -> torch.Tensor:
        if request.get("messages") is not None:
            ids = self.tokenizer.apply_chat_template(
                request["messages"], add_generation_prompt=True, return_tensors="pt", return_dict=False
            )
        else:
            # Pretraining saw the end-of-document token before every document, so a prompt starts with it too.
            text_ids = self.tokenizer(request["prompt"], add_special_tokens=False)["input_ids"]
            ids = torch.tensor([[self.tokenizer.eos_token_id, *text_ids]])
        return ids.to(self.model.device)  # type: ignore[no-any-return]


def _end_ids(model: Any, tokenizer: Any) -> set[int]:
    """Every id at which generation stops: a chat model often has two."""
    configured = model.generation_config.eos_token_id
    ends = set(configured) if isinstance(configured, list) else {configured}
    return {int(each) for each in (*ends, tokenizer.eos_token_id) if each is not None}


def requests(worker_queue: Queue[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Requests until quit or the end of stdin."""
    while (request := worker_queue.get())["op"] != "quit":
        yield request


def main() -> int:
    """Load, answer until told to quit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("model_dir", type=Path)
    parser.add_argument("--threads", type=int)
    arguments = parser.parse_args()
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    try:
        worker = Worker(arguments.model_dir, out)
    except Exception as error:  # the process boundary: the client shows it
        out.write(
            json.dumps(
                {
                    "kind": "error",
                    "message": f"{arguments.model_dir} cannot be loaded: {error}",
                    "hint": "give a run or a Hugging Face model folder",
                }
            )
            + "\n"
        )
        out.flush()
        return 1
    queue: Queue[dict[str, Any]] = Queue()

    def listen() -> None:
        for line in sys.stdin:
            message = json.loads(line)
            if message["op"] == "stop":
                worker.stop()
            else:
                queue.put(message)
        queue.put({"op": "quit"})

    threading.Thread(target=listen, daemon=True).start()
    for request in requests(queue):
        worker.generate(request)
    return 0


if __name__ == "__main__":
    sys.exit(main())
