"""What a plan is good for: copying its command, planning for this machine, measuring it, launching."""

from __future__ import annotations

from pathlib import Path

from tuitrain.tui.messages import JobDone
from tuitrain.tui.plan.command import plan_command
from tuitrain.tui.plan.state import Planning
from tuitrain.tui.plan.this_machine import measure, this_form
from tuitrain.tui.render.dialog import Choice
from tuitrain.tui.screens.base import TuiScreen
from tuitrain.tui.screens.confirm import ConfirmScreen
from tuitrain.tui.screens.jobs import Say


class PlanJobs(TuiScreen):
    """A screen with a plan that its keys may act on."""

    planning: Planning

    def replanned(self, *, rethink: bool = False) -> None:
        """Show the plan of the form as it stands."""
        raise NotImplementedError

    def action_plan_copy(self) -> None:
        """Copy the command that says the same."""
        planning = self.planning
        if planning.planned is None or planning.stale:
            self.tui.say("the form has no plan: nothing to copy", severity="warning")
            return
        command = plan_command(planning.form, planning.planned.request)
        self.app.copy_to_clipboard(command)
        body = f"{command}\n\nA terminal that does not take it lets you select it here."
        self.app.push_screen(ConfirmScreen("Copied", body, (Choice(id="keep", label="Back to the form"),)))

    def action_plan_this(self) -> None:
        """Fill the form in for this machine."""
        form = this_form(self.tui.this)
        if form is None:
            what = "looking at this machine" if self.tui.this is None else "this machine was never measured; M measures it"
            self.tui.say(what, severity="warning")
            return
        self.planning.change(form)
        self.replanned()

    def action_plan_measure(self) -> None:
        """Measure this machine, in a thread."""
        machine, precision = self.tui.this, self.planning.form["precision"]
        if machine is None:
            self.tui.say("looking at this machine", severity="warning")
            return
        if self.tui.home.said:
            self.tui.say(f"still busy: {self.tui.home.said}", severity="warning")
            return

        def work(say: Say) -> JobDone:
            say(f"measuring this machine in {precision}, a minute or two")
            return JobDone(measure(machine, precision))

        self.tui.bridge.job("measure", work)

    def action_plan_launch(self) -> None:
        """Write the configuration and start it, when the trainer can train it; else say why, and offer the command."""
        from tuitrain.runs.plan_launch import refusal

        planned = self.planning.planned
        if planned is None or self.planning.stale:
            self.tui.say("the form has no plan: nothing to launch", severity="warning")
            return
        why = refusal(planned.request, verdict=planned.memory.verdict)
        if why:
            choices = (Choice(id="keep", label="Back to the form"), Choice(id="copy", label="Copy the command that plans it"))
            body = f"{why}.\n\nThe key t fills in what this machine can train."
            self.app.push_screen(ConfirmScreen("This cannot be launched here", body, choices), self._refused)
            return
        self._ask_launch()

    def _refused(self, choice: str | None) -> None:
        if choice == "copy":
            self.action_plan_copy()

    def _ask_launch(self) -> None:
        from tuitrain.config.dump import to_toml
        from tuitrain.runs.plan_launch import CORPUS_NOTE, run_config, run_name
        from tuitrain.tui.screens.plan_launch import PlanLaunchScreen, free_path

        planning = self.planning
        assert planning.planned is not None, "refused before"
        model = planning.form["model"].strip()
        command = plan_command(planning.form, planning.planned.request)
        request = planning.planned.request
        config = run_config(request, planning.planned.tokens.value, model, run_name(model))
        text = to_toml(config, comment=f"planned with: {command}")
        path = free_path(self.tui.bridge.store.root, run_name(model))
        self.app.push_screen(PlanLaunchScreen(text, path, CORPUS_NOTE), self._written)

    def _written(self, answer: tuple[Path, bool] | None) -> None:
        if answer is None:
            return
        path, start = answer
        if not start:
            self.tui.say(f"written; tuitrain train {path}")
            return
        root = self.tui.bridge.store

        def launch(say: Say) -> JobDone:
            from tuitrain.runs.plan_launch import launch_file

            say(f"starting {path.stem}")
            return JobDone(f"{path.stem} trains; quit any time with q, it goes on", open_run=launch_file(path, root, say).path)

        self.tui.bridge.job("launch", launch)
