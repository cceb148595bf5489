"""`fenghuo attack ...`: is what our rules say about ATT&CK still right, and what do they cover."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from commands.baseline import EXISTING, LANG, plainly


@click.group()
def attack() -> None:
    """MITRE ATT&CK for ICS: check the techniques that rules name, draw a layer of them."""


@attack.command("check")
@click.argument("file", type=EXISTING, metavar="FILE.json")
@LANG
def check(file: Path, lang: str | None) -> None:
    """Compare our techniques with MITRE's own data (ics-attack-*.json of mitre-attack/attack-stix-data).

    Exit codes: 0 every technique that a rule names is there and alive; 1 some are not, each with its rules; 2 the file
    cannot be used.
    """
    from detectors.attack import stix
    from detectors.attack.techniques import all_techniques, pinned_version, technique
    from detectors.attack.usage import used
    from detectors.report import language

    chinese = language(lang) == "zh"
    with plainly():
        edition = stix.read(file)
    named = used()
    found = stix.review(edition, named, all_techniques())
    states = {"unknown": "不存在", "revoked": "已撤销", "deprecated": "已弃用"} if chinese else {}
    for fault in found.faults:
        name = technique(fault.technique).name(language(lang))
        instead = f" -> {fault.replaced_by}" if fault.replaced_by else ""
        state = states.get(fault.state, fault.state)
        click.echo(f"{fault.technique} {name}: {state}{instead}: {', '.join(fault.rules)}")
    for key in found.dead:
        click.echo(f"{key}: {'名称表中有，但已失效' if chinese else 'in our list of names, but not alive'}")
    for key, ours, theirs in found.renamed:
        click.echo(f"{key}: {'已更名' if chinese else 'renamed'}: {ours} -> {theirs}")
    for entry in found.missing:
        click.echo(f"{entry.id} {entry.name}: {'名称表中没有' if chinese else 'not in our list of names'}")
    if edition.version != pinned_version():
        said = "文件版本 {}，规则所依据的版本 {}" if chinese else "the file is version {}, the rules are of {}"
        click.echo(said.format(edition.version or "?", pinned_version()))
    said = "规则使用 {} 个技术，其中 {} 个失效" if chinese else "rules name {} techniques, of which {} are not alive"
    click.echo(said.format(len(named), len(found.faults)))
    sys.exit(1 if found.faults else 0)


@attack.command("layer")
@click.option("--findings", "findings_file", type=EXISTING, metavar="FILE.jsonl",
              help="Count the techniques of these findings instead of those that rules cover.")  # fmt: skip
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Where to; else standard output.")
@LANG
def layer(findings_file: Path | None, output: Path | None, lang: str | None) -> None:
    """A layer for the ATT&CK Navigator (open it there with "Open Existing Layer")."""
    from detectors.attack.layer import counted, coverage, read_findings
    from detectors.attack.usage import used
    from detectors.report import language

    with plainly():
        if findings_file is None:
            made = coverage(used(), language(lang))
        else:
            made = counted(read_findings(findings_file), language(lang))
        text = json.dumps(made, ensure_ascii=False, indent=2)
        if output is None:
            click.echo(text)
        else:
            output.write_text(text + "\n", encoding="utf-8")
