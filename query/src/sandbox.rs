//! What may run: one statement that reads our tables, of bounded size, with known functions. Everything else is refused by default.
//!
//! Three gates, each enough for most attacks alone: the text ([`check_size`], [`parse`]), the logical plan ([`check_plan`]), and a session
//! that has nothing else to offer (no file store, no table factories, no writable catalogue).

mod functions;
mod plan;
mod statement;

use datafusion::sql::parser::{DFParserBuilder, Statement};
use datafusion::sql::sqlparser::dialect::GenericDialect;
use datafusion::sql::sqlparser::tokenizer::{Token, Tokenizer};

pub(crate) use functions::{allowed_aggregates, is_allowed, is_allowed_table_function};
pub(crate) use plan::check_plan;

use crate::QueryError;

/// The longest statement. 64 KiB: many times what people write; longer ones are lists of literals that belong into a join.
pub const SQL_BYTES_MAX: usize = 64 << 10;

/// The most operators (AND, OR, +, ||, UNION, JOIN, …) in a statement. 1,000: plans nest once per operator, and planners recurse.
pub const OPERATORS_MAX: usize = 1_000;

/// The most tables, subqueries and table functions in a statement. 64: the planner's work grows with the square of it.
pub const RELATIONS_MAX: usize = 64;

/// Refuses a text that is too long, before anything reads it.
pub(crate) fn check_size(sql: &str) -> Result<(), QueryError> {
    if sql.len() <= SQL_BYTES_MAX {
        return Ok(());
    }
    Err(QueryError::Limit {
        what: format!("the statement has {} bytes", sql.len()),
        value: format!("{SQL_BYTES_MAX} bytes"),
        setting: "SQL_BYTES_MAX, fixed",
        help: "Shorten it: IN (…) instead of many ORs, several queries instead of one",
    })
}

/// Reads the text as one allowed statement.
pub(crate) fn parse(sql: &str) -> Result<Statement, QueryError> {
    check_size(sql)?;
    let tokens = Tokenizer::new(&GenericDialect {}, sql)
        .tokenize()
        .map_err(|error| QueryError::Sql(format!("not SQL: {error}")))?;
    let operators = tokens.iter().filter(|token| nests(token)).count();
    if operators > OPERATORS_MAX {
        return Err(QueryError::Limit {
            what: format!("the statement has {operators} operators"),
            value: format!("{OPERATORS_MAX} operators"),
            setting: "OPERATORS_MAX, fixed",
            help: "Simplify it: IN (…) instead of many ORs, several queries instead of one",
        });
    }
    let parsed = DFParserBuilder::new(sql)
        .build()
        .and_then(|mut parser| parser.parse_statements());
    let mut statements = match parsed {
        Ok(statements) => statements,
        // What is forbidden is told as such, also where this dialect can't read it.
        Err(error) => {
            return Err(
                statement::refuse_first_word(&tokens).unwrap_or_else(|| statement::not_sql(&error))
            );
        }
    };
    match (statements.pop_front(), statements.len()) {
        (Some(one), more) => {
            statement::check(&one, &tokens)?;
            if more == 0 {
                return Ok(one);
            }
            let help = "Send one statement at a time.".to_owned();
            Err(QueryError::Forbidden {
                what: format!("a text of {} statements", more + 1),
                help,
            })
        }
        (None, _) => Err(QueryError::Sql(
            "there is no statement in the query".to_owned(),
        )),
    }
}

/// Whether a token makes the statement's tree one deeper: everything but names, literals, commas, dots and parentheses (the parser bounds
/// the nesting of those itself).
fn nests(token: &Token) -> bool {
    const WORDS: [&str; 27] = [
        "AND",
        "OR",
        "XOR",
        "NOT",
        "IS",
        "IN",
        "LIKE",
        "ILIKE",
        "SIMILAR",
        "BETWEEN",
        "REGEXP",
        "RLIKE",
        "OVERLAPS",
        "DIV",
        "COLLATE",
        "AT",
        "UNION",
        "INTERSECT",
        "EXCEPT",
        "MINUS",
        "JOIN",
        "APPLY",
        "WITH",
        "LATERAL",
        "ISNULL",
        "NOTNULL",
        "EXPLAIN",
    ];
    match token {
        Token::Word(word) => {
            word.quote_style.is_none()
                && WORDS
                    .iter()
                    .any(|known| word.value.eq_ignore_ascii_case(known))
        }
        Token::Whitespace(_)
        | Token::Number(..)
        | Token::SingleQuotedString(_)
        | Token::DoubleQuotedString(_)
        | Token::Comma
        | Token::Period
        | Token::LParen
        | Token::RParen
        | Token::EOF
        | Token::SemiColon => false,
        _ => true,
    }
}
