"""How results are shown, at a prompt and in a notebook."""

import html
from numbers import Real


class Printed:
    """`str` says it all in lines; `repr` is the first of them, and notebooks show all.

    A class without lines of its own shows its names and numbers.
    """

    def __str__(self):
        shown = ", ".join(f"{name}={value!r}" for name, value in vars(self).items() if isinstance(value, (str, Real)))
        return f"{type(self).__name__}: {shown}"

    def __repr__(self):
        return f"<{str(self).splitlines()[0].strip()}>"

    def _repr_html_(self):
        return f"<pre>{html.escape(str(self))}</pre>"
