"""Commands that several processes may run together."""

import os
from collections.abc import Callable
from contextlib import ExitStack, redirect_stderr, redirect_stdout
from functools import wraps
from pathlib import Path
from typing import Any

from regstudio.errors import RegStudioError


def together(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command its `group`: the processes that torchrun started, if it did; the first speaks for all."""

    @wraps(command)
    def joining(**values: Any) -> None:
        from regstudio.distributed import join_group

        leads = True
        try:
            with join_group() as group, ExitStack() as silence:
                leads = group.is_first
                if not leads:
                    nowhere = silence.enter_context(Path(os.devnull).open("w"))
                    silence.enter_context(redirect_stdout(nowhere))
                    silence.enter_context(redirect_stderr(nowhere))
                command(group=group, **values)
        except (RegStudioError, OSError):  # told by the first process, too
            if leads:
                raise
            raise SystemExit(1) from None

    return joining
