"""A peer's end of the line: a command in JSON for each line of standard input, its answer on standard output."""

import json
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any


def answer(commands: Mapping[str, Callable[..., Mapping[str, Any]]]) -> None:
    """Answers until the input ends; whatever else is printed goes to standard error."""
    with os.fdopen(os.dup(1), "w") as answers:
        os.dup2(2, 1)
        for line in sys.stdin:
            arguments = json.loads(line)
            done = commands[arguments.pop("command")](**arguments)
            print(json.dumps(done), file=answers, flush=True)
