"""Capture to findings: the one place that wires the sensor and the detectors.

    for finding in inspect(open_capture(path), Options()):
        ...

Adding a detector is one new file and one line in DETECTORS.
"""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from detectors import knowledge
from detectors.asset_changed import AssetChanged
from detectors.assets.ledger import Ledger
from detectors.attacks.addresses import Addresses
from detectors.attacks.clocks import Clocks
from detectors.attacks.discovery import Discovery
from detectors.attacks.flood import Flood
from detectors.attacks.function_scan import FunctionScan
from detectors.attacks.goose_stream import GooseStream
from detectors.attacks.iec104_sequence import Iec104Sequence
from detectors.attacks.io_sweep import IoSweep
from detectors.attacks.masters import Masters
from detectors.attacks.passwords import Passwords
from detectors.attacks.point_scan import PointScan
from detectors.attacks.public_address import PublicAddress
from detectors.attacks.repeats import Repeats
from detectors.attacks.replayed_commands import ReplayedCommands
from detectors.attacks.reporting import Reporting
from detectors.attacks.s7plus_mode import S7PlusMode
from detectors.attacks.slot_scan import SlotScan
from detectors.attacks.spoofed_answer import SpoofedAnswer
from detectors.attacks.spree import Spree
from detectors.attacks.station_scan import StationScan
from detectors.attacks.stuxnet import Stuxnet
from detectors.attacks.sweep import Sweep
from detectors.attacks.two_stacks import TwoStacks
from detectors.attacks.vendor_protocols import VendorProtocols
from detectors.baseline.book import Baseline
from detectors.baseline.enforcer import Enforcer
from detectors.baseline.live_learning import LiveLearning
from detectors.capture_health import CaptureHealth
from detectors.carving.carver import Carving, Watcher
from detectors.carving.store import QUOTA_BYTES, Keeper, Store
from detectors.contract import Detector, Scene
from detectors.correlations import Correlations
from detectors.engineering.operations import Engineering
from detectors.engineering.session import GAP_NS, LEAD_NS
from detectors.evasion import Evasion
from detectors.finding import MAX_EVIDENCE_FRAMES, Finding
from detectors.indicators import Indicators
from detectors.new_writer import LEARN_SHARE, NewWriter
from detectors.operations import Operations
from detectors.other_protocol import OtherProtocol
from detectors.problem import Problem
from detectors.quiet import Quiet
from detectors.rhythm import Rhythm
from detectors.role_change import RoleChange
from detectors.severity import Override, Weigher
from detectors.sigma.matcher import Matcher
from detectors.sigma.ruleset import RuleSet, shipped
from detectors.tags.detector import Tags
from detectors.tags.file import Tag
from detectors.tickets import Ticket
from detectors.unanswered import Unanswered
from detectors.yara_rules import YaraRules
from detectors.yara_scan import Scanner, YaraScan
from sensor.archive.origin import Target
from sensor.capture.frames import FrameBatch
from sensor.capture.interface import Health
from sensor.decode.decoder import Decoder
from sensor.decode.pdu import Protocol
from sensor.events import EventBatch, no_events

if TYPE_CHECKING:
    from detectors.census import Census, Report
    from sensor.archive.taker import Taker

log = logging.getLogger(__name__)

# Counters of the decoder that say that the capture does not hold all that was on the wire.
LOSSES = ("gaps", "cut_frames")
# Counters of the decoder that say that something could not be told apart any more.
CAPS = ("conversations_refused", "behaviours_refused", "waiting_retired", "holds_refused", "assemblies_refused")
TOLERATED = {"waiting_retired": 100}  # a capture with gaps leaves so many requests without their answers


@dataclass(frozen=True, slots=True)
class Options:
    """How to inspect.

    learn_s: seconds during which the writers of a device are learned, on a live link; None (a capture): the share
        `learn_share` of its time span.
    indicators: items as `GET /api/v1/config` gives them, see detectors/indicators.py.
    capture: path that every finding carries, "" for none.
    rules: Sigma rules in place of those that are shipped; yara: the same for artifacts. rule_folders: those from which
        the former came besides, to be watched by a sensor that runs.
    health: state and losses of the interfaces that are captured from, asked again and again; None in a capture.
    baseline: what is normal here, to compare with; None where there is none.
    artifacts: folder in which blocks and files from the wire are kept, None for none; artifacts_bytes: its quota.
    store, jail: what keeps and looks into them instead, for a process that may not write nor start others; taker: takes
        the rows of the archive, likewise.
    tags: points of the plant with their limits.
    tickets: changes that were planned: what fits one is quiet.
    learning: takes what is normal, on a live link; None where nothing is learned.
    report: takes what stands, for the console; None where nobody wants it.
    archive: where behaviours and chosen events are kept for hunting back, None: nowhere. interfaces: their names, of a
        live link.
    ledger: how important devices are; None: all alike. overrides: levels that people have set.
    """

    learn_s: float | None = None
    learn_share: float = LEARN_SHARE
    indicators: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    capture: str = ""
    rules: RuleSet | None = None
    yara: YaraRules | None = None
    rule_folders: tuple[Path, ...] = ()
    health: Callable[[], Sequence[Health]] | None = None
    baseline: Baseline | None = None
    artifacts: Path | None = None
    artifacts_bytes: int = QUOTA_BYTES
    store: Keeper | None = None
    jail: Scanner | None = None
    taker: Taker | None = None
    tags: Sequence[Tag] = ()
    tickets: Sequence[Ticket] = ()
    learning: LiveLearning | None = None
    report: Report | None = None
    archive: Target | None = None
    interfaces: str = ""
    ledger: Ledger | None = None
    overrides: tuple[Override, ...] = ()


def rules_of(options: Options) -> RuleSet:
    """The Sigma rules of a run."""
    return shipped() if options.rules is None else options.rules


def carving(options: Options) -> Carving:
    """Carving into a folder, or none, with YARA over what is carved."""
    scan = YaraScan(options.yara, options.jail)
    store = Store(options.artifacts, options.artifacts_bytes) if options.artifacts else options.store
    return Carving(store, [Watcher(scan.artifact, scan.due)])


DETECTORS: tuple[Callable[[Options], Detector], ...] = (
    lambda options: Operations(rules_of(options)),
    lambda options: Correlations(rules_of(options)),
    lambda _: FunctionScan(),
    lambda _: PointScan(),
    # A baseline that people approved knows the writers better than an hour of watching does.
    lambda options: Enforcer(options.baseline) if options.baseline else NewWriter(options.learn_s, options.learn_share),
    lambda options: Rhythm(options.baseline, watched=options.health is not None),
    lambda options: Tags(options.tags),
    lambda options: RoleChange(options.learn_s, options.learn_share),
    lambda _: Unanswered(),
    lambda _: OtherProtocol(),
    lambda _: Sweep(),
    lambda _: Addresses(),
    lambda _: StationScan(),
    lambda _: SlotScan(),
    lambda _: Discovery(),
    lambda _: Masters(),
    lambda _: Flood(),
    lambda _: Repeats(),
    lambda _: ReplayedCommands(),
    lambda _: SpoofedAnswer(),
    lambda _: Iec104Sequence(),
    lambda _: GooseStream(),
    lambda _: Reporting(),
    lambda _: IoSweep(),
    lambda _: Spree(),
    lambda _: Stuxnet(),
    lambda _: S7PlusMode(),
    lambda _: Clocks(),
    lambda _: Passwords(),
    lambda _: PublicAddress(),
    lambda _: VendorProtocols(),
    lambda _: TwoStacks(),
    carving,
    lambda _: Evasion(),
    lambda _: AssetChanged(),
    lambda options: Indicators(options.indicators, rules_of(options).rules),
    lambda options: CaptureHealth(options.health),
)


class Pipeline:
    """One run over one source of frames. `decoder.view.counters()` counts what happened to the frames."""

    def __init__(self, options: Options | None = None, detectors: Sequence[Detector] | None = None) -> None:
        """detectors: in place of DETECTORS."""
        self.options = options or Options()
        self.decoder = Decoder()
        self.scene = Scene(self.decoder.view, rules_of(self.options).rules)
        self.detectors = [make(self.options) for make in DETECTORS] if detectors is None else list(detectors)
        self.engineering: Engineering | None = Engineering()
        for detector in self.detectors:
            if isinstance(detector, Carving):
                detector.changed = self.engineering.changed
        self.quiet = Quiet(
            rules_of(self.options).rules, self.options.tickets, self.options.baseline, self.options.learning
        )
        if self.options.learning is not None:
            self.detectors.append(self.options.learning.detector())
        if self.options.archive is not None:
            self._archive_into(self.options.archive)
        self.census = self._census(self.options.report)
        if self.census is not None:
            self.detectors.append(self.census)
        self._new_rules: RuleSet | None = None
        self.events = 0
        self._by_protocol = np.zeros(len(Protocol), np.int64)
        self.step: Callable[[], None] = lambda: None  # called between any two parts of the work: it gets on
        self._weigher = Weigher(self.options.ledger, self.options.overrides, self.options.baseline)
        self._flood = Problem(knowledge.detector_rules()["sensor.flood"], self.scene.exhibit(), protocol="")

    def _census(self, report: Report | None) -> Census | None:
        """What reports the inventory that detectors keep, where there is one and somebody wants it."""
        if report is None:
            return None
        from detectors.census import Census  # what carries reports takes a tenth of a second to import

        keepers = [it for it in self.detectors if isinstance(it, AssetChanged)]
        return Census(report, lambda: keepers[0].inventory) if keepers else None

    def _archive_into(self, target: Target) -> None:
        """Record the run in an archive. It needs packages of its own, so they are imported where it is wanted."""
        from detectors.hunting.recorder import Recorder

        recorder = Recorder(target, self.options.capture, self.options.interfaces, self.options.taker)
        for detector in self.detectors:
            if isinstance(detector, Carving):
                detector.watch(Watcher(recorder.artifact, lambda _scene, _final: ()))
        self.detectors.append(recorder)

    def run(self, frame_batches: Iterable[FrameBatch]) -> Iterator[Finding]:
        """Findings as they are made. Traffic never raises; a detector that fails is reported and left out."""
        for batch in self.decoder.decode(frame_batches, self.scene.remember):
            self.scene.advance(batch)
            self.events += batch.size
            self._by_protocol += np.bincount(batch.columns.protocol, minlength=len(Protocol))[: len(Protocol)]
            yield from self._change_rules()
            yield from self._ask(batch)
            if not batch.size:  # on a live link there is no end to wait for
                yield from self._capped(final=False)
        if self.scene.heard:
            batch = no_events(self.events)
            self.scene.advance(batch)
            yield from self._ask(batch)
        yield from self._ask(None)
        yield from self._capped(final=True)

    def counters(self) -> dict[str, int]:
        """What happened to the frames, what was refused, and events by protocol."""
        counted = {f"events.{it.name.lower()}": int(self._by_protocol[it]) for it in Protocol if self._by_protocol[it]}
        kept = self.census.counters() if self.census is not None else {}
        return {**self.decoder.counters(), "slow_refused": self.scene.slow_refused, **counted, **kept}

    def use_rules(self, rules: RuleSet) -> None:
        """Match by these rules from the next batch on; may be called from another thread."""
        self._new_rules = rules

    def _change_rules(self) -> Iterator[Finding]:
        """What the detectors of the old rules still have to say; others take over."""
        rules, self._new_rules = self._new_rules, None
        if rules is None:
            return
        self.options = dataclasses.replace(self.options, rules=rules)
        counts = self.scene.view.behaviours.table["count"].astype(np.int64)
        for number, detector in enumerate(self.detectors):
            if isinstance(detector, (Operations, Correlations)):
                yield from map(self._placed, list(detector.flush(self.scene)))
                taking_over = Operations(rules, counts) if isinstance(detector, Operations) else Correlations(rules)
                self.detectors[number] = taking_over
            elif isinstance(detector, Indicators):
                detector.use_rules(rules.rules)
        self.scene.matcher = Matcher(rules.rules)

    def use_indicators(self, items: Sequence[Mapping[str, Any]]) -> None:
        """Match these indicators from the next batch on; may be called from another thread."""
        for detector in self.detectors:
            if isinstance(detector, Indicators):
                detector.replace(items)

    def take_over(self, before: Pipeline) -> None:
        """Go on where another run ended: what must not be shown stays hidden, and devices stay known."""
        self.scene.secrets = before.scene.secrets
        for new in self.detectors:
            for old in before.detectors:
                if isinstance(new, AssetChanged) and isinstance(old, AssetChanged):
                    new.take_over(old)

    def _ask(self, batch: EventBatch | None) -> Iterator[Finding]:
        """What every detector says about a batch, or at the end (None)."""
        said: list[Finding] = [] if batch is None else self._matched(batch)
        for detector in list(self.detectors):
            self.step()
            try:
                made = detector.flush(self.scene) if batch is None else detector.observe(batch, self.scene)
                findings = list(made)
            except Exception as error:
                log.exception("detector %s failed and is switched off", detector.name)
                self.detectors.remove(detector)
                findings = [self._failed(detector, error)]
            said += findings
        for finding in self._folded(batch, said):
            yield self._placed(finding)

    def _matched(self, batch: EventBatch) -> list[Finding]:
        """Let the matcher look at a batch before the detectors ask it; nothing matches any more where it fails."""
        try:
            self.scene.matcher.observe(self.scene.view, batch, self.scene.now_ns)
        except Exception as error:
            log.exception("rules are no longer matched")
            failed, self.scene.matcher = self.scene.matcher, Matcher(())
            self.scene.matcher.observe(self.scene.view, batch, self.scene.now_ns)
            return [self._failed(failed, error)]
        return []

    def _folded(self, batch: EventBatch | None, findings: list[Finding]) -> list[Finding]:
        """The findings with the steps of one engineering operation made one."""
        if self.engineering is None:
            return findings
        try:
            if batch is not None:
                self.engineering.observe(batch, self.scene)
            return list(self.engineering.fold(findings, self.scene, final=batch is None))
        except Exception as error:
            log.exception("engineering operations are no longer recognised")
            failed, self.engineering = self.engineering, None
            return [*findings, self._failed(failed, error)]

    def _placed(self, finding: Finding) -> Finding:
        """The finding as it leaves: weighed, quiet where people declared it beforehand, with the capture's name."""
        counters = self.decoder.view.counters()
        lossy = any(counters[name] for name in LOSSES)
        finding = self.quiet.place(self._weigher.weigh(finding, lossy=lossy))
        return dataclasses.replace(finding, capture=self.options.capture) if self.options.capture else finding

    def _failed(self, detector: Detector | Matcher, error: Exception) -> Finding:
        problem = Problem(knowledge.detector_rules()["detector.failed"], self.scene.exhibit(), protocol="")
        now_ns = max(self.scene.now_ns, 0)
        problem.add(1, now_ns, now_ns)
        return problem.record(now_ns, {"detector": detector.name, "seen": f"{type(error).__name__}: {error}"})

    def _capped(self, *, final: bool) -> Iterator[Finding]:
        """A finding when a cap of the decoder was reached, and further ones while that goes on."""
        counters = self.decoder.view.counters()
        reached = {name: counters[name] for name in CAPS if counters.get(name, 0) > TOLERATED.get(name, 0)}
        self._flood.add(
            sum(reached.values()) - self._flood.total, max(self.scene.start_ns, 0), max(self.scene.now_ns, 0)
        )
        if self._flood.open and (final or self._flood.due(self.scene.now_ns)):
            examples = ", ".join(f"{name} {count}" for name, count in reached.items())
            yield self._placed(self._flood.record(self.scene.now_ns, {"examples": examples}))


def inspect(frame_batches: Iterable[FrameBatch], options: Options | None = None) -> Iterator[Finding]:
    """Findings in a run of frames, each as soon as it is made; see Options. `merge` sums the records of one problem."""
    return Pipeline(options).run(frame_batches)


def merge(findings: Iterable[Finding]) -> list[Finding]:
    """One finding for each problem, with exact totals, by the time of its first event.

    The text and severity are those of the last record, which knows most; the evidence that of the largest.
    """
    merged: dict[tuple[str, str], Finding] = {}
    for finding in findings:
        key = (finding.capture, finding.fingerprint)
        known = merged.get(key)
        if known is None:
            merged[key] = finding
            continue
        evidence = max((known.evidence, finding.evidence), key=lambda it: min(len(it.frames), MAX_EVIDENCE_FRAMES))
        merged[key] = dataclasses.replace(
            finding,
            first_ns=min(known.first_ns, finding.first_ns),
            last_ns=max(known.last_ns, finding.last_ns),
            count=known.count + finding.count,
            evidence=evidence,
        )
    for (capture, own), finding in list(merged.items()):
        for part in finding.absorbs:
            known = merged.get((capture, part))
            if known is not None and part != own and _within(known, finding):
                del merged[capture, part]
    return sorted(merged.values(), key=lambda it: (it.first_ns, it.rule_id, it.source_ip, it.destination_ip))


def _within(part: Finding, whole: Finding) -> bool:
    """Whether all of a problem happened while an operation went on."""
    return whole.first_ns - LEAD_NS <= part.first_ns and part.last_ns <= whole.last_ns + GAP_NS
