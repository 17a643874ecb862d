//! `tidewatch token`: makes, lists and revokes the tokens by which others send and ask.

use clap::{Args, Subcommand, ValueEnum};
use jiff::{SignedDuration, Timestamp};

use crate::access::{Entry, Registry, Scope, Token};
use crate::config::{Config, TokenLimits, parse_duration};
use crate::error::CommandError;
use crate::stores;

/// Commands of `token`.
#[derive(Debug, Subcommand)]
pub enum TokenCommand {
    /// Make a token and show it, this once. A running instance takes it within a second.
    #[command(
        after_help = "Examples:\n  tidewatch token create --scope ingest --name \"telegraf on db-1\"\n  tidewatch token create --scope ingest --scope query --expires 90d"
    )]
    Create(CreateArgs),
    /// List the tokens: names, scopes, dates and sections of limits of their own, never the tokens themselves.
    #[command(after_help = "Example:\n  tidewatch token list")]
    List {
        /// As JSON.
        #[arg(long)]
        json: bool,
    },
    /// Revoke a token. A running instance refuses it within a second.
    #[command(after_help = "Example:\n  tidewatch token revoke 3f9c01ab")]
    Revoke {
        /// The token's id, as `list` shows it.
        id: String,
    },
}

/// Flags of `token create`.
#[derive(Debug, Args)]
pub struct CreateArgs {
    /// What it may be used for; may be given more than once.
    #[arg(long, value_enum, required = true)]
    pub scope: Vec<Scope>,
    /// What it is for, for people.
    #[arg(long, default_value = "")]
    pub name: String,
    /// After how long it ends, such as 90d; without: never.
    #[arg(long, value_name = "DURATION")]
    pub expires: Option<String>,
}

impl ValueEnum for Scope {
    fn value_variants<'a>() -> &'a [Self] {
        &Scope::ALL
    }

    fn to_possible_value(&self) -> Option<clap::builder::PossibleValue> {
        let help = match self {
            Scope::Ingest => "send samples",
            Scope::Query => "ask: SQL, tail, status, metrics",
            Scope::Admin => "everything",
        };
        Some(clap::builder::PossibleValue::new(self.name()).help(help))
    }
}

/// Does what was asked.
pub(crate) fn run(config: &Config, command: TokenCommand) -> Result<(), CommandError> {
    let path = stores::tokens_file(config);
    let failed = |error| CommandError::of("tokens", error);
    match command {
        TokenCommand::Create(args) => {
            let entry_and_text = make(args)?;
            let (entry, text) = entry_and_text;
            let id = entry.id.clone();
            Registry::change(&path, |entries| {
                entries.push(entry);
                Ok(())
            })
            .map_err(failed)?;
            eprintln!(
                "token {id} is in `{}` as a hash; this is the only time that it is shown:",
                path.display()
            );
            super::print(&format!("{text}\n"))
        }
        TokenCommand::List { json } => {
            let entries = Registry::open(&path).map_err(failed)?.entries();
            let limits = &config.token_limits;
            super::print(&if json {
                list_json(&entries, limits)
            } else {
                list(&entries, limits, Timestamp::now())
            })
        }
        TokenCommand::Revoke { id } => {
            Registry::change(&path, |entries| revoke(entries, &id)).map_err(failed)?;
            super::print(&format!("token {id} is revoked\n"))
        }
    }
}

fn make(args: CreateArgs) -> Result<(Entry, String), CommandError> {
    let created = Timestamp::now();
    let expires = match &args.expires {
        None => None,
        Some(text) => Some(after(created, text)?),
    };
    let issued = Token::issue().map_err(|error| {
        CommandError::surroundings(format!("the system gives no randomness: {error}"))
    })?;
    let mut scopes = args.scope;
    scopes.sort_unstable();
    scopes.dedup();
    let entry = Entry {
        id: issued.token.id().to_owned(),
        name: args.name,
        scopes,
        sha256: issued.token.hash_text(),
        created,
        expires,
        revoked: None,
    };
    Ok((entry, issued.text))
}

fn after(start: Timestamp, text: &str) -> Result<Timestamp, CommandError> {
    let wrong = || {
        CommandError::Usage(format!(
            "--expires `{text}`: expected a duration from 1s to 100 years, such as 90d"
        ))
    };
    let duration = parse_duration(text)
        .filter(|duration| (1..=36_525 * 86_400).contains(&duration.as_secs()))
        .ok_or_else(wrong)?;
    let duration = SignedDuration::try_from(duration).map_err(|_| wrong())?;
    start.checked_add(duration).map_err(|_| wrong())
}

fn revoke(entries: &mut [Entry], id: &str) -> Result<(), crate::access::RegistryError> {
    let entry = entries.iter_mut().find(|entry| entry.id == id);
    let entry =
        entry.ok_or_else(|| crate::access::RegistryError::NoSuchToken { id: id.to_owned() })?;
    // The first time counts.
    entry.revoked.get_or_insert_with(Timestamp::now);
    Ok(())
}

/// The section of the settings that holds limits for a token alone, if one does.
fn section(limits: &TokenLimits, entry: &Entry) -> Option<String> {
    let own = limits.of(&entry.id, &entry.name);
    let is_set = own.iter().next().is_some();
    is_set.then(|| own.section().to_owned())
}

fn list_json(entries: &[Entry], limits: &TokenLimits) -> String {
    let told: Vec<_> = entries
        .iter()
        .map(|entry| {
            serde_json::json!({
                "id": entry.id, "name": entry.name, "scopes": entry.scopes,
                "created": entry.created, "expires": entry.expires, "revoked": entry.revoked,
                "limits": section(limits, entry),
            })
        })
        .collect();
    format!("{}\n", serde_json::Value::Array(told))
}

/// A line per token; names last, for they have any length.
fn list(entries: &[Entry], limits: &TokenLimits, now: Timestamp) -> String {
    if entries.is_empty() {
        return "there are no tokens; `tidewatch token create` makes one\n".to_owned();
    }
    let mut text = format!(
        "{:8}  {:12}  {:10}  {:20}  name\n",
        "id", "scopes", "created", "state"
    );
    for entry in entries {
        let scopes: Vec<_> = entry.scopes.iter().map(|scope| scope.name()).collect();
        let day = |time: Timestamp| time.strftime("%Y-%m-%d").to_string();
        let state = match (entry.revoked, entry.expires) {
            (Some(revoked), _) => format!("revoked {}", day(revoked)),
            (None, Some(expires)) if expires <= now => format!("expired {}", day(expires)),
            (None, Some(expires)) => format!("until {}", day(expires)),
            (None, None) => "valid".to_owned(),
        };
        let section = section(limits, entry);
        let own = section.map_or_else(String::new, |section| format!("  [{section}]"));
        text.push_str(&format!(
            "{:8}  {:12}  {:10}  {state:20}  {}{own}\n",
            entry.id,
            scopes.join(","),
            day(entry.created),
            // A name may hold anything; a terminal must not obey it.
            entry.name.escape_debug()
        ));
    }
    text
}
