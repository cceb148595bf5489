"""`make chaos`: kills at random moments and at every failpoint, and the ledgers compared.

Exit code 0 where nothing is wrong, 1 where something is; a complaint names the seed or the point that shows it again.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys

from chaos import campaign
from chaos.backing import OWN, POSTGRESQL, SQLITE, why_not


def main() -> int:
    """The command; its exit code."""
    parser = argparse.ArgumentParser(prog="make chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=2000, help="at random moments (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=1, help="the moments follow from it (default: %(default)s)")
    parser.add_argument("--points", default="all", metavar="NAME,...", help="failpoints to die at; all, or none")
    parser.add_argument("--worlds", type=int, default=2, help="at a time (default: %(default)s)")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="kill at random for at most so long")
    parser.add_argument("--store", choices=(SQLITE, POSTGRESQL), default=SQLITE, help="that consoles stand on")
    parser.add_argument("--index", action="store_true", help="feed a search cluster, and kill it too")
    parser.add_argument("--node", default="", metavar="URL", help="a search cluster that runs already, and is spared")
    parser.add_argument("--json", action="store_true", help="the report as one JSON object, for tests")
    chosen = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that what was started ends too
    fed = chosen.node or (OWN if chosen.index else "")
    of_points = chosen.node or ("" if why_not(SQLITE, OWN) else OWN)
    if why := why_not(chosen.store, fed):
        parser.error(why)
    if not of_points:
        print("no search cluster can be started here: the points of the index are left out", file=sys.stderr)
    points = {"all": campaign.all_points(of_points), "none": []}.get(chosen.points, chosen.points.split(","))
    unknown = set(points) - set(campaign.all_points())
    if unknown:
        parser.error(f"no such failpoint: {', '.join(sorted(unknown))}")
    reports = {}
    if points:
        reports["every point"] = campaign.kill_at_points(
            points, chosen.seed, chosen.worlds, tell, chosen.store, of_points
        )
    if chosen.kills:
        reports["at random"] = campaign.kill_at_random(
            chosen.kills, chosen.seed, 1 if fed == OWN else chosen.worlds, tell, chosen.minutes, chosen.store, fed
        )
    if sys.stderr.isatty():
        sys.stderr.write("\r\x1b[K")
    if chosen.json:
        print(json.dumps({name: vars(report) for name, report in reports.items()}, default=sorted))
    else:
        show(reports)
    return 1 if any(report.complaints for report in reports.values()) else 0


def tell(progress: str) -> None:
    """How far it is, on a terminal."""
    if sys.stderr.isatty():
        sys.stderr.write(f"\r\x1b[K{progress}")
        sys.stderr.flush()


def show(reports: dict[str, campaign.Report]) -> None:
    """The table for people."""
    print(f"{'':14}{'kills':>8}{'promised':>10}{'unsure':>8}{'messages':>10}{'seconds':>9}{'wrong':>7}")
    for name, report in reports.items():
        counted = f"{report.promised:>10,}{report.unsure:>8,}{report.messages:>10,}{report.seconds:>9.0f}"
        print(f"{name:14}{report.killed:>8,}{counted}{len(report.complaints):>7}")
        died = ", ".join(f"{who} {count:,}" for who, count in sorted(report.deaths.items()))
        print(f"{'':14}processes that died: {died}")
        for complaint in report.complaints:
            print(f"  {complaint}")


if __name__ == "__main__":
    sys.exit(main())
