"""Rules as queries of Elasticsearch: in a real node they find what the stream matches."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.index import event_index

from detectors.content import rules_folder
from detectors.sigma.convert import FORMATS, convert_named, index_mapping
from detectors.sigma.matcher import Matcher
from detectors.sigma.ruleset import shipped
from detectors.sigma.sample_frames import frames, number_of
from detectors.sigma.samples import load_samples
from fenghuo import main
from sensor.capture.source import open_capture
from sensor.decode.decoder import Decoder
from sensor.schema import FIELDS
from sensor.view import Fields

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "captures"  # where it is there
SMALL = 60_000  # bytes of a shared capture
ALIKE = 20  # events of one behaviour that are indexed: the thousandth poll shows nothing new


def test_queries_find_the_samples_of_their_rules_and_no_near_misses(elasticsearch_url: str) -> None:
    samples = [sample for some in load_samples(rules_folder() / "samples").values() for sample in some]
    decoder = Decoder()
    events = [
        decoder.view.fields(batch, row) for batch in decoder.decode([frames(samples)]) for row in range(batch.size)
    ]
    owners = [number_of(str(event.get("source.ip") or event.get("source.mac"))) for event in events]
    queries = {it.name: it.query for it in convert_named((), "lucene") if it.query}
    assert len(queries) >= 60
    with event_index(elasticsearch_url, "rule-samples") as index:
        index.add(events)
        found = {name: {owners[number] for number in numbers} for name, numbers in index.found(queries).items()}
    wrong = [
        f"{sample.rule}: {sample.title}"
        for number, sample in enumerate(samples)
        if sample.rule in queries and (number in found[sample.rule]) != sample.matches
    ]
    assert not wrong, "\n".join(wrong)


def test_queries_find_the_same_events_as_the_stream(elasticsearch_url: str) -> None:
    rules = shipped().rules
    queries = {it.name: it.query for it in convert_named((), "lucene") if it.query}
    assert queries.keys() == {rule.id for rule in rules}
    own = sorted(path for path in (ROOT / "pcaps").rglob("*.pcap*") if path.suffix != ".toml")
    shared = [path for path in sorted(SHARED.glob("*/*/capture.pcap*")) if path.stat().st_size < SMALL]
    events: list[Fields] = []
    matched: dict[str, set[int]] = {name: set() for name in queries}
    for path in [*own, *shared]:
        decoder, matcher = Decoder(), Matcher(rules)
        seen: Counter[int] = Counter()
        for batch in decoder.decode(open_capture(path)):
            matcher.observe(decoder.view, batch, int(batch.columns.ts_ns.max()) if batch.size else 0)
            place: dict[int, int] = {}  # of the rows that are indexed
            for row, behaviour in enumerate(batch.columns.behaviour.tolist()):
                seen[behaviour] += 1
                if seen[behaviour] <= ALIKE:
                    place[row] = len(events)
                    events.append(decoder.view.fields(batch, row))
            labels = matcher.label.tolist()
            for row, at in place.items():
                for number in matcher.sets[labels[row]] if labels[row] >= 0 else ():
                    matched[rules[number].id].add(at)
            for number, rows in matcher.late:
                matched[rules[number].id].update(place[row] for row in rows.tolist() if row in place)
        assert not matcher.unseen, path
    assert sum(map(bool, matched.values())) >= 20
    with event_index(elasticsearch_url, "captures") as index:
        index.add(events)
        found = index.found(queries)
    differ = {name: sorted(found[name] ^ matched[name])[:5] for name in queries if found[name] != matched[name]}
    assert not differ


def test_texts_are_compared_without_case(elasticsearch_url: str) -> None:
    with event_index(elasticsearch_url, "letters") as index:
        index.add([{"network.protocol": "s7comm", "s7comm.service": "_INSE"}, {"s7comm.service": "_DELE"}])
        assert index.found({"term": "s7comm.service:_inse", "any": "s7comm.service:_D*"}) == {"term": {0}, "any": {1}}


def test_every_field_of_the_schema_has_its_type_in_the_index() -> None:
    typed = index_mapping()["mappings"]["properties"]
    assert typed.keys() == FIELDS.keys()
    assert typed["@timestamp"]["type"] == "date"
    assert typed["source.ip"]["type"] == "ip"
    assert typed["modbus.function_code"]["type"] == "long"


@pytest.mark.parametrize("form", FORMATS)
def test_a_rule_is_converted_to_every_form(form: str) -> None:
    (made,) = convert_named(["operation.modbus.force-listen-only"], form)
    assert "modbus.subfunction_code:4" in made.query
    assert "network.protocol:modbus" in made.query
    assert "\n" not in made.query
    if form != "lucene":
        assert json.loads(made.query)


def test_a_correlation_is_named_and_left_out(tmp_path: Path) -> None:
    plain = (rules_folder() / "sigma" / "modbus" / "modbus_force_listen_only.yml").read_text()
    many = (
        "title: Many\nid: 5638f7c0-70bf-4f48-9eb6-5a7cb2b1b7bd\nname: a.correlation\n"
        "correlation:\n  type: event_count\n  rules: [operation.modbus.force-listen-only]\n"
        "  group-by: [source.ip]\n  timespan: 1m\n"
        "  condition: {gte: 3}\nlevel: high\n"
    )
    file = tmp_path / "two.yml"
    file.write_text(f"{plain}---\n{many}")
    result = CliRunner().invoke(main, ["rules", "convert", "--target", "elasticsearch", str(file)])
    assert result.exit_code == 1
    assert result.stdout.startswith("network.protocol:modbus AND ")
    assert "a.correlation: not converted: Lucene has no correlations" in result.stderr


def test_the_command_prints_all_rules_with_their_names_and_the_mapping() -> None:
    every = CliRunner().invoke(main, ["rules", "convert", "--target", "elasticsearch"])
    assert every.exit_code == 0
    assert "# operation.s7comm.stop: " in every.stdout
    mapping = CliRunner().invoke(main, ["rules", "convert", "--target", "elasticsearch", "--mapping"])
    assert json.loads(mapping.stdout) == index_mapping()
    unknown = CliRunner().invoke(main, ["rules", "convert", "--target", "elasticsearch", "no.such.rule"])
    assert (unknown.exit_code, "no.such.rule" in unknown.stderr) == (2, True)
