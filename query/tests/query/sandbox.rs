//! What must not run: each statement is refused with a helpful error, and canaries on the disk stay as they were.

use std::collections::BTreeMap;
use std::path::Path;

use query::{Limits, QueryError};
use schemas::Table;

use crate::world::{START, World, samples};

/// Statements that must be refused. `{secret}`: a file outside the archive. `{dir}`: a directory to write into. `{parquet}`: a readable
/// Parquet file outside the archive. `{archived}`: one inside.
const FORBIDDEN: &str = r#"
CREATE TABLE t (a INT)
CREATE TABLE t AS SELECT * FROM samples
CREATE TABLE IF NOT EXISTS samples (a INT)
CREATE OR REPLACE TABLE samples AS SELECT 1
CREATE TEMPORARY TABLE t AS SELECT 1
CREATE VIEW v AS SELECT * FROM samples
CREATE OR REPLACE VIEW samples AS SELECT 1
CREATE MATERIALIZED VIEW v AS SELECT 1
CREATE SCHEMA s
CREATE DATABASE d
CREATE CATALOG c
CREATE INDEX i ON samples (time)
CREATE FUNCTION f(INT) RETURNS INT RETURN $1 + 1
CREATE FUNCTION f() RETURNS INT LANGUAGE python AS 'import os'
CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION '{parquet}'
CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{secret}'
CREATE EXTERNAL TABLE t (a VARCHAR) STORED AS CSV LOCATION 'file://{secret}'
CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION 'http://127.0.0.1:1/x.parquet'
CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION 's3://bucket/x.parquet'
CREATE EXTERNAL TABLE t STORED AS PARQUET LOCATION 'tidewatch-archive://archive/{archived}'
CREATE UNBOUNDED EXTERNAL TABLE t (a VARCHAR) STORED AS CSV LOCATION '{secret}'
EXPLAIN CREATE EXTERNAL TABLE t STORED AS CSV LOCATION '{secret}'
CREATE ROLE r
CREATE USER u
CREATE TRIGGER t AFTER INSERT ON samples EXECUTE FUNCTION f()
CREATE EXTENSION e
CREATE MACRO m(a) AS a + 1
CREATE SEQUENCE s
CREATE SECRET s (TYPE S3)
DROP TABLE samples
DROP TABLE IF EXISTS samples
DROP VIEW samples
DROP SCHEMA public CASCADE
DROP DATABASE tidewatch
DROP FUNCTION abs
DROP INDEX i
ALTER TABLE samples ADD COLUMN a INT
ALTER TABLE samples RENAME TO s
ALTER SYSTEM SET x = 1
TRUNCATE samples
TRUNCATE TABLE samples
INSERT INTO samples VALUES (1)
INSERT INTO samples SELECT * FROM samples
INSERT OVERWRITE samples SELECT * FROM samples
INSERT INTO checkpoints SELECT * FROM checkpoints
INSERT INTO '{dir}/x.parquet' SELECT 1
UPDATE samples SET value = 0
UPDATE samples SET value = 0 WHERE metric = 'cpu'
DELETE FROM samples
DELETE FROM samples WHERE time < now()
MERGE INTO samples USING rollups_1m ON true WHEN MATCHED THEN DELETE
REPLACE INTO samples VALUES (1)
COPY samples TO '{dir}/out.parquet'
COPY samples TO '{dir}/out.csv' STORED AS CSV
COPY samples TO 'file://{dir}/out.json' STORED AS JSON
COPY samples TO 's3://bucket/out.parquet'
COPY (SELECT * FROM samples) TO '{dir}/out.parquet'
COPY (SELECT 'x') TO '{secret}' STORED AS CSV
COPY samples TO 'tidewatch-archive://archive/out.parquet'
COPY samples FROM '{secret}'
COPY samples TO PROGRAM 'touch {dir}/pwned'
COPY samples TO STDOUT
EXPLAIN COPY samples TO '{dir}/out.parquet'
EXPLAIN ANALYZE COPY samples TO '{dir}/out.parquet'
EXPLAIN ANALYZE COPY (SELECT 1) TO '{dir}/out.csv' STORED AS CSV
EXPLAIN VERBOSE COPY samples TO '{dir}/out.parquet'
EXPLAIN INSERT INTO samples SELECT * FROM samples
EXPLAIN ANALYZE INSERT INTO samples SELECT * FROM samples
EXPLAIN ANALYZE DELETE FROM samples
EXPLAIN ANALYZE UPDATE samples SET value = 0
EXPLAIN CREATE TABLE t AS SELECT 1
EXPLAIN ANALYZE CREATE TABLE t AS SELECT 1
EXPLAIN DROP TABLE samples
EXPLAIN EXPLAIN DROP TABLE samples
EXPLAIN (ANALYZE) DELETE FROM samples
SET datafusion.execution.batch_size = 1
SET datafusion.catalog.location = '{dir}'
SET TIME ZONE 'UTC'
SET ROLE admin
SET x = 1
RESET datafusion.execution.batch_size
SHOW ALL
SHOW datafusion.execution.batch_size
SHOW TIME ZONE
SHOW CREATE TABLE samples
SHOW DATABASES
SELECT * FROM information_schema.df_settings
SELECT value FROM tidewatch.information_schema.df_settings
USE tidewatch
PRAGMA table_info(samples)
ATTACH '{secret}' AS a
DETACH a
INSTALL httpfs
LOAD httpfs
LOAD DATA INPATH '{secret}' INTO TABLE samples
EXPORT DATA OPTIONS(uri='{dir}/x') AS SELECT 1
UNLOAD ('SELECT 1') TO '{dir}/x'
CALL f()
DO $$ BEGIN PERFORM 1; END $$
EXEC f
PREPARE p AS SELECT * FROM samples
PREPARE p(INT) AS SELECT $1
EXECUTE p
EXECUTE p(1)
DEALLOCATE p
DECLARE c CURSOR FOR SELECT 1
FETCH NEXT FROM c
CLOSE c
BEGIN
START TRANSACTION
COMMIT
ROLLBACK
SAVEPOINT s
LOCK TABLE samples
GRANT SELECT ON samples TO u
REVOKE SELECT ON samples FROM u
KILL 1
ANALYZE samples
ANALYZE TABLE samples COMPUTE STATISTICS
VACUUM samples
OPTIMIZE TABLE samples
CACHE TABLE samples
REFRESH TABLE samples
MSCK REPAIR TABLE samples
COMMENT ON TABLE samples IS 'x'
LISTEN c
NOTIFY c
DISCARD ALL
FLUSH TABLES
SELECT * FROM '{parquet}'
SELECT * FROM "{parquet}"
SELECT * FROM `{parquet}`
SELECT * FROM '{secret}'
SELECT * FROM "{secret}"
SELECT * FROM "file://{secret}"
SELECT * FROM 'file://{parquet}'
SELECT * FROM "http://127.0.0.1:1/x.parquet"
SELECT * FROM 's3://bucket/x.parquet'
SELECT * FROM "tidewatch-archive://archive/{archived}"
SELECT * FROM '{archived}'
SELECT * FROM "x.parquet"
SELECT * FROM "../x.csv"
SELECT * FROM "*.json"
SELECT * FROM public."{parquet}"
SELECT * FROM samples, '{parquet}'
SELECT * FROM samples JOIN "{parquet}" p ON true
SELECT (SELECT count(*) FROM '{parquet}')
SELECT * FROM samples WHERE value IN (SELECT value FROM '{parquet}')
SELECT * FROM samples UNION ALL SELECT * FROM '{parquet}'
WITH x AS (SELECT * FROM '{parquet}') SELECT * FROM x
WITH x AS (DELETE FROM samples RETURNING *) SELECT * FROM x
WITH x AS (INSERT INTO samples SELECT * FROM samples RETURNING *) SELECT * FROM x
WITH x AS (UPDATE samples SET value = 0 RETURNING *) SELECT * FROM x
WITH x AS (SELECT 1) INSERT INTO samples SELECT * FROM x
WITH x AS (SELECT 1) DELETE FROM samples
WITH x AS (SELECT 1) UPDATE samples SET value = 0
DESCRIBE '{parquet}'
DESCRIBE "{secret}"
EXPLAIN SELECT * FROM '{parquet}'
EXPLAIN ANALYZE SELECT * FROM '{parquet}'
SHOW COLUMNS FROM "{parquet}"
TABLE "{parquet}"
SELECT * FROM read_parquet('{parquet}')
SELECT * FROM read_csv('{secret}')
SELECT * FROM parquet_metadata('{parquet}')
SELECT * FROM metadata_cache()
SELECT * FROM glob('/*')
SELECT * FROM TABLE(read_csv('{secret}'))
SELECT * FROM file('{secret}')
SELECT * FROM url('http://127.0.0.1:1/')
SELECT read_text('{secret}')
SELECT pg_read_file('{secret}')
SELECT load_extension('{secret}')
SELECT getenv('HOME')
SELECT input_file_name() FROM samples
SELECT @@version
SELECT @x
SELECT $1
SELECT * FROM samples WHERE value > $1
SELECT 1 INTO t
SELECT * INTO t FROM samples
SELECT * FROM samples FOR UPDATE
SELECT * FROM samples FOR SHARE
SELECT 1; SELECT 2
SELECT 1; DROP TABLE samples
SELECT 1; COPY samples TO '{dir}/out.parquet'
SELECT 1;; DELETE FROM samples
DROP TABLE samples; SELECT 1
/* x */ DROP TABLE samples
-- x
SELECT * FROM nosuch
SELECT * FROM other.public.samples
SELECT * FROM tidewatch.other.samples
SELECT * FROM pg_catalog.pg_tables
SELECT nosuch FROM samples
SELECT nosuch(1)
SELECT FROM WHERE
samples
;
"#;

fn files(directory: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut left = vec![directory.to_owned()];
    while let Some(directory) = left.pop() {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                left.push(path)
            } else {
                _ = found.insert(path.display().to_string(), std::fs::read(path).unwrap())
            }
        }
    }
    found
}

#[tokio::test]
async fn nothing_but_reads_of_our_tables_runs() {
    let world = World::small();
    let outside = tempfile::tempdir().unwrap();
    let secret = outside.path().join("secret.csv");
    std::fs::write(&secret, "canary\n").unwrap();
    crate::world::write_file(
        outside.path(),
        "outside.parquet",
        Table::Samples,
        &samples("secret", &[("canary", START, 42.0)]),
    );
    let before = (files(outside.path()), files(world.directory.path()));

    let mut statements: Vec<String> = FORBIDDEN
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| {
            line.replace("{secret}", secret.to_str().unwrap())
                .replace("{dir}", outside.path().to_str().unwrap())
                .replace(
                    "{parquet}",
                    outside.path().join("outside.parquet").to_str().unwrap(),
                )
                .replace("{archived}", "samples/date=2026-11-21/p00001-mem.parquet")
        })
        .collect();
    statements.push(String::new());
    // The same in other clothes.
    let plain = statements.clone();
    statements.extend(plain.iter().map(|sql| {
        sql.to_lowercase().replace(
            &secret.to_str().unwrap().to_lowercase(),
            secret.to_str().unwrap(),
        )
    }));
    statements.extend(plain.iter().map(|sql| format!("  \n/* a */ {sql} -- b")));
    assert!(statements.len() > 500, "{}", statements.len());

    for sql in &statements {
        let error = world.error(sql).await;
        let text = error.to_string();
        assert!(
            matches!(error, QueryError::Forbidden { .. } | QueryError::Sql(_)),
            "{sql}\n{error:?}"
        );
        assert!(text.len() > 20 && !text.contains("canary"), "{sql}\n{text}");
        let first = sql
            .split_whitespace()
            .find(|word| !["/*", "a", "*/", "EXPLAIN", "ANALYZE"].contains(word))
            .unwrap_or_default();
        if [
            "CREATE", "DROP", "INSERT", "UPDATE", "DELETE", "COPY", "SET", "TRUNCATE", "PREPARE",
            "BEGIN",
        ]
        .contains(&first)
        {
            assert!(
                matches!(&error, QueryError::Forbidden { what, .. } if what.starts_with(first)),
                "{sql}\n{text}"
            );
        }
    }
    assert_eq!(files(outside.path()), before.0, "a canary changed");
    assert_eq!(
        files(world.directory.path()),
        before.1,
        "the archive changed"
    );
    assert_eq!(*world.store.changes.lock().unwrap(), 0);
    assert_eq!(
        world.opened(),
        Vec::<String>::new(),
        "a refused statement read a file"
    );
}

#[tokio::test]
async fn a_refusal_says_what_to_do_instead() {
    let world = World::small();
    let cases = [
        (
            "COPY samples TO '/tmp/x.parquet'",
            "ask for it in the format",
        ),
        ("INSERT INTO samples VALUES (1)", "send samples instead"),
        ("SELECT * FROM '/etc/passwd'", "The tables are: samples"),
        ("SELECT * FROM sample", "The tables are: samples"),
        ("SELECT 1; SELECT 2", "one statement at a time"),
        ("SET x = 1", "configuration"),
        ("SELECT * FROM read_csv('x')", "generate_series"),
        ("SELECT valu FROM samples", "value"),
    ];
    for (sql, help) in cases {
        let text = world.error(sql).await.to_string();
        assert!(text.contains(help), "{sql}\n{text}");
    }
}

#[tokio::test]
async fn ordinary_reads_pass() {
    let world = World::empty(Limits::default());
    for sql in [
        "SELECT 1;",
        "select * from SAMPLES",
        "SELECT * FROM tidewatch.public.samples",
        "SELECT * FROM \"samples\"",
        "VALUES (1), (2)",
        "WITH RECURSIVE n AS (SELECT 1 AS i UNION ALL SELECT i + 1 FROM n WHERE i < 5) SELECT * FROM n",
        "SELECT * FROM samples s LEFT JOIN LATERAL (SELECT max(sum) FROM rollups_1m r WHERE r.host = s.host) ON true",
        "SELECT host, 'drop table samples; copy x to y' FROM samples -- insert into",
        "SELECT * FROM unnest([1, 2, 3])",
        "SELECT * FROM generate_series(TIMESTAMP '2026-01-01', TIMESTAMP '2026-01-02', INTERVAL '1 hour')",
        "SELECT metric, CASE WHEN value > 1 THEN 'high' ELSE 'low' END FROM samples ORDER BY time LIMIT 10 OFFSET 5",
        "EXPLAIN ANALYZE SELECT * FROM samples",
        "SELECT metric, count(*) FILTER (WHERE value > 1) FROM samples GROUP BY ROLLUP (metric) HAVING count(*) > 1",
        "SELECT approx_percentile_cont(value, 0.99), stddev(value) FROM samples",
        "SELECT regexp_replace(host, '[0-9]+', ''), upper(host), lpad(host, 10), split_part(host, '-', 1) FROM samples",
        "(SELECT 1) UNION (SELECT 2) EXCEPT (SELECT 3)",
    ] {
        let answer = world
            .ask(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}\n{error}"));
        answer
            .collect()
            .await
            .unwrap_or_else(|error| panic!("{sql}\n{error}"));
    }
}
