"""The `winnow` program: Ctrl-C ends it quietly also while it is still loading, and a full disk behind `>` is told."""

from __future__ import annotations

import errno
import gc
import os
import sys

FAILED = 1
INTERRUPTED = 130
CANNOT_BE_WRITTEN = {errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EFBIG}


def main() -> None:
    """Loads the command line and runs it."""
    try:
        gc.disable()  # the loading makes many objects and no garbage: looking for it takes a tenth of the time
        from winnow.cli.main import app  # noqa: PLC0415 - the loading is what may be interrupted

        gc.freeze()
        gc.enable()
        try:
            app()
        finally:
            if sys.stdout is not None:  # whoever started this may have closed it
                sys.stdout.flush()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except OSError as error:
        if error.errno not in CANNOT_BE_WRITTEN:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python would say it again at its end
        sys.stderr.write(f"error: the output cannot be written ({error.strerror}); send it somewhere else\n")
        sys.exit(FAILED)


if __name__ == "__main__":
    main()
