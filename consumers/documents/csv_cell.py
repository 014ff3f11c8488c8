"""Cells of CSV files that people open in spreadsheets."""

from __future__ import annotations

#: The beginnings of a cell that make it a formula, East Asian forms included; see OWASP,
#: "CSV Injection".
_FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")


def csv_cell(value: object) -> str:
    """Write a cell; a text that a spreadsheet would execute begins with an apostrophe.

    The apostrophe marks it as text. Numbers stay as they are, and None is an empty cell.
    """
    if not isinstance(value, str):
        return "" if value is None else str(value)
    is_formula = value.lstrip().startswith(_FORMULA) or value.startswith(("\t", "\r", "\n"))
    return f"'{value}" if is_formula else value
