//! `tidewatch explain`: what the code of an error means and what to do.

use clap::Args;

use crate::error::CommandError;
use crate::error_codes::{all, book, find, page};

/// Flags of `explain`.
#[derive(Debug, Args)]
pub struct ExplainArgs {
    /// The code, such as TW-LOG-001. Left out: a list of all.
    pub code: Option<String>,
    /// Print all pages, as Markdown.
    #[arg(long, conflicts_with = "code")]
    pub all: bool,
}

/// Prints a page, the list, or the book.
pub(crate) fn run(args: &ExplainArgs) -> Result<(), CommandError> {
    let text = match &args.code {
        None if args.all => book(),
        None => all()
            .map(|code| format!("{:<17} {}\n", code.id, code.title))
            .collect(),
        Some(id) => page(find(id).ok_or_else(|| unknown(id))?),
    };
    super::print(&text)
}

fn unknown(id: &str) -> CommandError {
    let wanted = id.trim().to_ascii_uppercase();
    let nearest = all().min_by_key(|code| strsim::damerau_levenshtein(code.id, &wanted));
    CommandError::Usage(format!(
        "code `{id}`: not known; the nearest is `{}`, `tidewatch explain` lists all",
        nearest.map_or("", |code| code.id)
    ))
}
