"""Made schema-1-trajectory.h5 and schema-1-ensemble.h5, which every later version must read. Not to be run again: the files are kept."""

from pathlib import Path

import dmft

PROBLEM = (
    dmft.DeepLinear(depth=1, width_ratio=2.0, richness=0.8, outputs=2),
    dmft.GaussianData(sample_ratio=1.5, label_noise=0.2, target_overlap=[[1.0, 0.3], [0.3, 0.7]]),
    dmft.GradientDescent(learning_rate=lambda step: 0.2 / (1 + step), steps=6, momentum=0.5),
)

if __name__ == "__main__":
    here = Path(__file__).parent
    dmft.solve(*PROBLEM, progress=False).save(here / "schema-1-trajectory.h5")
    dmft.simulate(*PROBLEM, dim=20, seeds=2, rng=1, progress=False).save(here / "schema-1-ensemble.h5")
