//! The SQL shell: `tidewatch sql` without a question on a terminal. Reads statements, shows answers, survives wrong ones, Ctrl-C and a lost instance.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::{FutureExt, StreamExt, stream};
use query::{Answer, Batches, Notes};
use schemas::{Fault, HasFault};
use tokio::signal::unix::{Signal, SignalKind, signal};

use super::output::Output;
use super::source::{Rows, Source};
use super::{Reader, written};
use crate::args::{SqlArgs, SqlFormat};
use crate::config::Config;
use crate::error::CommandError;

mod caret;
mod command;
mod complete;
mod editor;
mod history;
mod line;
mod picture;
mod statement;
mod table;
mod terminal;

use command::Command;
use complete::Names;
use editor::{Editor, Input};
use history::History;
use statement::Piece;
use table::{PAGE_ROWS, Table};
use terminal::Terminal;

/// Rows of an answer that are shown unless `\limit` says otherwise: more than a person reads, few enough to be there at once.
const ROWS_SHOWN: usize = 1_000;
/// Rows whose texts are made at once: an answer comes in batches of thousands.
const ROWS_AT_ONCE: usize = 250;
/// How long the names of tables and columns may take; without them the shell completes less.
const NAMES_TIMEOUT: Duration = Duration::from_secs(3);

/// Runs until `\q`, Ctrl-D or the end of the terminal.
pub(super) async fn run(config: &Config, args: SqlArgs) -> Result<(), CommandError> {
    let source = Source::find(config, args.url.url.as_deref()).await?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(|error| {
        CommandError::surroundings(format!("Ctrl-C can't be received: {error}"))
    })?;
    let (history, no_history) = History::open(history::place());
    let mut editor = Editor::new(history);
    let mut shell = Shell {
        config,
        url: args.url.url,
        source: None,
        format: args.format,
        output: args.output,
        rows_shown: ROWS_SHOWN,
        timing: true,
        expanded: false,
        colours: has_colours(),
    };
    shell.say(&format!(
        "tidewatch {}: {}\nA statement ends with a semicolon; \\? helps, \\q leaves.\n",
        env!("CARGO_PKG_VERSION"),
        source.told()
    ))?;
    if let Some(why) = no_history {
        shell.say(&format!("no history is kept: {why}\n"))?;
    }
    shell.source = Some(source);
    loop {
        if editor.names == Names::default() {
            editor.names = shell.names().await;
        }
        // One that came when its query had just ended is not meant for the next.
        while interrupt.recv().now_or_never().is_some() {}
        // Waits for keys on this thread; what runs beside must not wait with it.
        let input = tokio::task::block_in_place(|| editor.read());
        match input.map_err(|error| CommandError::surroundings(format!("the terminal: {error}")))? {
            Input::End => return Ok(()),
            Input::Dropped => {}
            Input::Text(text) => {
                for piece in statement::cut(&text).0 {
                    match shell.does(piece, &mut interrupt).await? {
                        Then::GoOn => {}
                        Then::DropRest => break,
                        Then::Leave => return Ok(()),
                    }
                }
            }
        }
    }
}

/// Whether the shell goes on.
#[derive(Debug, PartialEq, Eq)]
enum Then {
    GoOn,
    /// What was typed behind a cancelled statement is not run.
    DropRest,
    Leave,
}

struct Shell<'a> {
    config: &'a Config,
    /// The instance that was named, if any.
    url: Option<String>,
    /// `None` after a connection was lost: looked for again when it is needed.
    source: Option<Source>,
    format: SqlFormat,
    /// Where the next answer goes; `None`: to the terminal.
    output: Option<PathBuf>,
    /// 0: all.
    rows_shown: usize,
    timing: bool,
    expanded: bool,
    colours: bool,
}

impl Shell<'_> {
    async fn does(&mut self, piece: Piece, interrupt: &mut Signal) -> Result<Then, CommandError> {
        let line = match piece {
            Piece::Sql(sql) => {
                return self.ask(&sql, interrupt).await;
            }
            Piece::Command(line) => line,
        };
        let command = match Command::read(&line) {
            Ok(command) => command,
            Err(wrong) => {
                self.complain(&wrong)?;
                return Ok(Then::GoOn);
            }
        };
        match &command {
            Command::Leave => return Ok(Then::Leave),
            Command::Help => self.say(&command::help())?,
            Command::Tables => return self.show(TABLES, interrupt).await,
            Command::Columns(table) => return self.columns(table, interrupt).await,
            Command::Format(format) => self.format = *format,
            Command::Limit(rows) => self.rows_shown = *rows,
            Command::Output(place) => self.output = place.as_ref().map(PathBuf::from),
            Command::Timing => self.timing = !self.timing,
            Command::Expanded => self.expanded = !self.expanded,
            Command::ShowFormat | Command::ShowLimit | Command::Who => {}
        }
        if let Some(state) = self.state_after(&command) {
            self.say(&format!("{state}\n"))?;
        }
        Ok(Then::GoOn)
    }

    /// What a command that changes or asks for a state has to say.
    fn state_after(&self, command: &Command) -> Option<String> {
        let on = |on| if on { "on" } else { "off" };
        Some(match command {
            Command::ShowFormat | Command::Format(_) => {
                format!("answers are written as {}", command::name_of(self.format))
            }
            Command::ShowLimit | Command::Limit(_) => match self.rows_shown {
                0 => "all rows are shown".to_owned(),
                rows => format!("at most {rows} rows are shown"),
            },
            Command::Output(_) => self.output.as_ref().map_or_else(
                || "the next answer goes to the terminal".to_owned(),
                |place| format!("the next answer goes to {}", place.display()),
            ),
            Command::Timing => format!("timing is {}", on(self.timing)),
            Command::Expanded => format!("a line per value is {}", on(self.expanded)),
            Command::Who => self
                .source
                .as_ref()
                .map_or_else(|| "nobody answers".to_owned(), Source::told),
            _ => return None,
        })
    }

    /// The columns of a table, or that there is none.
    async fn columns(&mut self, table: &str, interrupt: &mut Signal) -> Result<Then, CommandError> {
        let known = self.names().await.0;
        // Where the names can't be had, the question itself says why.
        if !known.is_empty() && !known.contains_key(table) {
            self.complain(&format!("no table is called `{table}`; \\d lists them"))?;
            return Ok(Then::GoOn);
        }
        let sql = format!(
            "SELECT column_name AS \"column\", data_type AS \"type\" FROM information_schema.columns \
             WHERE table_schema = 'public' AND table_name = '{}' ORDER BY ordinal_position",
            table.replace('\'', "''")
        );
        self.show(&sql, interrupt).await
    }

    /// Asks a question of the shell's own: always as a table on the terminal.
    async fn show(&mut self, sql: &str, interrupt: &mut Signal) -> Result<Then, CommandError> {
        let (format, output) = (self.format, self.output.take());
        self.format = SqlFormat::Table;
        let done = self.ask(sql, interrupt).await;
        (self.format, self.output) = (format, output);
        done
    }

    /// Asks and shows the answer, or why there is none. Ctrl-C ends it: what is dropped then stops the query, also in the instance.
    ///
    /// # Errors
    /// If the terminal can't be written to. Everything else is told there.
    async fn ask(&mut self, sql: &str, interrupt: &mut Signal) -> Result<Then, CommandError> {
        let begun = Instant::now();
        let done = tokio::select! {
            biased;
            _ = interrupt.recv() => {
                self.say(&format!("\ncancelled after {}\n", shown(begun.elapsed())))?;
                return Ok(Then::DropRest);
            }
            done = self.answer(sql) => done,
        };
        match done {
            Ok(summary) => {
                self.output = None;
                let time = if self.timing {
                    format!(", {}", shown(begun.elapsed()))
                } else {
                    String::new()
                };
                let Summary { rows, hints } = summary;
                self.say(&format!("({rows}{time})\n{hints}\n"))?;
            }
            Err(error) => {
                self.complain(&error.to_string())?;
                if let Some(caret) = caret::caret(sql, &error.to_string()) {
                    self.say(&caret)?;
                }
                self.look_at_the_connection(&error).await?;
            }
        }
        Ok(Then::GoOn)
    }

    /// Asks and shows the answer.
    async fn answer(&mut self, sql: &str) -> Result<Summary, CommandError> {
        if self.format == SqlFormat::Parquet && self.output.is_none() {
            return Err(CommandError::Usage(
                "a Parquet file is not for the terminal; name a file by \\o FILE, or another format by \\f".to_owned(),
            ));
        }
        // Opened before the question is asked: a long query must not end in a file that can't be written.
        let output = Output::open(self.output.as_deref())?;
        let source = match self.source.take() {
            Some(source) => source,
            None => {
                let source = Source::find(self.config, self.url.as_deref()).await?;
                self.say(&format!("{}\n", source.told()))?;
                source
            }
        };
        let rows = self.source.insert(source).rows(sql).await?;
        let to_file = self.output.is_some();
        let rows_max = (!to_file && self.rows_shown > 0).then_some(self.rows_shown);
        let note = rows.note.clone();
        let (schema, batches, tally) = counted(rows, rows_max);
        let mut hints = String::new();
        if self.format == SqlFormat::Table && !to_file {
            let mut table = Table::new(&schema, Terminal::size().0, self.expanded);
            print_table(&mut table, batches).await?;
            if rows_seen(&tally) > 0 && table.is_too_wide(self.expanded) {
                hints.push_str("too wide for columns, so a line per value\n");
            }
            if table.was_cut() {
                hints.push_str(
                    "… stands where a text was cut to fit the terminal; \\x shows all of it\n",
                );
            }
        } else {
            let answer = Answer {
                schema,
                notes: Notes::default(),
                rows: batches,
            };
            let failed = |error| CommandError::of("sql", error);
            let chunks = query::encode(answer, self.format.encoding());
            let chunks = chunks.map(move |chunk| chunk.map_err(failed)).boxed();
            // A file is only put in its place if the rows did not end early.
            let whole = Arc::clone(&tally);
            let cut = stream::once(async move { lock(&whole).failure.take() });
            let cut = cut.filter_map(async |failure| failure.map(Err));
            output.write_all(chunks.chain(cut).boxed()).await?;
        }
        let mut tally = lock(&tally);
        if let Some(failure) = tally.failure.take() {
            return Err(failure);
        }
        if let Some(note) = note {
            hints.push_str(&format!("note: {note}\n"));
        }
        let rows = match (tally.rows, tally.more) {
            (rows, true) => {
                hints.push_str(
                    "\\limit N shows more rows, \\limit 0 all; \\o FILE writes all to a file\n",
                );
                format!("first {rows} rows")
            }
            (1, false) => "1 row".to_owned(),
            (rows, false) => format!("{rows} rows"),
        };
        let place = self.output.as_ref();
        let place = place.map(|place| format!(" to {}", place.display()));
        Ok(Summary {
            rows: format!("{rows}{}", place.unwrap_or_default()),
            hints,
        })
    }

    /// After a failure that may be one of the connection: says so, and lets the next statement look for someone who answers.
    async fn look_at_the_connection(&mut self, error: &CommandError) -> Result<(), CommandError> {
        let url = match &self.source {
            Some(Source::Instance(peer)) if error.fault() == Fault::Outage => {
                if peer.instance().await.is_some() {
                    return Ok(());
                }
                peer.url()
            }
            _ => return Ok(()),
        };
        self.source = None;
        self.say(&format!(
            "the connection to {url} is lost; the next statement tries again\n"
        ))
    }

    /// The names of tables and columns; none if nobody tells them in time.
    async fn names(&self) -> Names {
        let Some(source) = &self.source else {
            return Names::default();
        };
        let asking = async {
            let mut rows = source.rows(NAMES).await.ok()?;
            let mut names = Names::default();
            while let Some(batch) = rows.batches.next().await {
                for row in query::cells(&batch.ok()?).ok()? {
                    if let [table, column] = &row[..] {
                        let columns = names.0.entry(table.clone()).or_default();
                        columns.push(column.clone());
                    }
                }
            }
            Some(names)
        };
        let told = tokio::time::timeout(NAMES_TIMEOUT, asking).await;
        told.ok().flatten().unwrap_or_default()
    }

    fn complain(&self, what: &str) -> Result<(), CommandError> {
        let (red, plain) = if self.colours {
            ("\x1b[31m", "\x1b[0m")
        } else {
            ("", "")
        };
        self.say(&format!("{red}error:{plain} {what}\n"))
    }

    /// Writes to the terminal.
    fn say(&self, text: &str) -> Result<(), CommandError> {
        print(text).map(|_| ())
    }
}

/// The tables, for `\d`.
const TABLES: &str = "SELECT table_name AS \"table\", count(*) AS \"columns\" FROM information_schema.columns \
    WHERE table_schema = 'public' GROUP BY 1 ORDER BY 1";
/// Tables with their columns, for completion.
const NAMES: &str = "SELECT table_name, column_name FROM information_schema.columns WHERE table_schema = 'public' \
    ORDER BY table_name, ordinal_position";

/// What is said after an answer.
struct Summary {
    rows: String,
    /// Lines.
    hints: String,
}

/// What became of the rows of an answer.
#[derive(Default)]
struct Tally {
    rows: usize,
    /// There are more, which were not asked for.
    more: bool,
    failure: Option<CommandError>,
}

fn rows_seen(tally: &Mutex<Tally>) -> usize {
    lock(tally).rows
}

fn lock(tally: &Mutex<Tally>) -> std::sync::MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The rows of an answer up to a number, counted. They end where that is reached (the rest is then no longer asked for), or at a failure, which the
/// tally keeps.
fn counted(
    rows: Rows,
    rows_max: Option<usize>,
) -> (arrow::datatypes::SchemaRef, Batches, Arc<Mutex<Tally>>) {
    let tally = Arc::new(Mutex::new(Tally::default()));
    let kept = Arc::clone(&tally);
    let batches = stream::unfold(Some(rows.batches), move |batches| {
        let tally = Arc::clone(&kept);
        async move {
            let mut batches = batches?;
            let next = batches.next().await;
            let mut tally = lock(&tally);
            let batch = match next? {
                Ok(batch) => batch,
                Err(failure) => {
                    tally.failure = Some(failure);
                    return None;
                }
            };
            let room = rows_max.map_or(usize::MAX, |rows_max| rows_max - tally.rows);
            let shown = batch.slice(0, batch.num_rows().min(room));
            tally.rows += shown.num_rows();
            tally.more = shown.num_rows() < batch.num_rows();
            let rest = (!tally.more).then_some(batches);
            Some((Ok(shown), rest))
        }
    });
    (rows.schema, batches.boxed(), tally)
}

/// Prints rows as they come, a page at a time.
async fn print_table(table: &mut Table, mut batches: Batches) -> Result<(), CommandError> {
    let mut page = Vec::new();
    let mut begun = false;
    while let Some(batch) = batches.next().await {
        let batch = batch.map_err(|error| CommandError::of("sql", error))?;
        for from in (0..batch.num_rows()).step_by(ROWS_AT_ONCE) {
            let some = batch.slice(from, ROWS_AT_ONCE.min(batch.num_rows() - from));
            page.extend(query::cells(&some).map_err(|error| CommandError::Failed {
                message: format!("these rows can't be shown: {error}"),
                fault: Fault::Bug,
            })?);
            if page.len() >= PAGE_ROWS {
                begun = true;
                if print(&table.page(&std::mem::take(&mut page)))? == Reader::Left {
                    return Ok(());
                }
            }
        }
    }
    if !begun || !page.is_empty() {
        print(&table.page(&page))?;
    }
    Ok(())
}

fn print(text: &str) -> Result<Reader, CommandError> {
    let mut out = io::stdout().lock();
    written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// A time as people read it.
fn shown(time: Duration) -> String {
    match time.as_millis() {
        ms @ ..10_000 => format!("{ms} ms"),
        ms => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
    }
}

/// Whether colours are wanted: unless `NO_COLOR` is set (no-color.org) or the terminal has none.
fn has_colours() -> bool {
    let unwanted = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !unwanted && !Terminal::is_dumb()
}
