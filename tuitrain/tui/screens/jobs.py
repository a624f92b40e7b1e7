"""What UPPER CASE does. The same on the list and on a dashboard: ask where it matters, do it in a thread, say what happened."""

from __future__ import annotations

from collections.abc import Callable

from tuitrain.runs import control
from tuitrain.runs.store import Run
from tuitrain.tui.messages import JobDone
from tuitrain.tui.render.consequences import unsaved
from tuitrain.tui.render.dialog import Choice
from tuitrain.tui.render.summary import RunSummary
from tuitrain.tui.screens.base import TuiScreen
from tuitrain.tui.screens.confirm import ConfirmScreen, TypedConfirmScreen

Say = Callable[[str], None]


class JobScreen(TuiScreen):
    """A screen with a run whose job its keys may touch."""

    def job_target(self) -> tuple[Run, RunSummary] | None:
        """The run meant, and how it stands."""
        raise NotImplementedError

    def job_labels(self) -> dict[str, str]:
        """Footer labels that flip with the state of the job."""
        target = self.job_target()
        return {"job.pause": "Continue"} if target and target[1].badge.word == "PAUSED" else {}

    def job_hidden(self) -> frozenset[str]:
        """Footer entries that mean nothing now. Their keys still answer, saying why."""
        target = self.job_target()
        if target is None:
            return frozenset({"job.pause", "job.save", "job.stop", "job.resume", "job.delete"})
        if target[1].live:
            return frozenset({"job.resume", "job.delete"})
        over = {"job.resume"} if target[1].badge.word == "FINISHED" else set()
        return frozenset({"job.pause", "job.save", "job.stop"} | over)

    def action_job_pause(self) -> None:
        """Pause, or continue when it is paused."""
        if target := self._live_target("pause"):
            paused = target[1].badge.word == "PAUSED"
            self._ask_trainer(target[0], "resume" if paused else "pause")

    def action_job_save(self) -> None:
        """Ask for a checkpoint."""
        if target := self._live_target("save"):
            self._ask_trainer(target[0], "save")

    def action_job_stop(self) -> None:
        """The stop menu."""
        target = self._live_target("stop")
        if target is None:
            return
        run, now = target
        choices = (
            Choice(id="keep", label="Keep training"),
            Choice(
                id="stop",
                label="Stop and save",
                consequence=f"finishes the step, saves, ends; R resumes it. `tuitrain runs stop {run.run_id}`",
            ),
            Choice(id="kill", label="Kill now", consequence=unsaved(now, self.tui.clock()), danger=True),
        )

        def decided(choice: str | None) -> None:
            if choice == "stop":
                self._ask_trainer(run, "stop")
            elif choice == "kill":
                self.tui.bridge.job("kill", lambda say: _kill(run, say))

        where = f"step {now.step:,}" + (f" of {now.total_steps:,}" if now.total_steps else "")
        self.app.push_screen(ConfirmScreen("Stop the training?", f"{run.run_id} is at {where}.", choices), decided)

    def action_job_resume(self) -> None:
        """Start the run again."""
        target = self.job_target()
        if target is None:
            return
        run, now = target
        if now.live:
            paused = now.badge.word == "PAUSED"
            self.tui.say(f"{run.run_id} is {'paused; P lets it go on' if paused else 'running'}", severity="warning")
            return
        if now.badge.word == "FINISHED":
            self.tui.say(f"{run.run_id} is finished: there is nothing left to train", severity="warning")
            return
        self.tui.bridge.job("resume", lambda say: _resume(run, say))

    def action_job_delete(self) -> None:
        """Delete the run, once its name was typed."""
        target = self.job_target()
        if target is None:
            return
        run, now = target
        if now.live:
            self.tui.say(f"{run.run_id} is running; X stops it", severity="warning")
            return
        lost = f"This deletes {run.run_id} with its checkpoints, log and samples. It cannot be undone."
        body = f"{lost}\n\nType its name to go on; esc leaves it."

        def decided(sure: bool | None) -> None:
            if sure:
                self.tui.bridge.job("delete", lambda say: self._delete(run))

        self.app.push_screen(TypedConfirmScreen("Delete this run?", body, run.run_id), decided)

    def _delete(self, run: Run) -> JobDone:
        self.tui.bridge.store.remove(run)
        return JobDone(f"{run.run_id} was deleted")

    def _live_target(self, verb: str) -> tuple[Run, RunSummary] | None:
        target = self.job_target()
        if target is None:
            return None
        if not target[1].live:
            self.tui.say(f"nothing to {verb}: {target[0].run_id} is {target[1].badge.word.lower()}", severity="warning")
            return None
        return target

    def _ask_trainer(self, run: Run, command: control.Command) -> None:
        def ask(say: Say) -> JobDone:
            control.send(run.control_file, command)
            return JobDone(f"asked to {command}; the trainer answers after its step")

        self.tui.bridge.job(command, ask)


def _kill(run: Run, say: Say) -> JobDone:
    from tuitrain.runs.kill import kill

    say(f"killing {run.run_id}")
    kill(run)
    return JobDone(f"{run.run_id} was killed")


def _resume(run: Run, say: Say) -> JobDone:
    # pydantic and the configuration schema come with it: 0.2 s that the first frame must not wait for
    from tuitrain.runs.launch import resume

    steps = run.checkpoint_steps()
    say(f"resuming {run.run_id} from {f'step {steps[-1]:,}' if steps else 'the beginning'}")
    resume(run)
    return JobDone(f"{run.run_id} is starting")
