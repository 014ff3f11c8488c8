-- name: present_roles
SELECT rolname FROM pg_roles WHERE rolname = ANY(%(roles)s)

-- name: held_privileges
-- The privileges of these roles, and of everybody, on these tables, their columns and the schema.
SELECT coalesce(pg_roles.rolname, 'PUBLIC') AS role,
       object.kind || ' ' || object.name AS object,
       object.column_name,
       item.privilege_type AS privilege,
       item.is_grantable
FROM (
    SELECT 'SCHEMA' AS kind, nspname AS name, NULL AS column_name,
           coalesce(nspacl, acldefault('n', nspowner)) AS acl
    FROM pg_namespace
    WHERE nspname = current_schema()
    UNION ALL
    SELECT 'TABLE', relname, NULL, coalesce(relacl, acldefault('r', relowner))
    FROM pg_class
    WHERE relnamespace = current_schema()::regnamespace AND relname = ANY(%(tables)s)
    UNION ALL
    SELECT 'TABLE', relname, attname, attacl
    FROM pg_class JOIN pg_attribute ON attrelid = pg_class.oid
    WHERE relnamespace = current_schema()::regnamespace AND relname = ANY(%(tables)s)
) AS object
CROSS JOIN LATERAL aclexplode(object.acl) AS item
LEFT JOIN pg_roles ON pg_roles.oid = item.grantee
WHERE item.grantee = 0 OR pg_roles.rolname = ANY(%(roles)s)
