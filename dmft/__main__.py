"""The program `dmft`, also ``python -m dmft``: loads the commands and runs them.

Ctrl-C while libraries are loaded ends the process at once: raised inside them it would come out as a traceback, or as another error.
"""

import os
import signal
import warnings


def main():
    """Entry point; see `dmft.cli.main`. Warnings are lines of the program's own, without the place in the source."""
    warnings.formatwarning = lambda message, *_, **__: f"dmft: {' '.join(str(message).split())}\n"
    handler = signal.getsignal(signal.SIGINT)
    if handler is signal.default_int_handler:
        signal.signal(signal.SIGINT, _leave)
    try:
        from .cli import main

        signal.signal(signal.SIGINT, handler)
        main()
    except KeyboardInterrupt:  # before a command began
        _leave()


def _leave(*_):
    os.write(2, b"dmft: interrupted\n")
    os._exit(130)


if __name__ == "__main__":
    main()
