"""Statistics of episodes and seeds: intervals, paired differences, tests, power, ranks.

Numpy does most of it; Student's t, Wilcoxon's test and the ranks need scipy, the optional extra
``stats``, which is imported where it is used.
"""

from metabench.stats.bootstrap import Bootstrap, hierarchical_bootstrap
from metabench.stats.distributions import has_students_t
from metabench.stats.hypotheses import (
    Equivalence,
    SignedRank,
    equivalence,
    holm,
    holm_levels,
    standardized_difference,
    wilcoxon,
)
from metabench.stats.intervals import (
    FIELD_HALF_WIDTH,
    FORMULAS,
    RESAMPLES,
    Z95,
    Interval,
    average_interval,
    bootstrap_interval,
    field_interval,
    seeds_interval,
)
from metabench.stats.paired import (
    ENOUGH_SEEDS,
    OF_LEARNERS,
    OF_NETWORKS,
    SEEDS_AVERAGED,
    Blocks,
    Difference,
    VarianceParts,
    adjusted_too_far,
    contrast,
    differences,
    left_out,
    run_means,
    shared_positions,
    uneven_seeds,
    variance_parts,
)
from metabench.stats.power import (
    ALPHA,
    POWER,
    Needed,
    episodes_needed,
    power_above,
    power_of,
    power_within,
    seeds_needed,
    visible_difference,
)
from metabench.stats.ranks import CriticalDifference, critical_difference
from metabench.stats.sizes import LARGEST, computable
from metabench.stats.spreads import SpreadRatio, spread, spread_ratio

__all__ = [
    "ALPHA",
    "ENOUGH_SEEDS",
    "FIELD_HALF_WIDTH",
    "FORMULAS",
    "LARGEST",
    "OF_LEARNERS",
    "OF_NETWORKS",
    "POWER",
    "RESAMPLES",
    "SEEDS_AVERAGED",
    "Z95",
    "Blocks",
    "Bootstrap",
    "CriticalDifference",
    "Difference",
    "Equivalence",
    "Interval",
    "Needed",
    "SignedRank",
    "SpreadRatio",
    "VarianceParts",
    "adjusted_too_far",
    "average_interval",
    "bootstrap_interval",
    "computable",
    "contrast",
    "critical_difference",
    "differences",
    "episodes_needed",
    "equivalence",
    "field_interval",
    "has_students_t",
    "hierarchical_bootstrap",
    "holm",
    "holm_levels",
    "left_out",
    "power_above",
    "power_of",
    "power_within",
    "run_means",
    "seeds_interval",
    "seeds_needed",
    "shared_positions",
    "spread",
    "spread_ratio",
    "standardized_difference",
    "uneven_seeds",
    "variance_parts",
    "visible_difference",
    "wilcoxon",
]
