"""The program `dmft`, also ``python -m dmft``: loads the commands and runs them.

Ctrl-C while libraries are loaded ends the process at once: raised inside them it would come out as a traceback, or as another error.
"""

import os
import signal


def main():
    """Entry point; see `dmft.cli.main`."""
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
