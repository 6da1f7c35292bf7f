"""Files that figures are written to, checked before the work."""

import os
from pathlib import Path

from .checks import fail, path as checked_path


def require_writable(name, path):
    """Return `path` as Path; raise ValueError, naming the argument, unless a figure can be written there."""
    from matplotlib.backend_bases import FigureCanvasBase

    path, kinds = Path(checked_path(name, path)), sorted(FigureCanvasBase.get_supported_filetypes())
    if path.suffix.removeprefix(".").lower() not in kinds:
        fail(name, str(path), f"a file that ends in .{', .'.join(kinds)}")
    if path.exists() and not (path.is_file() and os.access(path, os.W_OK)):
        fail(name, str(path), "a regular file that may be written")
    require_folder(name, path.parent)
    return path


def require_folder(name, path, create=False):
    """Return `path` as Path; raise ValueError, naming the argument, unless it is a folder that takes files. `create` makes it one."""
    path = Path(checked_path(name, path))
    try:
        if create:
            path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(f"{name} must be a folder that can be made; got {str(path)!r} ({error.strerror})") from error
    if not path.is_dir() or not os.access(path, os.W_OK | os.X_OK):
        fail(name, str(path), "in a folder that exists and may be written")
    return path
