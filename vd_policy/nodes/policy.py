"""The policy node: observations in, commands out, at control rate.

A lifecycle node. *Configure* loads and verifies the run, warms it up and listens; *activate* may command; *deactivate*
holds.
"""

from __future__ import annotations

import sys
import time
import traceback
from dataclasses import dataclass, replace

import torch
from lifecycle_msgs.srv import ChangeState
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from vd_policy.arm.spec import load_robot
from vd_policy.base.errors import BadInput, VdPolicyError
from vd_policy.base.settings import setting
from vd_policy.graph.trained import task_and_robot
from vd_policy.nodes.acting import Acting, ActingSettings
from vd_policy.nodes.acting_lockstep import LockstepActing
from vd_policy.nodes.acting_realtime import RealTimeActing
from vd_policy.nodes.diagnostics import ERROR, WARN, Diagnostics
from vd_policy.nodes.parameters import declare
from vd_policy.nodes.ros import RCLError, run, steady_timer
from vd_policy.policy.checkpoint import Run, load_run

SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE


@dataclass(frozen=True)
class PolicyNodeSettings(ActingSettings):
    """Parameters of the policy node."""

    run: str = setting("", "directory of the run to execute")
    autostart: bool = setting(True, "configure and activate without being told to")
    watchdog_hz: float = setting(20.0, "how often the inputs' freshness is looked at [Hz]", minimum=1)


class PolicyNode(LifecycleNode):
    """The life cycle around an `Acting`."""

    def __init__(self) -> None:
        super().__init__("policy", automatically_declare_parameters_from_overrides=True)
        self.settings = declare(self, PolicyNodeSettings)
        if self.settings.rollouts and not self.settings.lockstep:
            raise BadInput("rollouts", True, "only with lockstep", "set lockstep, or rollouts to false")
        self._diagnostics = Diagnostics(self)
        self._acting: Acting | None = None
        self._error: VdPolicyError | None = None
        steady_timer(self, 1.0 / self.settings.watchdog_hz, self._watch)
        steady_timer(self, 1.0, self._report)
        self._diagnostics.state(WARN, "unconfigured")
        self._refuse_impossible_transitions()
        if self.settings.autostart:
            self._autostart()

    def _refuse_impossible_transitions(self) -> None:
        """Answer a request that the state does not allow with success false, where rclpy lets it end the process."""
        answer = self._service_change_state.callback

        def guarded(request: ChangeState.Request, response: ChangeState.Response) -> ChangeState.Response:
            try:
                return answer(request, response)
            except RCLError as error:
                asked = request.transition.label or request.transition.id
                self.get_logger().warning(f"transition {asked} refused: {str(error).splitlines()[0]}")
                response.success = False
                return response

        self._service_change_state.callback = guarded

    def _autostart(self) -> None:
        configured = self.trigger_configure()
        if self._error:
            raise self._error
        if configured is not SUCCESS or self.trigger_activate() is not SUCCESS:
            raise VdPolicyError("the policy node could not be configured and activated; see the log above")

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load, verify, warm up, listen."""
        try:
            self._acting = self._load()
        except VdPolicyError as error:
            self._error = error
            self._diagnostics.state(ERROR, str(error))
            return FAILURE
        except Exception as error:  # rclpy would say nothing of it
            self.get_logger().error(traceback.format_exc())
            self._diagnostics.state(ERROR, f"{type(error).__name__}: {error}")
            return FAILURE
        self._error = None
        self._diagnostics.state(WARN, "inactive")
        return SUCCESS

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """The policy may command."""
        if self._acting is not None:  # always so after configure
            self._acting.activate()
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Hold."""
        if self._acting is not None:
            self._acting.deactivate()
        self._diagnostics.state(WARN, "inactive")
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Forget the run."""
        self.close()
        self._diagnostics.state(WARN, "unconfigured")
        return SUCCESS

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Hold for good."""
        self.close()
        self._diagnostics.state(WARN, "finalized")
        return SUCCESS

    def close(self) -> None:
        """Hold, and end the threads."""
        acting, self._acting = self._acting, None
        if acting is not None:
            acting.close()

    def _load(self) -> Acting:
        if not self.settings.run:
            raise BadInput("run", "", "the directory of a trained run", "set the parameter run")
        torch.set_num_threads(self.settings.threads)
        kind, run = LockstepActing if self.settings.lockstep else RealTimeActing, load_run(self.settings.run)
        settings = self.settings
        if not settings.lockstep and not settings.robot:
            settings = replace(settings, robot=self._robot_of(run))
        return kind(self, settings, run, self._diagnostics)

    def _robot_of(self, run: Run) -> str:
        """The robot that a run was trained with; empty where there is no file of it here."""
        try:
            _, robot = task_and_robot(self.settings.run, allow_changed=True)
            if load_robot(robot).joints == tuple(run.spec.joints):
                return robot
        except BadInput:
            pass
        self.get_logger().warning(f"no robot file is known for {self.settings.run}: joints are read as the driver "
                                  "names and counts them, at any speed; give the parameter robot")  # fmt: skip
        return ""

    def _watch(self) -> None:
        if self._acting is None:
            return
        self._acting.check()
        if self._acting.may_act():
            self._acting.watch(time.monotonic())
        if self._acting.active and self._acting.latched:  # perhaps while the inputs were looked at: this counts
            self._diagnostics.state(ERROR, self._acting.latched)

    def _report(self) -> None:
        if self._acting is not None:
            self._diagnostics.values |= self._acting.figures()


def main(args: list[str] | None = None) -> int:
    """Run the node."""
    return run(PolicyNode, args)


if __name__ == "__main__":
    sys.exit(main())
