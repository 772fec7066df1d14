"""The trail: append-only, one hash chain a trial, written by triggers that no setting switches off.

The table is unmanaged, so that a flush of the test database does not try to truncate it.
"""

from django.db import migrations, models

TRAIL = """
CREATE TABLE audit_trail (
    id             bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    chain          text        NOT NULL,
    seq            bigint      NOT NULL,
    at             timestamptz NOT NULL,
    transaction_id xid8        NOT NULL DEFAULT pg_current_xact_id(),
    db_user        text        NOT NULL,
    user_id        bigint,
    user_name      text        NOT NULL,
    role           text        NOT NULL,
    site           text        NOT NULL,
    source         text        NOT NULL,
    reason         text        NOT NULL,
    table_name     text        NOT NULL,
    row_id         text        NOT NULL,
    participant_id bigint,
    operation      text        NOT NULL CHECK (operation IN ('INSERT', 'UPDATE', 'DELETE')),
    old            jsonb,
    new            jsonb,
    prev           bytea       NOT NULL,
    hash           bytea       NOT NULL,
    UNIQUE (chain, seq)
);
CREATE INDEX audit_trail_row ON audit_trail (table_name, row_id, id);
CREATE INDEX audit_trail_participant ON audit_trail (participant_id, id);
CREATE INDEX audit_trail_at ON audit_trail (chain, at);
"""

FUNCTIONS = r"""
-- What a row's hash covers: everything but the hash itself.
CREATE FUNCTION audit_hash(row_ audit_trail) RETURNS bytea LANGUAGE sql IMMUTABLE AS $$
    SELECT sha256(row_.prev || convert_to(jsonb_build_array(
        row_.chain, row_.seq, extract(epoch FROM row_.at)::text, row_.db_user, row_.user_id, row_.user_name, row_.role,
        row_.site, row_.source, row_.reason, row_.table_name, row_.row_id, row_.participant_id, row_.operation,
        row_.old, row_.new)::text, 'UTF8'))
$$;

-- Make a context the transaction's own; what was written under another one is recorded first, under that one.
CREATE FUNCTION audit_enter(acting text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE before text := coalesce(current_setting('canopy.context', true), '');
BEGIN
    IF before <> '' AND before <> acting THEN
        SET CONSTRAINTS ALL IMMEDIATE;
        SET CONSTRAINTS ALL DEFERRED;
    END IF;
    PERFORM set_config('canopy.context', acting, true);
    RETURN before;
END $$;

-- The keys whose values differ between two objects, with their values in the first.
CREATE FUNCTION audit_changed(of_ jsonb, against jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(jsonb_object_agg(key, value), '{}') FROM jsonb_each(of_) WHERE value IS DISTINCT FROM against -> key
$$;

-- The sequential scan is switched off because the planner would choose it inside a large transaction, on the
-- statistics of before: 100,000 rows then take minutes instead of seconds.
CREATE FUNCTION audit_record() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp SET enable_seqscan = off SET enable_bitmapscan = off AS $$
DECLARE
    was jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    is_ jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    this jsonb := coalesce(is_, was);
    acting jsonb := coalesce(nullif(current_setting('canopy.context', true), ''), '{}')::jsonb;
    entry audit_trail;
    trial_id bigint;
    parent jsonb;
    last_seq bigint;
    secret text;
BEGIN
    -- Secrets are shown to have changed, never shown: their digest stands for them.
    FOREACH secret IN ARRAY string_to_array(coalesce(TG_ARGV[1], ''), ',') LOOP
        was := CASE WHEN was ? secret THEN jsonb_set(was, ARRAY[secret], to_jsonb(encode(sha256((was ->> secret)::bytea), 'hex'))) ELSE was END;
        is_ := CASE WHEN is_ ? secret THEN jsonb_set(is_, ARRAY[secret], to_jsonb(encode(sha256((is_ ->> secret)::bytea), 'hex'))) ELSE is_ END;
    END LOOP;
    this := coalesce(is_, was);
    entry.row_id := coalesce(this ->> 'id', this ->> 'key', '');
    IF TG_OP = 'UPDATE' THEN
        IF was = is_ THEN RETURN NULL; END IF;
        entry.old := audit_changed(was, is_);
        entry.new := audit_changed(is_, was);
        IF entry.new ? 'answers' THEN
            entry.old := entry.old || jsonb_build_object('answers', audit_changed(was -> 'answers', is_ -> 'answers'));
            entry.new := entry.new || jsonb_build_object('answers', audit_changed(is_ -> 'answers', was -> 'answers'));
        END IF;
    ELSE
        entry.old := was;
        entry.new := is_;
    END IF;

    IF TG_ARGV[0] = 'self' THEN
        entry.participant_id := (this ->> 'id')::bigint;
        trial_id := (this ->> 'trial_id')::bigint;
    ELSIF TG_ARGV[0] <> 'system' THEN
        parent := this;
        IF TG_ARGV[0] LIKE 'via:%' THEN
            EXECUTE format('SELECT to_jsonb(parent) FROM %I parent WHERE id = $1', split_part(TG_ARGV[0], ':', 3))
                INTO parent USING (this ->> split_part(TG_ARGV[0], ':', 2))::bigint;
        END IF;
        entry.participant_id := (parent ->> 'participant_id')::bigint;
        trial_id := (parent ->> 'trial_id')::bigint;
        IF trial_id IS NULL THEN
            SELECT p.trial_id INTO trial_id FROM trials_participant p WHERE p.id = entry.participant_id;
        END IF;
    END IF;

    entry.chain := coalesce('trial:' || trial_id, 'system');
    PERFORM pg_advisory_xact_lock(7230001, hashtext(entry.chain));
    SELECT t.seq, t.hash INTO last_seq, entry.prev FROM audit_trail t WHERE t.chain = entry.chain ORDER BY t.seq DESC LIMIT 1;
    entry.seq := coalesce(last_seq, 0) + 1;
    entry.prev := coalesce(entry.prev, '\x00');
    entry.at := clock_timestamp();
    entry.db_user := session_user;
    entry.user_id := (acting ->> 'user_id')::bigint;
    entry.user_name := coalesce(acting ->> 'user_name', '');
    entry.role := coalesce(acting ->> 'role', '');
    entry.site := coalesce(acting ->> 'site', '');
    entry.source := coalesce(acting ->> 'source', 'database');
    entry.reason := coalesce(acting ->> 'reason', '');
    entry.table_name := TG_TABLE_NAME;
    entry.operation := TG_OP;
    entry.hash := audit_hash(entry);
    INSERT INTO audit_trail (chain, seq, at, db_user, user_id, user_name, role, site, source, reason, table_name, row_id,
                             participant_id, operation, old, new, prev, hash)
    VALUES (entry.chain, entry.seq, entry.at, entry.db_user, entry.user_id, entry.user_name, entry.role, entry.site,
            entry.source, entry.reason, entry.table_name, entry.row_id, entry.participant_id, entry.operation,
            entry.old, entry.new, entry.prev, entry.hash);
    RETURN NULL;
END $$;

CREATE FUNCTION audit_deny() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'The audit trail is append-only: % is refused.', TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER audit_trail_deny_change BEFORE UPDATE OR DELETE ON audit_trail
    FOR EACH ROW EXECUTE FUNCTION audit_deny();
CREATE TRIGGER audit_trail_deny_truncate BEFORE TRUNCATE ON audit_trail
    FOR EACH STATEMENT EXECUTE FUNCTION audit_deny();
ALTER TABLE audit_trail ENABLE ALWAYS TRIGGER audit_trail_deny_change;
ALTER TABLE audit_trail ENABLE ALWAYS TRIGGER audit_trail_deny_truncate;

-- A frozen row: never deleted, never changed but for the columns that the trigger names.
CREATE FUNCTION audit_freeze() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE touched text;
BEGIN
    IF TG_OP = 'DELETE' THEN
        RAISE EXCEPTION 'Rows of % are kept for ever: a delete is refused.', TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
    END IF;
    SELECT string_agg(key, ', ') INTO touched FROM jsonb_each(to_jsonb(NEW)) WHERE value IS DISTINCT FROM to_jsonb(OLD) -> key
        AND NOT key = ANY (coalesce(TG_ARGV, '{}'::text[]));
    IF touched IS NOT NULL THEN
        RAISE EXCEPTION 'Row % of % is frozen: % cannot change. Make a new row with a reason.', OLD.id, TG_TABLE_NAME, touched
            USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NEW;
END $$;
"""

FIELD_CHANGES = """
CREATE VIEW audit_field_change AS
SELECT t.id AS trail_id, t.chain, t.at, t.user_id, t.user_name, t.role, t.site, t.source, t.reason, t.table_name,
       t.row_id, t.participant_id, t.operation, f.field, f.old_value, f.new_value
FROM audit_trail t
CROSS JOIN LATERAL (
    SELECT k AS field, t.old -> k AS old_value, t.new -> k AS new_value
    FROM jsonb_object_keys(coalesce(t.old, '{}') || coalesce(t.new, '{}')) k WHERE k <> 'answers'
    UNION ALL
    SELECT 'answers.' || k, t.old -> 'answers' -> k, t.new -> 'answers' -> k
    FROM jsonb_object_keys(coalesce(t.old -> 'answers', '{}') || coalesce(t.new -> 'answers', '{}')) k
) f;
"""


class Migration(migrations.Migration):
    initial = True
    dependencies: list[tuple[str, str]] = []
    operations = [
        migrations.RunSQL(TRAIL, "DROP TABLE audit_trail"),
        migrations.RunSQL(
            FUNCTIONS,
            "DROP FUNCTION audit_freeze, audit_deny, audit_record, audit_changed, audit_enter, audit_hash CASCADE",
        ),
        migrations.RunSQL(FIELD_CHANGES, "DROP VIEW audit_field_change"),
        migrations.CreateModel(
            name="TrailRow",
            fields=[
                ("id", models.BigAutoField(primary_key=True)),
                ("chain", models.TextField()),
                ("seq", models.BigIntegerField()),
                ("at", models.DateTimeField()),
                ("db_user", models.TextField()),
                ("user_id", models.BigIntegerField(null=True)),
                ("user_name", models.TextField()),
                ("role", models.TextField()),
                ("site", models.TextField()),
                ("source", models.TextField()),
                ("reason", models.TextField()),
                ("table_name", models.TextField()),
                ("row_id", models.TextField()),
                ("participant_id", models.BigIntegerField(null=True)),
                ("operation", models.TextField()),
                ("old", models.JSONField(null=True)),
                ("new", models.JSONField(null=True)),
                ("prev", models.BinaryField()),
                ("hash", models.BinaryField()),
            ],
            options={"db_table": "audit_trail", "managed": False},
        ),
        migrations.CreateModel(
            name="FieldChange",
            fields=[
                ("trail_id", models.BigIntegerField(primary_key=True, serialize=False)),
                ("chain", models.TextField()),
                ("at", models.DateTimeField()),
                ("user_id", models.BigIntegerField(null=True)),
                ("user_name", models.TextField()),
                ("role", models.TextField()),
                ("site", models.TextField()),
                ("source", models.TextField()),
                ("reason", models.TextField()),
                ("table_name", models.TextField()),
                ("row_id", models.TextField()),
                ("participant_id", models.BigIntegerField(null=True)),
                ("operation", models.TextField()),
                ("field", models.TextField()),
                ("old_value", models.JSONField(null=True)),
                ("new_value", models.JSONField(null=True)),
            ],
            options={"db_table": "audit_field_change", "managed": False},
        ),
    ]
