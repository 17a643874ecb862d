//! The first gate: the statement as it was written.

use std::ops::ControlFlow;

use datafusion::common::TableReference;
use datafusion::error::DataFusionError;
use datafusion::sql::parser::Statement;
use datafusion::sql::resolve::resolve_table_references;
use datafusion::sql::sqlparser::ast::{
    self, ObjectName, Query, Select, SetExpr, TableFactor, Visit, Visitor,
};
use datafusion::sql::sqlparser::tokenizer::Token;

use super::{RELATIONS_MAX, is_allowed_table_function};
use crate::QueryError;
use crate::names::{CATALOG, SCHEMA, table_names};

/// The tables of `information_schema` that tell of tables and functions. `df_settings` tells of the machine and is left out.
const INFORMATION_TABLES: [&str; 6] = [
    "tables",
    "columns",
    "schemata",
    "views",
    "routines",
    "parameters",
];

fn forbidden(what: impl Into<String>, help: impl Into<String>) -> QueryError {
    QueryError::Forbidden {
        what: what.into(),
        help: help.into(),
    }
}

/// Refuses every statement that is not a plain read of our tables.
pub(crate) fn check(statement: &Statement, tokens: &[Token]) -> Result<(), QueryError> {
    check_kind(statement, tokens)?;
    let inner = match innermost(statement) {
        Statement::Statement(inner) => inner,
        _ => return Err(refuse(tokens)),
    };
    let mut visitor = Reader {
        depth: 0,
        relations: 0,
    };
    if let ControlFlow::Break(error) = inner.visit(&mut visitor) {
        return Err(*error);
    }
    match inner.as_ref() {
        // These name no table but the one whose columns they show, and that the planner looks up.
        ast::Statement::ShowTables { .. }
        | ast::Statement::ShowColumns { .. }
        | ast::Statement::ShowFunctions { .. } => Ok(()),
        _ => check_tables(innermost(statement)),
    }
}

fn innermost(statement: &Statement) -> &Statement {
    match statement {
        Statement::Explain(explain) => innermost(&explain.statement),
        other => other,
    }
}

fn check_kind(statement: &Statement, tokens: &[Token]) -> Result<(), QueryError> {
    match statement {
        Statement::Explain(explain) => check_kind(&explain.statement, tokens),
        Statement::Statement(inner) => match inner.as_ref() {
            ast::Statement::Query(_)
            | ast::Statement::ShowTables { .. }
            | ast::Statement::ShowColumns { .. }
            | ast::Statement::ShowFunctions { .. }
            | ast::Statement::ExplainTable { .. } => Ok(()),
            ast::Statement::ShowVariable { .. } | ast::Statement::ShowVariables { .. } => {
                Err(forbidden(
                    "SHOW of a setting",
                    "SHOW TABLES, SHOW COLUMNS FROM t and SHOW FUNCTIONS are there.",
                ))
            }
            _ => Err(refuse(tokens)),
        },
        _ => Err(refuse(tokens)),
    }
}

/// The refusal of a text that this dialect can't read, if it begins like a statement that is forbidden anyway.
pub(crate) fn refuse_first_word(tokens: &[Token]) -> Option<QueryError> {
    const READS: [&str; 9] = [
        "SELECT", "WITH", "VALUES", "TABLE", "FROM", "SHOW", "DESCRIBE", "DESC", "EXPLAIN",
    ];
    let words = words(tokens);
    let first = words
        .iter()
        .find(|word| !["EXPLAIN", "ANALYZE", "VERBOSE"].contains(&word.as_str()))
        .or(words.first())?;
    let known = !READS.contains(&first.as_str()) && STATEMENTS.contains(&first.as_str());
    known.then(|| refuse(tokens))
}

/// Words that begin statements of some dialect which do more than read.
const STATEMENTS: [&str; 50] = [
    "ALTER",
    "ANALYZE",
    "ATTACH",
    "BEGIN",
    "CACHE",
    "CALL",
    "CLOSE",
    "CLUSTER",
    "COMMENT",
    "COMMIT",
    "COPY",
    "CREATE",
    "DEALLOCATE",
    "DECLARE",
    "DELETE",
    "DETACH",
    "DISCARD",
    "DO",
    "DROP",
    "EXECUTE",
    "EXEC",
    "EXPORT",
    "FETCH",
    "FLUSH",
    "GRANT",
    "IMPORT",
    "INSERT",
    "INSTALL",
    "KILL",
    "LISTEN",
    "LOAD",
    "LOCK",
    "MERGE",
    "MSCK",
    "NOTIFY",
    "OPTIMIZE",
    "PRAGMA",
    "PREPARE",
    "REFRESH",
    "RENAME",
    "REPLACE",
    "RESET",
    "REVOKE",
    "ROLLBACK",
    "SAVEPOINT",
    "SET",
    "TRUNCATE",
    "UNLOAD",
    "UPDATE",
    "USE",
];

fn words(tokens: &[Token]) -> Vec<String> {
    let word = |token: &Token| match token {
        Token::Word(word) => Some(word.value.to_ascii_uppercase()),
        _ => None,
    };
    tokens.iter().filter_map(word).take(4).collect()
}

/// The refusal of a statement by its first words.
fn refuse(tokens: &[Token]) -> QueryError {
    let words = words(tokens);
    let skipped = words
        .iter()
        .take_while(|word| ["EXPLAIN", "ANALYZE", "VERBOSE"].contains(&word.as_str()))
        .count();
    let skipped = if skipped == words.len() { 0 } else { skipped };
    let first = words.get(skipped).map_or("this statement", String::as_str);
    let what = match (first, words.get(skipped + 1)) {
        ("CREATE" | "DROP" | "ALTER" | "INSERT", Some(second)) => format!("{first} {second}"),
        _ => first.to_owned(),
    };
    let help = match first {
        "COPY" | "EXPORT" | "UNLOAD" => {
            "To save an answer, ask for it in the format you need (CSV, Parquet, Arrow, JSON)."
        }
        "PREPARE" | "EXECUTE" | "EXEC" | "DEALLOCATE" => "Send the query itself.",
        "SET" | "RESET" | "USE" | "PRAGMA" => "Settings are part of the configuration.",
        "BEGIN" | "COMMIT" | "ROLLBACK" | "START" | "SAVEPOINT" => {
            "Every query sees one moment by itself; no transaction is needed."
        }
        "INSERT" | "UPDATE" | "DELETE" | "MERGE" | "TRUNCATE" | "REPLACE" => {
            "The tables follow from the log and change only with it; send samples instead."
        }
        _ => "The tables are fixed; files and other databases can't be reached from here.",
    };
    forbidden(what, help)
}

/// The error of a text that is not SQL.
pub(crate) fn not_sql(error: &DataFusionError) -> QueryError {
    let text = error.strip_backtrace();
    let text = text.strip_prefix("SQL error: ").unwrap_or(&text);
    if text.contains("RecursionLimitExceeded") || text.contains("recursion limit") {
        return QueryError::Limit {
            what: "the statement nests too deeply".to_owned(),
            value: "50 levels".to_owned(),
            setting: "recursion limit of the SQL parser, fixed",
            help: "Use WITH to give inner queries names, and fewer parentheses",
        };
    }
    let text = text
        .strip_prefix("ParserError(\"")
        .and_then(|text| text.strip_suffix("\")"))
        .unwrap_or(text);
    QueryError::Sql(format!("not SQL: {text}"))
}

/// Walks a statement and breaks at the first thing that is not a read.
struct Reader {
    depth: usize,
    relations: usize,
}

impl Reader {
    fn refuse(what: &str, help: &str) -> ControlFlow<Box<QueryError>> {
        ControlFlow::Break(Box::new(forbidden(what, help)))
    }
}

impl Visitor for Reader {
    type Break = Box<QueryError>;

    fn pre_visit_statement(&mut self, _: &ast::Statement) -> ControlFlow<Self::Break> {
        self.depth += 1;
        // A statement inside a statement is data-changing: WITH x AS (DELETE …), EXPLAIN of sqlparser's own.
        if self.depth > 1 {
            Self::refuse(
                "a statement inside a query",
                "Only queries can stand in WITH and in subqueries.",
            )
        } else {
            ControlFlow::Continue(())
        }
    }

    fn pre_visit_query(&mut self, query: &Query) -> ControlFlow<Self::Break> {
        if !query.locks.is_empty() {
            return Self::refuse(
                "FOR UPDATE or FOR SHARE",
                "Leave it out: every query sees one moment by itself.",
            );
        }
        if query.settings.is_some() || query.format_clause.is_some() || query.for_clause.is_some() {
            return Self::refuse(
                "SETTINGS, FORMAT or FOR after a query",
                "Leave it out; the format of an answer is chosen with the request.",
            );
        }
        match query.body.as_ref() {
            SetExpr::Insert(_) | SetExpr::Update(_) | SetExpr::Delete(_) | SetExpr::Merge(_) => {
                Self::refuse(
                    "a change of data inside a query",
                    "Only queries can stand in WITH and in subqueries.",
                )
            }
            _ => ControlFlow::Continue(()),
        }
    }

    fn pre_visit_select(&mut self, select: &Select) -> ControlFlow<Self::Break> {
        if select.into.is_some() {
            return Self::refuse(
                "SELECT … INTO",
                "To save an answer, ask for it in the format you need (CSV, Parquet, Arrow, JSON).",
            );
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_relation(&mut self, relation: &ObjectName) -> ControlFlow<Self::Break> {
        for part in &relation.0 {
            let Some(part) = part.as_ident() else {
                return Self::refuse("a computed table name", "Write the table's name.");
            };
            let file = part.value.contains(['/', '\\', ':', '*']) || part.quote_style == Some('\'');
            let extension = [
                ".parquet", ".csv", ".json", ".ndjson", ".arrow", ".avro", ".gz", ".zst",
            ];
            if file
                || extension
                    .iter()
                    .any(|extension| part.value.to_ascii_lowercase().ends_with(extension))
            {
                let what = format!("reading `{}`, a file or an address,", part.value);
                return Self::refuse(
                    &what,
                    &format!("The tables are: {}.", table_names().join(", ")),
                );
            }
        }
        ControlFlow::Continue(())
    }

    fn pre_visit_table_factor(&mut self, factor: &TableFactor) -> ControlFlow<Self::Break> {
        self.relations += 1;
        if self.relations > RELATIONS_MAX {
            return ControlFlow::Break(Box::new(QueryError::Limit {
                what: "the statement reads too many tables".to_owned(),
                value: format!("{RELATIONS_MAX} tables and subqueries"),
                setting: "RELATIONS_MAX, fixed",
                help: "Split it into several queries",
            }));
        }
        let functions = "The table functions are: generate_series, range, unnest.";
        match factor {
            TableFactor::Table {
                name,
                args: Some(_),
                ..
            } if !is_allowed_table_function(&name.to_string()) => {
                Self::refuse(&format!("the table function `{name}`"), functions)
            }
            TableFactor::Function { name, .. } if !is_allowed_table_function(&name.to_string()) => {
                Self::refuse(&format!("the table function `{name}`"), functions)
            }
            TableFactor::Table { .. }
            | TableFactor::Derived { .. }
            | TableFactor::Function { .. }
            | TableFactor::UNNEST { .. }
            | TableFactor::NestedJoin { .. } => ControlFlow::Continue(()),
            _ => Self::refuse("this kind of table expression", functions),
        }
    }
}

/// Refuses names that are no table of ours, with a hint at the nearest one.
fn check_tables(statement: &Statement) -> Result<(), QueryError> {
    let (references, _) =
        resolve_table_references(statement, true).map_err(|error| not_sql(&error))?;
    for reference in references {
        if is_allowed_table_function(reference.table())
            && matches!(reference, TableReference::Bare { .. })
        {
            continue;
        }
        let catalog = reference.catalog().unwrap_or(CATALOG);
        let schema = reference.schema().unwrap_or(SCHEMA);
        let known = match schema {
            _ if catalog != CATALOG => false,
            "information_schema" => {
                if reference.table() == "df_settings" {
                    return Err(forbidden(
                        "reading the engine's settings",
                        "SHOW TABLES, SHOW COLUMNS FROM t and SHOW FUNCTIONS are there.",
                    ));
                }
                INFORMATION_TABLES.contains(&reference.table())
            }
            SCHEMA => table_names().contains(&reference.table()),
            _ => false,
        };
        if !known {
            return Err(QueryError::Sql(format!(
                "no table is called `{reference}`. The tables are: {}; information_schema.{{{}}}",
                table_names().join(", "),
                INFORMATION_TABLES.join(", ")
            )));
        }
    }
    Ok(())
}
