"""The sensor program: captures or interfaces in, findings into the spool, the spool to the console.

Frames are decoded and looked at in a process of its own (detectors/worker); what dies with it costs one batch.

The order of things on a capture: inspect it to its end, put its findings on disk, all of them once (capture_notes.py),
send. On an interface findings are put on disk as they come, every FLUSH_S; trouble with the disk, the console or the
interface never ends it. What the console last said (this sensor's name, indicators) is kept beside the spool, so that a
sensor starts and finds without one.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import json
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from detectors import knowledge
from detectors.bundle.keeper import Keeper
from detectors.bundle.signed import BundleError
from detectors.capture_notes import CaptureNotes
from detectors.carving.store import QUOTA_BYTES, Store
from detectors.content import rules_folder
from detectors.finding import Finding, FindingId, to_dict
from detectors.live_feed import LiveFeed, LiveOptions
from detectors.losses import loss_line
from detectors.pipeline import Options, merge, rules_of
from detectors.service_manager import ServiceManager
from detectors.sigma.watch import RuleWatch
from detectors.vitals import Vitals
from detectors.worker.fork_server import ForkServer, ForkServerError
from detectors.worker.quarantine import Quarantine
from detectors.worker.services import Services
from detectors.worker.setup import Learning, Setup
from detectors.worker.supervisor import Reported, Worker, WorkerError
from detectors.yara_rules import YaraRules
from detectors.yara_rules import shipped as shipped_yara
from sensor.archive.origin import Target
from sensor.archive.upkeep import ALL, ArchiveUpkeep, Limits
from sensor.capture.ahead import ahead
from sensor.capture.live import LiveSource
from sensor.capture.source import CaptureError, open_capture
from sensor.kernel_cache import compiled_before
from sensor.notes import load_note, write_note
from sensor.one_way.sender import OneWayOptions, OneWaySender
from sensor.reports import Reports
from sensor.sensor_key import SensorKey
from sensor.spool import QUOTA_BYTES as SPOOL_BYTES
from sensor.spool import Spool, SpoolError
from sensor.spool_loss import Loss
from sensor.uplink import Config, Uplink, UplinkError

if TYPE_CHECKING:
    from detectors.hunting.retro import RetroHunt

log = logging.getLogger(__name__)

FIRST_CONFIG_PAUSE_S = 2.0
GIVE_UP_S = 60.0  # with `once`: how long to wait for a console that takes nothing
LAST_SEND_S = 5.0  # at the end: how long what was found last may take to be sent; the rest waits on disk
DIGEST_BYTES = 1 << 20
REPORTS = "reports.json"  # what stands and the console has not taken yet


FLUSH_S = 0.2  # on an interface: the longest that a finding is in memory only


class SensorProgram:
    """One sensor over captures, or on interfaces."""

    def __init__(
        self,
        url: str,
        key: str | SensorKey,
        folder: Path,
        name: str = "",
        say: Callable[[str], None] = log.info,
        artifacts: Path | None = None,
        artifacts_bytes: int = QUOTA_BYTES,
        declared: Options | None = None,
        *,
        console_key: str = "",
        reread: Callable[[], Options] | None = None,
        hook: str = "",
        spool_bytes: int = SPOOL_BYTES,
        one_way: OneWayOptions | None = None,
        archive_limits: Limits = ALL,
    ) -> None:
        """folder: spool and notes. name: this sensor's, where it must work before it has ever reached its console.

        artifacts, artifacts_bytes: see Options; on interfaces those of LiveOptions.
        declared: what the plant says of itself: baseline, tags, tickets. reread: says it anew, from the same files.
        console_key: fingerprint of the only key whose configuration counts, "" for the first that comes.
        hook: for tests, see worker/child.py.
        spool_bytes: what the spool may need on disk. one_way: send over a link without a way back, instead of to `url`.
        archive_limits: what of the archive is kept.

        SpoolError, UplinkError where folder, address or key cannot be used.
        """
        self._folder = folder
        self._local = self._declared = declared or Options()
        self._reread = reread
        self._keeper = Keeper(folder / "configuration", console_key)
        self._vitals = Vitals()
        self._manager = ServiceManager()
        self._services: Services | None = None
        self._change = threading.Lock()
        self._say = say
        self._spool = Spool(folder / "spool", self._loss_line, quota_bytes=spool_bytes)
        self._name = name  # before anything is taken up: what is lost has an id too
        self._notes = CaptureNotes(folder, self._spool)
        self._uplink: Uplink | OneWaySender
        if one_way:
            self._uplink = OneWaySender(one_way, key.key if isinstance(key, SensorKey) else key, self._spool, name)
        else:
            self._uplink = Uplink(url, key, self._spool)
        # Over a one-way link nothing is asked for until it is taken: what stands is not reported there.
        self._reports: Reports | None = None  # over a one-way link nobody could say that he has it
        if isinstance(self._uplink, Uplink):
            self._reports = Reports(folder / REPORTS, self._uplink.report)
        self._stop = threading.Event()
        self._artifacts, self._artifacts_bytes = artifacts, artifacts_bytes
        self._known = threading.Event()
        self._indicators: Sequence[Mapping[str, Any]] = ()
        self._counters: dict[str, Any] = {}
        self._feed: LiveFeed | None = None
        self._worker: Worker | None = None
        self._server = ForkServer()
        self._quarantine = Quarantine(folder / "quarantine")
        self._hook = hook
        self._watch: RuleWatch | None = None
        self._retro: RetroHunt | None = None
        self._upkeep: ArchiveUpkeep | None = None
        self._archive_limits = archive_limits
        self._refused = 0  # findings that the spool would not take
        self._ending_once = False
        self._next_flush = 0.0
        self._trouble = ""
        self._recall()

    def run(self, captures: Sequence[str], *, once: bool = False) -> int:
        """Inspect the captures that were not inspected before, send what was found, and stay with a heartbeat.

        once: end when everything is sent instead of staying. Returns 0, or 2 where a capture could not be read or
        nothing could be sent.
        """
        return self._attended(lambda: self._inspect_all(captures, once=once))

    def listen(self, options: LiveOptions) -> int:
        """Inspect what comes in on interfaces until `stop`; 0.

        LiveError, FrameRingError where an interface or the folder for raw frames cannot be used from the start.
        """
        with LiveSource(options.interfaces, fanout=options.fanout, ring_bytes=options.buffer_bytes):
            pass  # at once, not only when the console has told who this sensor is
        return self._attended(lambda: self._listen(options))

    def _attended(self, work: Callable[[], int]) -> int:
        """Do the work while a thread talks with the console."""
        sender = self._sender = threading.Thread(target=self._send, name="uplink", daemon=True)
        sender.start()
        reporter = threading.Thread(target=self._send_reports, name="reports", daemon=True)
        reporter.start()
        self._server.start()
        code = 0
        try:
            if not compiled_before():
                self._say("compiling the decoder; this happens once for each version and takes about a minute ...")
            while not (self._known.wait(0.2) and self._server.ready(0.2)):
                self._manager.starting("waiting for the console, loading the decoder")
                if self._stop.is_set():
                    return code
            self._retro = self._hunter()
            code = work()
            self._manager.stopping()
            if self._ending_once:
                sender.join()
                self._uplink.drain(threading.Event(), GIVE_UP_S)
                reporter.join()
                self._send_the_reports(threading.Event(), GIVE_UP_S)
        except UplinkError as error:
            self._say(f"{error}; {self._spool.depth} findings wait in {self._folder}")
            code = 2
        except (ForkServerError, WorkerError) as error:
            self._say(str(error))
            code = 2
        finally:
            self._stop.set()
            self._server.close()
            if self._retro:
                self._retro.close()
            if self._upkeep:
                self._upkeep.close()
            sender.join(timeout=LAST_SEND_S)
            reporter.join(timeout=LAST_SEND_S)
            if not sender.is_alive():
                self._send_the_rest()
            self._note_reports()
            self._uplink.close()
            self._spool.close()
        return code

    def _send_the_rest(self) -> None:
        """Send what fits into LAST_SEND_S; what does not waits on disk for the next start."""
        enough = threading.Event()
        clock = threading.Timer(LAST_SEND_S, enough.set)
        clock.daemon = True
        clock.start()
        try:
            self._spool.flush()
            self._uplink.drain(enough, give_up_s=1.0)
            self._send_the_reports(enough, give_up_s=1.0)
        except (UplinkError, SpoolError) as error:
            log.info("at the end: %s", error)
        clock.cancel()
        if self._spool.depth:
            self._say(f"{self._spool.depth} findings wait in {self._folder} for the next start")

    def _send_reports(self) -> None:
        """In a thread of its own: no finding and no heartbeat waits for it."""
        while not self._known.wait(0.2):
            if self._stop.is_set():
                return
        if self._reports:
            self._reports.run(self._stop)

    def _send_the_reports(self, stop: threading.Event, give_up_s: float) -> None:
        """At the end. What is not taken is noted on disk."""
        try:
            if self._reports:
                self._reports.drain(stop, give_up_s)
        except UplinkError as error:
            self._say(f"what stands could not be reported: {error}")

    def _reported(self, what: str, run: str, records: Sequence[Mapping[str, Any]]) -> None:
        """What stands, from the worker; `run` names it, or the capture where one is inspected."""
        if self._reports:
            self._reports.put(what, run, records)

    def _note_reports(self) -> None:
        """Keep on disk what the console has not taken yet."""
        try:
            if self._reports:
                self._reports.save()
            else:
                (self._folder / REPORTS).unlink(missing_ok=True)
        except OSError as error:
            note = self._folder / REPORTS
            self._say(f"{note} cannot be written ({error.strerror}): what stands there is not reported after a restart")

    def _turn(self) -> None:
        """The loop turns: the service manager may know, as long as the way to the console is tended too."""
        if self._sender.is_alive():
            self._manager.turns()

    def stop(self) -> None:
        """End `run` soon; may be called from a signal handler."""
        self._stop.set()
        if self._feed:
            self._feed.stop()

    def _inspect_all(self, captures: Sequence[str], *, once: bool) -> int:
        code = 0
        for path in captures:
            code = max(code, self._inspect(path))
            if self._stop.is_set():
                return code
        if once:
            self._ending_once = True
            self._stop.set()
        self._manager.ready("all captures are inspected")
        while not self._stop.wait(0.5):
            self._turn()
        return code

    def _listen(self, options: LiveOptions) -> int:
        feed = self._feed = LiveFeed(options)
        try:
            return self._follow(feed, options)
        finally:
            feed.close()

    def _follow(self, feed: LiveFeed, options: LiveOptions) -> int:
        if self._stop.is_set():
            feed.stop()
        store = Store(options.artifacts, options.artifacts_bytes) if options.artifacts else None
        learned = self._declared.learning
        archive = self._archive(str(options.ring or ""))
        folder = archive.folder if archive else None
        services = Services(store, self._yara, feed.cut, learned.path if learned else None, folder)
        learning = Learning(learned.length_ns, -1, learned.past) if learned else None
        declared = self._options(archive=archive, interfaces=", ".join(options.interfaces))
        setup = Setup(
            declared, True, feed.keeps_frames, store.history if store else None, learning, reports=bool(self._reports)
        )
        worker = self._worker = self._new_worker(setup, self._spooled, services, self._reported)
        self._say(f"listening on {feed.listening()}")
        self._manager.ready(f"listening on {feed.listening()}")
        self._services = services
        self._watch_rules(worker)
        try:
            for frames in feed:
                worker.put(frames, feed.health, self._keep)
                self._keep()
            worker.finish(self._keep)
        finally:
            self._stop_watching()
            self._next_flush = 0.0
            self._keep()
            worker.close()
            services.close()
        return 0

    def _options(self, **more: Any) -> Options:
        return dataclasses.replace(self._declared, indicators=self._indicators, learning=None, **more)

    def _new_worker(
        self, setup: Setup, found: Callable[[Finding], None], services: Services, reported: Reported
    ) -> Worker:
        return Worker(
            self._server, setup, found, services, self._quarantine, say=self._say, hook=self._hook, reported=reported
        )

    def _spooled(self, finding: Finding) -> None:
        """Put a finding into the spool."""
        self._vitals.found(finding)
        try:
            self._spool.append(lambda sequence: self._line(finding, sequence))
        except (ValueError, TypeError):
            self._refused += 1
            log.exception("the spool does not take a finding of %s", finding.rule_id)

    def reload(self) -> None:
        """Read what the plant declared in files again; may be called from a signal handler."""
        threading.Thread(target=self._declare_anew, name="reload", daemon=True).start()

    def _declare_anew(self) -> None:
        if self._reread is not None:
            try:
                self._local = self._reread()
            except (SystemExit, Exception) as error:
                if not isinstance(error, SystemExit):  # otherwise it has been told
                    self._say(str(error))
                self._say("what stands in the files cannot be used: what was declared before stays in force")
                return
        self._apply()
        if self._watch is not None:
            self._watch.ask()
        self._say("the files were read again")

    def _apply(self) -> None:
        """Put in force what the plant and the console declare now."""
        with self._change:
            before, self._declared = self._declared, self._keeper.applied(self._local)
            names = ("rules", "yara", "baseline", "tags", "tickets", "overrides", "ledger")
            changes = {it: getattr(self._declared, it) for it in names}
            changes = {name: value for name, value in changes.items() if value != getattr(before, name)}
            if not changes or self._worker is None or self._feed is None:
                return
            if "rules" in changes and changes["rules"] is None:
                changes["rules"] = rules_of(self._declared)
            if "yara" in changes and self._services is not None:
                self._services.use_yara(self._yara)
            self._worker.change(**changes)
            if self._declared.rule_folders != before.rule_folders and self._watch is not None:
                self._stop_watching()
                self._watch_rules(self._worker)

    def _yara(self) -> YaraRules:
        return self._declared.yara or shipped_yara()

    def _watch_rules(self, worker: Worker) -> None:
        folders = (rules_folder(), *self._declared.rule_folders)
        self._watch = RuleWatch(folders, rules_of(self._declared), lambda rules: worker.change(rules=rules))
        self._watch.start()

    def _stop_watching(self) -> None:
        watch, self._watch = self._watch, None
        if watch is not None:
            watch.stop()

    def _keep(self) -> None:
        """Put on disk what was found since the last time, and bring the counters up to date."""
        self._turn()
        if self._feed is None or self._worker is None or time.monotonic() < self._next_flush:
            return
        self._next_flush = time.monotonic() + FLUSH_S
        trouble = ""
        try:
            self._spool.flush()
        except SpoolError as error:  # everything stays in memory, and the next time may do
            trouble = str(error)
        if trouble != self._trouble:
            self._trouble = trouble
            self._say(trouble or f"the spool in {self._folder} can be written again")
        refused = {"findings_refused": self._refused}
        self._counters = self._feed.counters() | self._worker.counters() | refused

    def _inspect(self, path: str) -> int:
        """Inspect one capture; 2 where it cannot be read."""
        try:
            digest = _digest(path)
            if self._notes.inspected(digest):
                self._say(f"{path}: inspected before")
                return 0
            capture = open_capture(path)
        except (CaptureError, OSError) as error:
            self._say(str(error))
            return 2
        store = Store(self._artifacts, self._artifacts_bytes) if self._artifacts else None
        archive = self._archive(sha256=digest)
        options = self._options(capture=path, archive=archive)
        setup = Setup(options, False, history=store.history if store else None, reports=bool(self._reports))
        found: list[Finding] = []
        services = Services(store, self._yara, archive=archive.folder if archive else None)

        def reported(what: str, _run: str, records: Sequence[Mapping[str, Any]]) -> None:
            # another worker after a fault, counts from 0: then it is another run
            self._reported(what, f"{digest[:32]}.{worker.restarts}", records)

        worker = self._worker = self._new_worker(setup, found.append, services, reported)
        try:
            for frames in ahead(capture):
                worker.put(frames, waiting=self._turn)
                self._turn()
                if self._stop.is_set():
                    return 0  # the next start inspects it from the beginning
            counters = worker.finish(self._turn)
        finally:
            worker.close()
            services.close()
        self._note_reports()  # before the capture counts as inspected
        findings = merge(found)
        for finding in findings:
            self._vitals.found(finding)
        self._refused += self._notes.take(digest, [self._line(finding, 0) for finding in findings])
        for counter, value in counters.items():
            if isinstance(value, int):
                self._counters[counter] = self._counters.get(counter, 0) + value
        for warning in capture.warnings:
            self._say(warning)
        events = sum(value for name, value in counters.items() if name.startswith("events."))
        self._say(f"{path}: {capture.frames:,} frames, {events:,} PDUs, {len(findings)} findings")
        return 0

    def _archive(self, ring: str = "", sha256: str = "") -> Target | None:
        """Where the run is archived, with what tells its rows from those of other sensors and starts."""
        target = self._declared.archive
        if target is None:
            return None
        return dataclasses.replace(target, sensor=self._name, epoch=self._spool.epoch, ring=ring, sha256=sha256)

    def _line(self, finding: Finding, sequence: int) -> dict[str, Any]:
        return to_dict(finding, FindingId(self._name, self._spool.epoch, sequence))

    def _loss_line(self, loss: Loss) -> Mapping[str, Any]:
        """What is sent in place of findings that were lost on disk."""
        return loss_line(loss, self._name, self._spool.epoch)

    def _send(self) -> None:
        if not self._known.is_set():
            self._first_config()
        self._uplink.run(self._stop, self._all_counters, self._configure)

    def _all_counters(self) -> dict[str, Any]:
        kept = self._upkeep.counters() if self._upkeep else {}
        reports = self._reports.counters() if self._reports else {}
        return {**self._vitals.counters(), **self._keeper.counters(), **kept, **reports, **self._counters}

    def _first_config(self) -> None:
        """Until it is known who this sensor is, for without a name no finding can have an id.

        A sensor that knows its name already begins also without a console: what it finds waits on disk.
        """
        told = ""
        while not self._stop.is_set():
            try:
                self._configure(self._uplink.fetch_config())
                return
            except UplinkError as error:
                if str(error) != told:
                    told = str(error)
                    self._say(told)
                if self._name:
                    self._known.set()
                    return
                self._stop.wait(FIRST_CONFIG_PAUSE_S)

    def _configure(self, config: Config) -> None:
        if config.sensor:
            self._name = config.sensor
        try:
            changed = self._keeper.take(config.bundle, self._name, config.indicators, config.version, time.time())
        except BundleError as error:
            self._refuse(config.version, str(error))
            return
        if config.indicators != self._indicators:
            self._indicators = config.indicators
            if self._retro:
                self._retro.ask(config.indicators)
            if self._worker:
                self._worker.change(indicators=config.indicators)
        if changed:
            self._apply()
            self._say(f"configuration {self._keeper.now.version} of the console is in force")
        said = {"sensor": self._name, "indicators": list(config.indicators)}
        write_note(self._folder / "config.json", [json.dumps(said)])
        if self._name:
            self._known.set()

    def _refuse(self, version: str, why: str) -> None:
        """A configuration that cannot be used: what was in force stays, and people are told."""
        self._say(f"the configuration {version} of the console is refused: {why}")
        if self._name:
            before = self._keeper.now.version or None
            self._tell("sensor.config-refused", {"value": version, "seen": why, "before": before})
            self._known.set()

    def _hunter(self) -> RetroHunt | None:
        """What searches the archive for indicators that are new; it needs packages of its own."""
        if self._declared.archive is None:
            return None
        self._upkeep = ArchiveUpkeep(self._declared.archive.folder, self._archive_limits, self._say)
        from detectors.hunting.retro import RetroHunt

        hunter = RetroHunt(self._declared.archive.folder, self._folder / "hunted.json", self._told)
        hunter.ask(self._indicators)
        return hunter

    def _tell(self, rule_id: str, values: Mapping[str, Any]) -> None:
        """A finding about the sensor itself."""
        rule, now_ns = knowledge.detector_rules()[rule_id], time.time_ns()
        self._told(Finding(rule.id, rule.name, rule.severity, "", now_ns, now_ns, rule.explain(values)))

    def _told(self, finding: Finding) -> None:
        """Put a finding on disk at once."""
        self._spooled(finding)
        with contextlib.suppress(SpoolError):  # it stays in memory, and goes with the next ones
            self._spool.flush()

    def _recall(self) -> None:
        """Take up what the console said last time."""
        self._keeper.recall()
        self._declared = self._keeper.applied(self._local)
        kept = load_note(self._folder / "config.json", dict)
        self._name = self._name or str(kept.get("sensor", ""))
        self._indicators = [item for item in kept.get("indicators", []) if isinstance(item, dict)]


def _digest(path: str) -> str:
    """SHA-256 of a file's content: the same capture under another name is the same capture."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while part := file.read(DIGEST_BYTES):
            digest.update(part)
    return digest.hexdigest()
