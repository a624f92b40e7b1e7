"""The flight check: what must be right before a fine-tuning begins, each told with what was seen, and with a fix where it is
not. The worst failures of fine-tuning are silent - the run works, the loss falls, the model is wrong. Nothing starts past a
finding that blocks.
"""

from tuitrain.trainer.flight.data_checks import check_data
from tuitrain.trainer.flight.machine_checks import check_machine
from tuitrain.trainer.flight.model_checks import check_model
from tuitrain.trainer.flight.report import FlightError, judge, read_flight

__all__ = ["FlightError", "check_data", "check_machine", "check_model", "judge", "read_flight"]
