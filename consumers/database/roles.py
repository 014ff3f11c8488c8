"""Least privilege in Postgres: a group role for each program, with the privileges it needs.

The roles cannot log in. People create users of their own, and make them members::

    CREATE ROLE gpu1 LOGIN PASSWORD '...' IN ROLE dropscribe_transcribe;
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import LiteralString

import psycopg
from psycopg import sql
from psycopg.rows import class_row, scalar_row

from consumers.database.migrate import MIGRATION_LOCK
from consumers.database.pool import translated
from consumers.database.repository import queries
from consumers.errors import ConfigurationError

_EVERYBODY = "PUBLIC"

#: By table, then by privilege: the columns that it covers; no column stands for all of them.
TablePrivileges = Mapping[str, Mapping[str, tuple[LiteralString, ...]]]

#: By the role's name.
RolePrivileges = Mapping[str, TablePrivileges]

READ: Mapping[str, tuple[LiteralString, ...]] = {"SELECT": ()}
_CHANGE: Mapping[str, tuple[LiteralString, ...]] = {
    **READ,
    "INSERT": (),
    "UPDATE": (),
    "DELETE": (),
}

_TABLES = (
    "batches",
    "recordings",
    "sidecars",
    "transcripts",
    "verdicts",
    "review_items",
    "reviews",
    "stages",
    "sweeps",
)

#: Every program checks the version of the schema.
_SCHEMA_VERSION: TablePrivileges = {"schema_migrations": READ}

#: The roles of people, and of the commands that they run.
_PEOPLE: RolePrivileges = {
    # A decision, once made, stays.
    "dropscribe_reviewer": {
        "review_items": {"SELECT": (), "UPDATE": ("claimed_by", "claimed_until")},
        "reviews": {"SELECT": (), "INSERT": ()},
    },
    "dropscribe_read": {**dict.fromkeys(_TABLES, READ), **_SCHEMA_VERSION},
    "dropscribe_operator": {
        **dict.fromkeys(_TABLES, _CHANGE),
        # Decisions are restored from the bucket, and neither altered nor deleted.
        "reviews": {"SELECT": (), "INSERT": ()},
        # The report of a sweep does not change until it is forgotten.
        "sweeps": {"SELECT": (), "INSERT": (), "DELETE": ()},
        **_SCHEMA_VERSION,
    },
}


def all_roles(stages: Mapping[str, TablePrivileges]) -> RolePrivileges:
    """Add the roles of people to one role for each stage, ``dropscribe_{name}``."""
    of_stages = {
        f"dropscribe_{name}": {**tables, **_SCHEMA_VERSION} for name, tables in stages.items()
    }
    return {**of_stages, **_PEOPLE}


@dataclass(frozen=True, slots=True)
class Privilege:
    """One privilege of a role; ``PUBLIC`` is everybody.

    Attributes:
        object: ``TABLE name`` or ``SCHEMA name``.
        column_name: The column of the table; None for the whole table.
        privilege: Its name in Postgres, such as ``SELECT``.
        is_grantable: Whether the role may grant it to others.
    """

    role: str
    object: str
    column_name: str | None
    privilege: str
    is_grantable: bool = False

    def granted(self) -> sql.Composed:
        """Write the statement that grants it."""
        return sql.SQL("GRANT {} TO {}").format(self._what(), _role(self.role))

    def revoked(self) -> sql.Composed:
        """Write the statement that revokes it, also from roles that this role granted it to."""
        return sql.SQL("REVOKE {} FROM {} CASCADE").format(self._what(), _role(self.role))

    def _what(self) -> sql.Composed:
        kind, _, name = self.object.partition(" ")
        column = sql.SQL(" ({})").format(sql.Identifier(self.column_name or ""))
        return sql.SQL("{}{} ON {} {}").format(
            # From our declarations, or from Postgres' own catalogue.
            sql.SQL(self.privilege),
            column if self.column_name else sql.SQL(""),
            sql.SQL(kind),
            sql.Identifier(name),
        )


def ensure_roles(url: str, roles: RolePrivileges, *, dry_run: bool) -> Iterator[tuple[str, bool]]:
    """Create the roles, and grant each its privileges on our tables and no others.

    Other privileges on our tables, and the privilege to create tables in their schema, are
    revoked from the roles and from everybody. Users that people created stay as they are. All
    changes are one transaction of the tables' owner; two at the same time take turns.

    Yields:
        What is ensured, and whether it was changed (in a dry run: whether it would be).

    Raises:
        ConfigurationError: The user lacks a right; the message holds the SQL for an
            administrator.
        TransientError: The database is unreachable, or has no schema.
    """
    with translated(), psycopg.connect(url, connect_timeout=10) as connection:
        if not dry_run:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", [MIGRATION_LOCK])
        present = _present_roles(connection, roles)
        excess, missing = _difference(connection, roles)
        if not dry_run:
            _make_roles(connection, [role for role in roles if role not in present])
            _make_privileges(connection, roles, excess)
    changed = {privilege.role for privilege in (*excess, *missing)}
    for role in roles:
        yield f"database role {role}", role not in present
        yield f"privileges of database role {role}", role in changed
    yield "database privileges of everybody", _EVERYBODY in changed


def _present_roles(connection: psycopg.Connection, roles: Collection[str]) -> set[str]:
    with connection.cursor(row_factory=scalar_row) as cursor:
        return set(cursor.execute(queries()["present_roles"], {"roles": list(roles)}))


def _difference(
    connection: psycopg.Connection, roles: RolePrivileges
) -> tuple[set[Privilege], set[Privilege]]:
    """Compare granted privileges with needed ones: those in excess, and those missing."""
    with connection.cursor(row_factory=class_row(Privilege)) as cursor:
        tables = sorted({table for tables in roles.values() for table in tables})
        parameters = {"roles": list(roles), "tables": tables}
        held = set(cursor.execute(queries()["held_privileges"], parameters))
        schema = connection.execute("SELECT current_schema()").fetchone()
    needed = set(_needed(roles, f"SCHEMA {schema[0] if schema else ''}"))
    # Everybody may use the schema `public`, which is enough for our roles.
    shared = {each for each in held if (each.role, each.privilege) == (_EVERYBODY, "USAGE")}
    missing = {each for each in needed - held if not (shared and each.privilege == "USAGE")}
    return held - needed - shared, missing


def _needed(roles: RolePrivileges, schema: str) -> Iterator[Privilege]:
    for role, tables in roles.items():
        yield Privilege(role, schema, None, "USAGE")
        for table, privileges in tables.items():
            for privilege, columns in privileges.items():
                for column in columns or (None,):
                    yield Privilege(role, f"TABLE {table}", column, privilege)


def _make_roles(connection: psycopg.Connection, roles: Collection[str]) -> None:
    statements = [sql.SQL("CREATE ROLE {} NOLOGIN").format(_role(role)) for role in roles]
    for statement in statements:
        try:
            # Another database of the same server may be bootstrapped at the same time.
            with connection.transaction():
                connection.execute(statement)
        except (psycopg.errors.DuplicateObject, psycopg.errors.UniqueViolation):
            continue
        except psycopg.errors.InsufficientPrivilege as exc:
            raise _refused(connection, "cannot create roles", statements) from exc


def _make_privileges(
    connection: psycopg.Connection, roles: RolePrivileges, excess: Collection[Privilege]
) -> None:
    """Revoke, compare again, and grant: REVOKE on a table also revokes from its columns."""
    why = "does not own the tables"
    statements = [each.revoked() for each in excess]
    try:
        for statement in statements:
            connection.execute(statement)
        _, missing = _difference(connection, roles)
        statements = [each.granted() for each in missing]
        for statement in statements:
            connection.execute(statement)
    except psycopg.errors.InsufficientPrivilege as exc:
        raise _refused(connection, why, statements) from exc
    # Postgres may only warn about a GRANT or REVOKE without the right to it.
    excess, missing = _difference(connection, roles)
    if statements := [each.revoked() for each in excess] + [each.granted() for each in missing]:
        raise _refused(connection, why, statements)


def _refused(
    connection: psycopg.Connection, why: str, statements: Collection[sql.Composed]
) -> ConfigurationError:
    lines = sorted(f"  {statement.as_string(connection)};" for statement in statements)
    return ConfigurationError(
        f"the database user {connection.info.user!r} {why}: have an administrator run these "
        "statements, and then run this again\n" + "\n".join(lines)
    )


def _role(name: str) -> sql.Composable:
    return sql.SQL("PUBLIC") if name == _EVERYBODY else sql.Identifier(name)
