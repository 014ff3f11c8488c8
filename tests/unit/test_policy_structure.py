"""A policy has the headings that the model was trained on; what differs is said by line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumers.policy.policy import read_policies
from consumers.policy.structure import Label, check_structure, read_labels
from ops.policies import EXAMPLES

GOOD = """\
# Policy

## Overview

Classifies advertising.

## Definition of Terms

- Advertising: praise of goods for money.

## Interpretation of Language

- Jokes are not meant.

## Definition of Labels

### (AD): Advertising

#### Includes

- Offers: anything that is for sale.

#### Excludes

- Reviews: what buyers say.

### (S2): Scams

#### Includes

1. Lures: prizes that have to be paid for.

#### Excludes

* Warnings: how to tell a scam.
"""


def problems(text: str) -> list[tuple[int, str, str]]:
    return [(each.line, each.nature, each.message) for each in check_structure(text)]


def only_problem(text: str) -> tuple[int, str, str]:
    (problem,) = problems(text)
    return problem


def test_a_policy_as_the_model_knows_it_has_no_problems() -> None:
    assert problems(GOOD) == []
    assert read_labels(GOOD) == (Label("AD", "Advertising"), Label("S2", "Scams"))


@pytest.mark.parametrize("name", ["harassment", "hate", "self-harm", "sexual", "violence"])
def test_the_examples_are_as_the_model_knows_them(name: str) -> None:
    (policy,) = (each for each in read_policies(EXAMPLES) if each.name == name)
    assert problems(policy.text) == []
    assert len(read_labels(policy.text)) >= 3
    assert 600 <= len(policy.text.split()) <= 1200


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("## Overview\n\nClassifies advertising.\n", "", 1, "there is no `## Overview`"),
        ("## Overview", "## overview", 1, "there is no `## Overview`"),
        ("Classifies advertising.\n", "", 3, "there is nothing under `## Overview`"),
        ("- Jokes are not meant.", " ", 11, "nothing under `## Interpretation of Language`"),
        ("## Definition of Labels", "## Labels", 1, "there is no `## Definition of Labels`"),
        ("(AD): Advertising", "Advertising", 17, "is not of the form `### (XX): Label`"),
        ("(AD): Advertising", "(AD):", 17, "is not of the form `### (XX): Label`"),
        ("(AD): Advertising", "(A): Ads", 17, "is not of the form `### (XX): Label`"),
        ("(S2): Scams", "(AD): Scams", 27, "the code AD is another label's, too"),
        ("#### Excludes\n\n- Reviews: what buyers say.\n", "", 17, "there is no `#### Excludes`"),
        ("- Offers: anything that is for sale.", "Offers.", 19, "no list under `#### Includes`"),
        ("- Offers: anything that is for sale.", "- ", 19, "no list under `#### Includes`"),
        ("Classifies", "ANSWER\n======\n\n1\n", 5, "is a part of the prompt itself"),
        ("Classifies", "  content \n ====\n", 5, "is a part of the prompt itself"),
        ("Classifies", "<eos>", 5, "`<eos>` may be a special token"),
        ("Classifies", "a <|end|> b", 5, "`<|end|>` may be a special token"),
        ("# Policy\n", "# Policy\n\n# Policy\n", 3, "begins with the heading `# Policy`"),
        ("# Policy\n", "Policy\n", 1, "begins with the heading `# Policy`"),
    ],
)
def test_an_error_names_the_line_and_the_remedy(
    old: str, new: str, line: int, message: str
) -> None:
    assert GOOD.count(old) == 1 or old.startswith("#")
    found = [each for each in problems(GOOD.replace(old, new, 1)) if each[1] == "error"]
    assert any(each[0] == line and message in each[2] for each in found), found


@pytest.mark.parametrize(
    ("old", "new", "line", "message"),
    [
        ("# Policy\n", "# Policy on Advertising\n", 1, "the model knows `# Policy on Adv"),
        ("# Policy\n", "By the editors.\n# Policy\n", 1, "text before the heading"),
        ("## Interpretation", "## History\n\nOld.\n\n## Interpretation", 11, "`## History` is no"),
        ("### (S2)", "#### Notes\n\nNone.\n\n### (S2)", 27, "`#### Notes` is not a heading"),
    ],
)
def test_a_remark_is_advice(old: str, new: str, line: int, message: str) -> None:
    found = only_problem(GOOD.replace(old, new, 1))
    assert found[:2] == (line, "remark")
    assert message in found[2]


def test_headings_in_another_order_are_errors() -> None:
    terms = "## Definition of Terms\n\n- Advertising: praise of goods for money.\n"
    line, nature, message = only_problem(GOOD.replace(terms, "") + "\n" + terms)
    assert (line, nature) == (34, "error")
    assert "`## Definition of Terms` has to come before `## Definition of Labels`" in message


def test_a_heading_that_is_there_twice_is_an_error() -> None:
    line, nature, message = only_problem(
        GOOD.replace("## Definition of Terms", "## Overview\n\nMore.\n\n## Definition of Terms")
    )
    assert (line, nature, message) == (7, "error", "`## Overview` appears twice")


def test_a_policy_without_labels_is_an_error() -> None:
    head = GOOD.partition("### (AD)")[0]
    assert "no label is defined" in only_problem(head)[2]


def test_an_empty_file_is_an_error() -> None:
    assert only_problem("\n \n") == (1, "error", "the policy is empty")


markdown = st.lists(
    st.sampled_from(GOOD.splitlines()) | st.sampled_from(["======", "ANSWER", "- x"]) | st.text()
).map("\n".join)


@given(markdown)
def test_any_text_is_checked_and_problems_are_on_its_lines(text: str) -> None:
    found = check_structure(text)
    lines = [problem.line for problem in found]
    assert lines == sorted(lines)
    assert all(1 <= line <= len(text.split("\n")) for line in lines)
    if not found:
        assert read_labels(text)
