"""What was found, for programs, for people, and for ``RESULTS.md``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.console import Group, RenderableType
from rich.markdown import Markdown
from rich.text import Text

from tests.bench.benchmark import Benchmark, Findings, Ratio, Spread


@dataclass(frozen=True, slots=True)
class BenchmarkReport:
    """A benchmark's findings and their conditions."""

    benchmark: Benchmark
    unit: str
    findings: Findings
    scale: float
    seconds: float
    machine: Mapping[str, str]
    packages: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        """The report as a JSON object."""
        found = self.findings
        return {
            "benchmark": self.benchmark.name,
            "about": self.benchmark.about,
            "unit": self.unit,
            "scale": self.scale,
            "rounds": found.rounds,
            "seconds": round(self.seconds, 1),
            "cases": [
                {
                    "case": name,
                    **asdict(spread),
                    "facts": {fact: asdict(each) for fact, each in found.facts[name].items()},
                }
                for name, spread in found.values.items()
            ],
            "ratios": [
                {**asdict(each.goal), **asdict(each.spread), "is_met": each.is_met}
                for each in found.ratios
            ],
            "agreement": dict(found.agreement),
            "machine": dict(self.machine),
            "packages": dict(self.packages),
        }

    def for_people(self) -> RenderableType:
        """Lay it out for a terminal."""
        return Group(Markdown(self.as_markdown()), Text(""))

    def as_markdown(self) -> str:
        """Write it as a section of ``RESULTS.md``."""
        parts = [
            f"### `{self.benchmark.name}`: {self.benchmark.about}",
            _markdown(self._headings(), self._rows()),
            _markdown(_RATIO_HEADINGS, self._ratio_rows()) if self.findings.ratios else "",
            self._conditions(),
        ]
        return "\n\n".join(part for part in parts if part)

    def _headings(self) -> list[str]:
        return ["case", f"median, {self.unit}", "least to most", *self._fact_names()]

    def _fact_names(self) -> list[str]:
        return list(dict.fromkeys(name for each in self.findings.facts.values() for name in each))

    def _rows(self) -> list[list[str]]:
        return [
            [name, _number(spread.median), _range(spread), *self._fact_cells(name)]
            for name, spread in self.findings.values.items()
        ]

    def _fact_cells(self, case: str) -> list[str]:
        facts = self.findings.facts[case]
        return [_number(facts[name].median) if name in facts else "" for name in self._fact_names()]

    def _ratio_rows(self) -> list[list[str]]:
        return [_ratio_row(each) for each in self.findings.ratios]

    def _conditions(self) -> str:
        agreement = [f"{name}: {_number(value)}" for name, value in self.findings.agreement.items()]
        packages = [f"{name} {value}" for name, value in self.packages.items()]
        scale = [] if self.scale == 1 else [f"at a scale of {self.scale:g}"]
        rounds = f"{self.findings.rounds} rounds, {self.seconds:.0f} s in all"
        return "; ".join([rounds, *scale, *agreement, ", ".join(packages)]).rstrip("; ")


_THOUSAND = 1000

_RATIO_HEADINGS = ["ratio", "median", "least to most", "aim"]


def _ratio_row(ratio: Ratio) -> list[str]:
    goal = ratio.goal
    name = f"{goal.of} / {goal.to}" + (f", {goal.fact}" if goal.fact else "")
    if goal.limit is None:
        aim = ""
    else:
        aim = f"{goal.bound} {goal.limit:g}: {'met' if ratio.is_met else 'missed'}"
    return [name, f"{ratio.spread.median:.2f}", _range(ratio.spread), aim]


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= _THOUSAND else f"{value:.3g}"


def _range(spread: Spread) -> str:
    return f"{_number(spread.low)} to {_number(spread.high)}"


def _markdown(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
