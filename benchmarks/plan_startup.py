"""`tuitrain plan` for one model from a cold start, beside `accelerate estimate-memory` for the same model; and a plan inside a
running process.

Both read the same folder with a config.json written by transformers (Llama-3-8B). accelerate asks the hub whether the model
exists before it reads the folder, so a hub on this machine answers that one question at once: no network is in its time.
The two take turns, so that a busy moment meets both. CPU seconds stand beside wall seconds: the former hardly depend on what
else runs. The limits are ours: 0.35 s, a tenth of accelerate's time, and 2 ms inside a process.
"""

from __future__ import annotations

import http.server
import importlib.metadata
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from benchmarks.common import median, save, scratch_home, table

RUNS = 9
IN_PROCESS_RUNS = 200
NAME = "llama-3-8b"
MODEL = {
    "vocab_size": 128_256, "hidden_size": 4096, "intermediate_size": 14_336, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "max_position_embeddings": 8192, "tie_word_embeddings": False,
}  # fmt: skip
WRITE_CONFIG = """
import json, sys
from transformers import LlamaConfig
LlamaConfig(**json.loads(sys.argv[1])).save_pretrained(sys.argv[2])
"""
PARAMETERS = 8_030_261_248


class Hub(http.server.BaseHTTPRequestHandler):
    """Says of every model that it exists and is transformers'."""

    def do_GET(self) -> None:
        """/api/models/NAME."""
        body = json.dumps(
            {"id": NAME, "config": {"model_type": "llama"}, "library_name": "transformers", "siblings": []}
        ).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - http.server's name
        """Quiet."""


def once(command: list[str], folder: Path, env: dict[str, str]) -> tuple[float, float, str]:
    """Wall and CPU seconds of a whole process, and what it printed."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=env, cwd=folder)
    wall_s = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall_s, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stdout


def in_process_ms(folder: Path) -> list[float]:
    """Milliseconds of plan() alone, warm."""
    from tuitrain.runs.home import presets_dir
    from tuitrain_planners import PlanRequest, find_hardware, plan, shape_from_hf

    request = PlanRequest(
        shape=shape_from_hf(folder / NAME), hardware=find_hardware(presets_dir() / "hardware", "h100-80gb"), seq_len=8192
    )
    assert plan(request).parameters.value == PARAMETERS
    times = []
    for _ in range(IN_PROCESS_RUNS):
        start = time.perf_counter()
        plan(request)
        times.append((time.perf_counter() - start) * 1e3)
    return times


def main() -> None:
    """Measure and save."""
    scratch_home()
    folder = Path(tempfile.mkdtemp(prefix="tuitrain-bench-"))
    subprocess.run([sys.executable, "-c", WRITE_CONFIG, json.dumps(MODEL), str(folder / NAME)], check=True)
    hub = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    threading.Thread(target=hub.serve_forever, daemon=True).start()
    env = {**os.environ, "HF_ENDPOINT": f"http://127.0.0.1:{hub.server_port}", "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    env.pop("HF_HUB_OFFLINE", None)
    ours = [sys.executable, "-m", "tuitrain", "plan", NAME, "--gpu", "h100-80gb", "--zero", "3", "--gpus", "8", "--json"]
    theirs = [sys.executable, "-m", "accelerate.commands.accelerate_cli", "estimate-memory", NAME]
    kept: dict[str, list[tuple[float, float]]] = {"ours": [], "accelerate": []}
    for number in range(RUNS + 1):  # the first of each fills the disk cache and is not counted
        for name, command in (("ours", ours), ("accelerate", [*theirs, "--library_name", "transformers"])):
            wall_s, cpu_s, printed = once(command, folder, env)
            if name == "ours":
                assert json.loads(printed)["model"]["parameters"] == PARAMETERS
            else:
                assert "float32" in printed, printed
            if number:
                kept[name].append((wall_s, cpu_s))
    warm_ms = in_process_ms(folder)
    middle = {name: (median([wall for wall, _ in each]), median([cpu for _, cpu in each])) for name, each in kept.items()}
    table([
        ["what", "median wall s", "median CPU s"],
        ["tuitrain plan", *(f"{each:.3f}" for each in middle["ours"])],
        ["accelerate estimate-memory", *(f"{each:.3f}" for each in middle["accelerate"])],
        ["ratio", *(f"{theirs_s / ours_s:.1f}" for ours_s, theirs_s in zip(middle["ours"], middle["accelerate"], strict=True))],
    ])  # fmt: skip
    print(f"plan() inside a process: {median(warm_ms):.2f} ms; load of the machine {os.getloadavg()[0]:.1f}")
    save("plan_startup", {
        "runs": RUNS, "model": NAME, "load_average": round(os.getloadavg()[0], 2),
        "plan_wall_s": [wall for wall, _ in kept["ours"]], "plan_cpu_s": [cpu for _, cpu in kept["ours"]],
        "accelerate": importlib.metadata.version("accelerate"), "accelerate_wall_s": [wall for wall, _ in kept["accelerate"]],
        "accelerate_cpu_s": [cpu for _, cpu in kept["accelerate"]],
        "ratio_of_medians_wall": middle["accelerate"][0] / middle["ours"][0],
        "ratio_of_medians_cpu": middle["accelerate"][1] / middle["ours"][1],
        "in_process_median_ms": median(warm_ms),
    })  # fmt: skip


if __name__ == "__main__":
    main()
