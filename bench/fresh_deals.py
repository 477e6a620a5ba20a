"""The final table once more, on deals of the groups that were never looked at while developing.

Deals 0 to 3 were looked at. Those below were named before their first run, and all are shown. They
deal the same clauses anew, so their test splits overlap with that of the default deal.

Run: python bench/fresh_deals.py [SEED ...]     (half a minute a deal on 2 cores)
"""

import sys

import numpy as np

import w2s_lab as w2s

FRESH = (2026, 2027, 2028, 2029, 2030, 4001, 4002, 4003)


def main(deals: list[int]) -> None:
    task = w2s.load_task("indemnity", size="lab")
    results = {deal: w2s.run(task, split=deal) for deal in deals}
    first = results[deals[0]]
    print(f"{'':<24}" + "  ".join(f"{f'deal {deal}':<18}" for deal in deals) + "  mean")
    for name in ("weak", "ceiling", *first.baselines, *first.methods):
        scores = [result.scores(name).mean() for result in results.values()]
        print(f"{name:<24}" + "  ".join(f"{s:<18.3f}" for s in scores) + f"  {np.mean(scores):.3f}")
    print("PGR")
    for name in first.methods:
        found = [result.pgr(name) for result in results.values()]
        mean = np.mean([estimate.value for estimate in found])
        print(f"{name:<24}" + "  ".join(f"{e!s:<18}" for e in found) + f"  {mean:.2f}")


if __name__ == "__main__":
    main([int(seed) for seed in sys.argv[1:]] or list(FRESH))
