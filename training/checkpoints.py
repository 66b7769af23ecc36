"""Checkpoints of a fit: what a process that was killed needs to go on as if it had not been (Orbax).

A checkpoint is a folder that gets its name when it is complete, so that one cut short is never read. It holds the
arrays of the training state, the best averaged weights, and the history. Randomness needs no state: all of it is drawn
from the seed and the number of the step. Process 0 alone reads and writes; the others are told, so that hosts need no
file system in common.
"""

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import jax
import numpy as np
import orbax.checkpoint as ocp  # type: ignore[import-untyped]
from numpy.typing import NDArray

from training.errors import CheckpointError
from training.parallel import is_primary, told, told_tree

_ARRAYS: Final = "arrays"
_DOCUMENT: Final = "document"
Tree = Any
"""A tree of arrays."""


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """One moment of a fit.

    Attributes:
        step: steps made.
        tree: host arrays.
        document: JSON values.
    """

    step: int
    tree: Tree
    document: Mapping[str, Any]


class Checkpoints:
    """The checkpoints of one fit; use as a context manager, whose end waits for the last one to be on disk.

    Args:
        folder: where they are; made when needed.
        identity: what decides the outcome, by name, such as the configuration's and the data's hash: checkpoints of
            another are refused.
        keep: how many of the last ones stay.
    """

    def __init__(self, folder: Path, identity: Mapping[str, str], keep: int) -> None:
        self._folder, self._identity = folder.resolve(), dict(identity)
        # Orbax writes several lines a checkpoint, which say nothing that progress does not.
        logging.getLogger("absl").setLevel(logging.ERROR)
        self._manager = _manager(self._folder, keep) if is_primary() else None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._manager is not None:
            self._manager.close()

    def save(self, checkpoint: Checkpoint) -> None:
        """Write one; it is on disk when `wait` or the context's end has returned. Does nothing but in process 0."""
        if self._manager is None:
            return
        document = {"identity": self._identity, **checkpoint.document}
        items = {
            _ARRAYS: ocp.args.StandardSave(_named(checkpoint.tree)),
            _DOCUMENT: ocp.args.JsonSave(document),
        }
        self._manager.save(checkpoint.step, args=ocp.args.Composite(**items))

    def wait(self) -> None:
        """Wait until all that was saved is on disk."""
        if self._manager is not None:
            self._manager.wait_until_finished()

    def latest(self, like: Tree, resume: bool) -> Checkpoint | None:
        """The last one, in every process; None if there is none.

        Args:
            like: arrays of the shapes and types to expect.
            resume: whether a run that has begun may be gone on with.

        Raises:
            CheckpointError: there is one and `resume` is false, or it is another run's, or it cannot be read.
        """
        found: Checkpoint | None = None
        message: dict[str, Any] = {}
        if self._manager is not None:
            try:
                found = self._read(self._manager, like, resume)
                message = {"step": found.step, "document": found.document} if found else {}
            except CheckpointError as error:
                message = {"error": str(error)}
        message = json.loads(told(json.dumps(message).encode() if is_primary() else None))
        if "error" in message:
            raise CheckpointError(message["error"])
        if not message:
            return None
        tree = told_tree(found.tree if found else like)
        return Checkpoint(message["step"], jax.tree.map(np.asarray, tree), message["document"])

    def _read(self, manager: ocp.CheckpointManager, like: Tree, resume: bool) -> Checkpoint | None:
        step = manager.latest_step()
        if step is None:
            return None
        if not resume:
            raise CheckpointError(f"{self._folder} holds a run already: go on with --resume, or name another folder")
        document = self._restored(manager, step, _DOCUMENT, ocp.args.JsonRestore())
        self._refuse_another(document.pop("identity", {}))
        arrays = self._restored(manager, step, _ARRAYS, ocp.args.StandardRestore(_named(like)))
        return Checkpoint(step, _unnamed(arrays, like), document)

    def _restored(self, manager: ocp.CheckpointManager, step: int, item: str, how: Any) -> Any:
        try:
            return manager.restore(step, args=ocp.args.Composite(**{item: how}))[item]
        except (OSError, ValueError, KeyError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
            raise CheckpointError(
                f"checkpoint {step} in {self._folder} cannot be read: {reason}. Remove its folder to go on from an "
                "earlier one"
            ) from error

    def _refuse_another(self, identity: Mapping[str, str]) -> None:
        names = sorted(self._identity.keys() | identity.keys())
        other = [name for name in names if identity.get(name) != self._identity.get(name)]
        if other:
            raise CheckpointError(
                f"the run in {self._folder} was begun with another {' and another '.join(other)}: "
                "name another folder for this one"
            )


def _manager(folder: Path, keep: int) -> ocp.CheckpointManager:
    folder.mkdir(parents=True, exist_ok=True)
    alone = ocp.options.MultiprocessingOptions(primary_host=0, active_processes={0})
    options = ocp.CheckpointManagerOptions(
        max_to_keep=keep, cleanup_tmp_directories=True, multiprocessing_options=alone, create=False
    )
    handlers = {
        _ARRAYS: ocp.StandardCheckpointHandler(multiprocessing_options=alone),
        _DOCUMENT: ocp.JsonCheckpointHandler(multiprocessing_options=alone),
    }
    return ocp.CheckpointManager(folder, options=options, item_handlers=handlers)


def _named(tree: Tree) -> dict[str, NDArray[Any]]:
    """The leaves by their path, so that a checkpoint can be read without the classes that made it."""
    leaves, _ = jax.tree_util.tree_flatten_with_path(tree)
    return {jax.tree_util.keystr(path, simple=True, separator="."): np.asarray(leaf) for path, leaf in leaves}


def _unnamed(arrays: Mapping[str, NDArray[Any]], like: Tree) -> Tree:
    return jax.tree.unflatten(jax.tree.structure(like), [arrays[name] for name in _named(like)])
