"""``dropscribe policy``: write, check and try content policies."""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table
from rich.text import Text

from consumers.documents.transcript import Segment
from consumers.documents.verdict import DIGITS
from consumers.errors import ConfigurationError, PermanentError, TransientError
from consumers.policy.cope import clean
from consumers.policy.judge import Judge
from consumers.policy.policy import Policy, read_policies, read_policy
from consumers.policy.structure import read_labels
from consumers.policy.windows import LEAST_ROOM, NoRoomError, Passage, windows
from ops.cli.options import FILE, FOLDER, as_json_option
from ops.cli.output import make_table, print_json, waiting_for
from ops.cli.policy_check import PolicyReport, check_policy, policy_as_json
from ops.cli.settings import SettingsCommand, read_environment
from ops.policies import EXAMPLES, copy_examples
from ops.wiring.adapters import open_judge
from ops.wiring.settings import ModerationSettings, PoliciesSettings


@click.group()
def policy() -> None:
    """Write, check and try content policies.

    A policy is a Markdown file with the headings that the model was trained on.
    Recordings are moderated by all policies in the folder POLICIES_ROOT; its
    thresholds.toml holds the score from which a passage is flagged.

    \b
    To start:
      dropscribe policy examples --to /etc/dropscribe/policies
      dropscribe policy check /etc/dropscribe/policies/*.md
      dropscribe policy try /etc/dropscribe/policies/hate.md "Good morning."
    """  # noqa: D301


@policy.command("check", cls=SettingsCommand, settings=(ModerationSettings,))
@click.argument("files", nargs=-1, required=True, type=FILE, metavar="FILE...")
@click.option("--structure-only", is_flag=True, help="Check the headings only, without the model.")
@as_json_option
def check_command(files: tuple[Path, ...], *, structure_only: bool, as_json: bool) -> None:
    """Check the headings of policies, and their length in the model's tokens.

    The length is checked if the model, or its endpoint, is available. The exit
    code is 1 if there are errors; remarks are advice.

    \b
    Examples:
      dropscribe policy check --structure-only policies/*.md
    """  # noqa: D301
    reports, uncounted = _checked(files, structure_only=structure_only)
    is_fine = all(report.is_fine for report in reports)
    if as_json:
        print_json(
            {
                "fine": is_fine,
                "policies": [report.to_json() for report in reports],
                "uncounted": uncounted,
            }
        )
    else:
        for report in reports:
            _print_report(report)
        if uncounted is not None:
            click.echo(f"The lengths were not counted: {uncounted}")
    if not is_fine:
        raise click.exceptions.Exit(1)


@policy.command("try", cls=SettingsCommand, settings=(ModerationSettings,))
@click.argument("file", type=FILE)
@click.argument("text")
@as_json_option
def try_command(file: Path, text: str, *, as_json: bool) -> None:
    """Judge TEXT by the policy FILE; if TEXT is -, read it from standard input.

    Text longer than the model's context is judged in parts, and the highest score
    counts. The threshold comes from the thresholds.toml beside FILE.

    \b
    Examples:
      dropscribe policy try policies/violence.md "We won, we killed it out there."
    """  # noqa: D301
    if text == "-":
        text = sys.stdin.buffer.read().decode("utf-8", errors="replace")
    content = clean(text)
    if not content:
        raise click.UsageError("TEXT is empty")
    chosen = read_policy(file)
    with _loaded(ModerationSettings.read(read_environment())) as judge:
        scores = [round(score, DIGITS) for score in _scores(judge, chosen, content)]
        answer = {
            "policy": chosen.name,
            "version": chosen.version,
            "model": judge.model,
            "adapter": judge.adapter,
            "score": max(scores),
            "threshold": chosen.threshold,
            "flagged": max(scores) >= chosen.threshold,
            "parts": scores,
        }
    if as_json:
        print_json(answer)
        return
    verdict = "flagged" if answer["flagged"] else "not flagged"
    parts = f" (the highest of {len(scores)} parts)" if len(scores) > 1 else ""
    click.echo(f"score {max(scores):.4f}{parts}, threshold {chosen.threshold:g}: {verdict}")


@policy.command("list", cls=SettingsCommand, settings=(PoliciesSettings,))
@click.option("--examples", is_flag=True, help="List the examples that dropscribe includes.")
@as_json_option
def list_command(*, examples: bool, as_json: bool) -> None:
    """List the policies in use, or the examples.

    A policy's version is a hash of its text; each verdict names the version.

    \b
    Examples:
      dropscribe policy list
      dropscribe policy list --examples
    """  # noqa: D301
    root = EXAMPLES if examples else PoliciesSettings.read(read_environment()).policies_root
    if root is None:
        raise ConfigurationError(
            "POLICIES_ROOT is not set, so recordings are not moderated; "
            "`dropscribe policy list --examples` lists the examples"
        )
    policies = read_policies(root)
    if as_json:
        print_json({"root": str(root), "policies": [policy_as_json(each) for each in policies]})
    else:
        Console().print(_table(policies))


@policy.command("examples")
@click.option("--to", required=True, type=FOLDER, help="The folder, which is created if necessary.")
@as_json_option
def examples_command(to: Path, *, as_json: bool) -> None:
    """Copy the example policies into a folder, as a start for your own.

    Existing files are never overwritten.

    \b
    Examples:
      dropscribe policy examples --to /etc/dropscribe/policies
    """  # noqa: D301
    done = dict(copy_examples(to))
    if as_json:
        print_json({"folder": str(to), "files": done})
        return
    words = {"copied": "copied", "there": "unchanged", "kept": "kept: it differs from the example"}
    for name, deed in done.items():
        click.echo(f"{to / name}  {words[deed]}")


def _checked(
    files: Sequence[Path], *, structure_only: bool
) -> tuple[list[PolicyReport], str | None]:
    """Check files; give the reports, and why lengths were not counted, if they were not."""
    uncounted = "--structure-only"
    if not structure_only:
        settings = ModerationSettings.read(read_environment())
        try:
            with _loaded(settings) as judge:
                return [check_policy(path, judge) for path in files], None
        except (ConfigurationError, PermanentError, TransientError) as exc:
            uncounted = str(exc)
    return [check_policy(path, None) for path in files], uncounted


@contextmanager
def _loaded(settings: ModerationSettings) -> Iterator[Judge]:
    with waiting_for("asking the model"), open_judge(settings) as judge:
        yield judge


def _scores(judge: Judge, by: Policy, content: str) -> list[float]:
    room = judge.context - judge.prompt_tokens(by.text)
    if room < LEAST_ROOM:
        raise NoRoomError
    parts: Iterator[Passage] = windows(
        [Segment(0, 0, content, None, ())],
        seconds=math.inf,
        fits=lambda part: judge.content_tokens(part) <= room,
    )
    return judge.scores(by.text, [part.text for part in parts])


def _print_report(report: PolicyReport) -> None:
    facts = []
    if report.policy is not None:
        codes = " ".join(label.code for label in read_labels(report.policy.text))
        facts.append(f"{len(report.policy.text.split())} words")
        facts.append(f"labels {codes}" if codes else "no labels")
    if report.length is not None:
        facts.append(f"{report.length.tokens} of {report.length.context} tokens")
    facts.append("fine" if not report.problems else _number(report))
    click.echo(f"{report.path}: {', '.join(facts)}")
    for problem in report.problems:
        click.echo(f"  line {problem.line}: {problem.nature}: {problem.message}")


def _number(report: PolicyReport) -> str:
    errors = sum(problem.nature == "error" for problem in report.problems)
    return f"errors {errors}, remarks {len(report.problems) - errors}"


def _table(policies: Sequence[Policy]) -> Table:
    table = make_table("policy", "version", "threshold", "words", "labels")
    for each in policies:
        labels = ", ".join(f"({label.code}) {label.name}" for label in read_labels(each.text))
        words = str(len(each.text.split()))
        table.add_row(each.name, each.version, f"{each.threshold:g}", words, Text(labels))
    return table
