"""How results are shown, at a prompt and in a notebook."""

import html


class Printed:
    """`str` says it all in lines; `repr` is the first of them, and notebooks show all."""

    def __repr__(self):
        return f"<{str(self).splitlines()[0].strip()}>"

    def _repr_html_(self):
        return f"<pre>{html.escape(str(self))}</pre>"
