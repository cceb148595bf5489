"""Rules that are loaded again while a sensor runs: when a file of them changes, or when it is asked to.

Loading happens in a thread of its own, so that no frame waits for it. A set of rules that does not load leaves the
old one in force; a rule that was sound before and is broken now stays in force as it was.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from detectors.sigma.rule import Broken
from detectors.sigma.ruleset import RuleSet, load_folders, rule_files, text_files

EVERY_S = 10.0  # between two looks at the files


def current(folders: Sequence[Path]) -> tuple[object, ...]:
    """What tells whether a file was changed, without reading it."""
    found = []
    for folder in folders:
        for path in (*rule_files(folder), *text_files(folder)):
            try:
                status = path.stat()
                found.append((str(path), status.st_mtime_ns, status.st_size, status.st_ino))
            except OSError:
                found.append((str(path), 0, 0, 0))
    return tuple(found)


def succeeding(old: RuleSet, new: RuleSet) -> RuleSet:
    """The new rules, and of the old ones those whose files are broken now."""
    hurt = {it.path for it in new.broken}
    known = {it.id for it in (*new.rules, *new.correlations)}
    kept = tuple(it for it in old.rules if it.path in hurt and it.id not in known)
    rules = (*new.rules, *kept)
    known |= {it.id for it in kept}
    correlations = tuple(
        it for it in old.correlations if it.path in hurt and it.id not in known and known.issuperset(it.rules)
    )
    return replace(new, rules=rules, correlations=(*new.correlations, *correlations))


class RuleWatch:
    """Watches folders and hands over what is in force now.

    give: takes a set of rules; called from the thread of the watch.
    """

    def __init__(
        self, folders: Sequence[Path], rules: RuleSet, give: Callable[[RuleSet], None], every_s: float = EVERY_S
    ) -> None:
        self._folders, self._rules, self._give, self._every_s = tuple(folders), rules, give, every_s
        self._seen = current(self._folders)
        self._wake, self._asked, self._ended = threading.Event(), False, False
        self._thread = threading.Thread(target=self._run, name="rules", daemon=True)

    def start(self) -> None:
        """Begin to watch."""
        self._thread.start()

    def ask(self) -> None:
        """Load the rules again now; may be called from a signal handler."""
        self._asked = True
        self._wake.set()

    def stop(self) -> None:
        """Watch no more."""
        self._ended = True
        self._wake.set()

    def _run(self) -> None:
        while not self._ended:
            self._wake.wait(self._every_s)
            self._wake.clear()
            self.look()

    def look(self) -> bool:
        """Load the rules where they have changed; whether something was handed over."""
        seen = current(self._folders)
        asked, self._asked = self._asked, False
        if self._ended or (seen == self._seen and not asked):
            return False
        self._seen = seen
        try:
            new = load_folders(self._folders)
            made = succeeding(self._rules, new)
            if not made.rules:
                raise ValueError("no rule can be used")
        except Exception as error:  # whatever is wrong with the files, those in force go on
            why = f"the rules cannot be loaded again, the old ones stay in force: {error}"
            self._give(replace(self._rules, broken=(Broken(str(self._folders[-1]), 0, 0, why),)))
            return True
        if made.digest == self._rules.digest:
            return False
        self._rules = made
        self._give(made)
        return True
