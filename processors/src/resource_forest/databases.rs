//! Which resources are databases: known by what they tell, since their labels do not say it.
//!
//! A resource of whose metrics five begin as those of one database system do is of the class `database …` of that system, whatever its labels make it:
//! a host that runs a database is more like other such hosts than like web servers. Five, because a program that only asks a database tells one or
//! two metrics of that name (`redis_client_duration`). A resource that tells of two systems is of the first of [`SYSTEMS`].

use std::collections::BTreeSet;

use analytics::forest::ResourceScores;
use schemas::Micros;

use super::{Member, ResourceForests, UNSEEN};
use crate::series_table::SeriesTable;

/// Metrics of one system that make a database.
const METRICS_MIN: usize = 5;

/// Database systems, and how their metrics begin: as Prometheus exporters, the OpenTelemetry Collector and Telegraf write them.
const SYSTEMS: [(&str, &[&str]); 11] = [
    (
        "postgresql",
        &["postgresql.", "postgresql_", "postgres_", "pg_"],
    ),
    ("mysql", &["mysql.", "mysql_", "mariadb_"]),
    ("mongodb", &["mongodb.", "mongodb_", "mongo_"]),
    ("redis", &["redis.", "redis_", "valkey_"]),
    (
        "elasticsearch",
        &["elasticsearch.", "elasticsearch_", "opensearch_"],
    ),
    ("cassandra", &["cassandra.", "cassandra_"]),
    ("clickhouse", &["clickhouse.", "clickhouse_", "ClickHouse"]),
    ("memcached", &["memcached.", "memcached_"]),
    ("sqlserver", &["sqlserver.", "sqlserver_", "mssql_"]),
    ("oracle", &["oracledb.", "oracledb_", "oracle_"]),
    ("couchdb", &["couchdb.", "couchdb_"]),
];

/// What the class of a database is called.
pub(super) fn class_name(system: &str) -> String {
    format!("database {system}")
}

/// The place among [`SYSTEMS`] of the one that a metric is of.
fn system_of(metric: &str) -> Option<usize> {
    SYSTEMS.iter().position(|(_, beginnings)| {
        let begins = |beginning: &&str| metric.starts_with(beginning);
        beginnings.iter().any(begins)
    })
}

impl ResourceForests {
    /// A series of a member is seen for the first time: if that makes a database of it, it changes its class. `minute`: the open one.
    pub(super) fn recognise(
        &mut self,
        series: u32,
        member: u32,
        minute: Micros,
        table: &SeriesTable,
    ) {
        let directory = table.directory();
        let Some(system) = system_of(&directory[series as usize].metric) else {
            return;
        };
        let at = &self.members[member as usize];
        let known = SYSTEMS
            .iter()
            .position(|(name, _)| class_name(name) == self.classes[usize::from(at.class)].name);
        if known.is_some_and(|known| known <= system) {
            return;
        }
        // Only what is seen in sealed windows counts, so that it does not matter how samples were cut into records.
        let is_seen = |other: &u32| {
            let place = self.of_series.get(*other as usize);
            *other == series || place.is_some_and(|place| *place != UNSEEN)
        };
        let mut metrics: BTreeSet<&str> = BTreeSet::new();
        for other in table
            .resources()
            .series(at.resource)
            .iter()
            .filter(|s| is_seen(s))
        {
            let metric = &directory[*other as usize].metric;
            if system_of(metric) == Some(system)
                && metrics.insert(metric)
                && metrics.len() == METRICS_MIN
            {
                self.move_to(class_name(SYSTEMS[system].0), member, minute, table);
                return;
            }
        }
    }

    /// Makes a member one of another class, where it begins anew; where it is if there are too many classes.
    fn move_to(&mut self, name: String, member: u32, minute: Micros, table: &SeriesTable) {
        let Some(class) = self.class(name, minute) else {
            return;
        };
        let features = self.classes[class].features.len();
        let moved = &mut self.members[member as usize];
        let had_features = !moved.open.is_empty();
        *moved = Member {
            resource: moved.resource,
            class: class as u16,
            open: vec![Default::default(); features],
            scores: ResourceScores::default(),
        };
        // At a start no class has features yet, and there is nothing to tell anew.
        if had_features || features > 0 {
            self.tell_all(table);
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::otel("postgresql.backends", Some("postgresql"))]
    #[case::exporter("pg_stat_database_numbackends", Some("postgresql"))]
    #[case::telegraf("mysql_threads_connected", Some("mysql"))]
    #[case::redis("redis_connected_clients", Some("redis"))]
    #[case::mongo("mongodb.connection.count", Some("mongodb"))]
    #[case::host("system.cpu.utilization", None)]
    #[case::not_at_the_beginning("app_redis_pool_size", None)]
    #[case::a_longer_word("pgbouncer_pools_client_active", None)]
    fn a_metric_tells_its_system(#[case] metric: &str, #[case] system: Option<&str>) {
        assert_eq!(system_of(metric).map(|at| SYSTEMS[at].0), system);
    }
}
