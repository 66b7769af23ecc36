"""Fitting a network: any network and any loss, on any number of devices and hosts, stopped and gone on with at will."""

from training.fit.columns import Columns
from training.fit.history import Epoch
from training.fit.loop import Fitted, Job, fit
from training.fit.observer import Observer
from training.fit.task import Batch, Losses, Task

__all__ = [
    "Batch",
    "Columns",
    "Epoch",
    "Fitted",
    "Job",
    "Losses",
    "Observer",
    "Task",
    "fit",
]
