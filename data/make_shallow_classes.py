"""Write shallow_classes.json, the derived limits of one-hidden-layer networks. Needs dmft: python data/make_shallow_classes.py"""

import json
from pathlib import Path

from derivations import losses, report, shallow


def content():
    """Documents of `report.to_json` by choice of learning rates and loss."""
    wanted = {"common": tuple(losses.LOSSES), "layer-wise": ("logistic",)}
    return {rates: {loss: report.to_json(shallow.derive(loss, rates)) for loss in names} for rates, names in wanted.items()}


if __name__ == "__main__":
    text = json.dumps(content(), indent=1, ensure_ascii=False) + "\n"
    Path(__file__).with_name("shallow_classes.json").write_text(text, encoding="utf-8")
