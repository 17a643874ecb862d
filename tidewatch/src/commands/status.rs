//! `tidewatch status`: what a running instance is and does, once or again and again.

use std::collections::VecDeque;
use std::io::IsTerminal;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use hyper::Method;
use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, sleep_until, timeout};

use super::client::Peer;
use super::terminal::{self, Tone};
use super::{Reader, source};
use crate::args::UrlArgs;
use crate::config::Config;
use crate::error::CommandError;
use crate::error_codes;
use crate::http::overview::{Overview, STATUS_PATH};
use page::{Line, page};
use rates::Rates;
use screen::Screen;

mod page;
mod rates;
mod screen;

/// Between two looks: long enough for a rate, short enough to watch.
const INTERVAL: Duration = Duration::from_secs(1);
/// Looks that a rate on the screen spans: what comes every ten seconds should not flicker.
const RATE_SPAN: usize = 11;
/// How long an instance may take to answer. Longer than it waits for its own log (2 s).
const ANSWER_MAX: Duration = Duration::from_secs(5);
/// Longest answer that is read: 4096 partitions take about 2 MB.
const ANSWER_BYTES_MAX: usize = 16 << 20;
/// Columns where there is no terminal.
const COLUMNS: usize = 100;

/// Flags of `status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Look again every second, until Ctrl-C.
    #[arg(short, long)]
    pub watch: bool,
    /// Print JSON: one object; with --watch one per line.
    #[arg(long)]
    pub json: bool,
    /// Which instance.
    #[command(flatten)]
    pub url: UrlArgs,
}

/// What `--json` prints: the answer of the instance, with what two of them tell together.
#[derive(Serialize)]
struct Told<'a> {
    url: &'a str,
    #[serde(flatten)]
    overview: &'a Overview,
    /// Per second; missing right after a restart of the instance.
    rates: Option<Rates>,
}

/// Shows an instance once, or until Ctrl-C.
pub(crate) async fn run(config: &Config, args: StatusArgs) -> Result<(), CommandError> {
    let peer = find(config, args.url.url.as_deref()).await?;
    if !args.watch {
        let before = ask(&peer).await?;
        tokio::time::sleep(INTERVAL).await;
        let after = ask(&peer).await?;
        let rates = Rates::between(&before, &after);
        return super::print(&text(&peer, &after, rates, &args)?);
    }
    let failed = |error| CommandError::surroundings(format!("signals can't be received: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut resized = signal(SignalKind::window_change()).map_err(failed)?;
    let show = async {
        if std::io::stdout().is_terminal() && !args.json {
            watch_screen(&peer, &mut resized).await
        } else {
            watch_lines(&peer, &args).await
        }
    };
    // Whichever it is, the screen is given back when `show` is dropped.
    tokio::select! {
        shown = show => shown,
        _ = tokio::signal::ctrl_c() => Ok(()),
        _ = terminate.recv() => Ok(()),
    }
}

/// The instance to ask: that of `--url`, else that of the data directory or of the settings.
pub(crate) async fn find(config: &Config, url: Option<&str>) -> Result<Peer, CommandError> {
    match url {
        Some(url) => Peer::new(url),
        None => source::find_instance(config).await?.ok_or_else(|| {
            CommandError::known(
                &error_codes::NO_INSTANCE,
                format!(
                    "no instance answers at http://{} or for the data directory `{}`; start one by `tidewatch run`, or name another by --url",
                    config.server.listen,
                    config.data_dir.display()
                ),
            )
        }),
    }
}

/// What the instance says of itself now.
pub(crate) async fn ask(peer: &Peer) -> Result<Overview, CommandError> {
    let asked = async {
        let response = peer
            .ask(Method::GET, STATUS_PATH, &[], Bytes::new())
            .await?;
        peer.body(response, ANSWER_BYTES_MAX).await
    };
    let body = timeout(ANSWER_MAX, asked).await.map_err(|_| {
        CommandError::known(
            &error_codes::NO_INSTANCE,
            format!(
                "no answer from {} within {} s",
                peer.url(),
                ANSWER_MAX.as_secs()
            ),
        )
    })??;
    serde_json::from_slice(&body).map_err(|error| {
        CommandError::surroundings(format!(
            "{}{STATUS_PATH} is not what this version of tidewatch reads: {error}; are both of the same version?",
            peer.url()
        ))
    })
}

fn text(
    peer: &Peer,
    overview: &Overview,
    rates: Option<Rates>,
    args: &StatusArgs,
) -> Result<String, CommandError> {
    if args.json {
        let url = &peer.url();
        let told = Told {
            url,
            overview,
            rates,
        };
        let json = match args.watch {
            true => serde_json::to_string(&told),
            false => serde_json::to_string_pretty(&told),
        };
        let json = json.map_err(|error| CommandError::surroundings(error.to_string()))?;
        return Ok(format!("{json}\n"));
    }
    let (columns, _) = terminal::size().unwrap_or((COLUMNS, 0));
    let lines = page(&peer.url(), overview, rates.as_ref(), columns, usize::MAX);
    let colour = terminal::colour();
    Ok(lines
        .iter()
        .map(|line| format!("{}\n", line.painted(colour)))
        .collect())
}

/// One block, or one line of JSON, after another: for files and pipes.
async fn watch_lines(peer: &Peer, args: &StatusArgs) -> Result<(), CommandError> {
    use std::io::Write;
    let mut before = ask(peer).await?;
    loop {
        tokio::time::sleep(INTERVAL).await;
        let after = ask(peer).await?;
        let mut block = text(peer, &after, Rates::between(&before, &after), args)?;
        if !args.json {
            block.push('\n');
        }
        let mut out = std::io::stdout().lock();
        if super::written(out.write_all(block.as_bytes()).and_then(|()| out.flush()))?
            == Reader::Left
        {
            return Ok(());
        }
        drop(out);
        before = after;
    }
}

/// One page that is drawn anew. An instance that goes away is told and waited for: that is when someone watches.
async fn watch_screen(
    peer: &Peer,
    resized: &mut tokio::signal::unix::Signal,
) -> Result<(), CommandError> {
    let mut seen = VecDeque::from([ask(peer).await?]);
    let mut screen = Screen::open()?;
    let mut trouble: Option<String> = None;
    let mut next = Instant::now() + INTERVAL;
    loop {
        let (columns, lines) = terminal::size().unwrap_or((80, 24));
        let mut shown: Vec<Line> = Vec::new();
        if let Some(trouble) = &trouble {
            shown.push(Line::new(Tone::Bad, trouble));
        }
        if let (Some(first), Some(overview)) = (seen.front(), seen.back()) {
            let rates = Rates::between(first, overview);
            let rest = lines.saturating_sub(shown.len() + 1);
            shown.extend(page(&peer.url(), overview, rates.as_ref(), columns, rest));
        }
        screen.draw(&shown, columns, lines, "Ctrl-C ends")?;
        tokio::select! {
            _ = resized.recv() => continue,
            () = sleep_until(next) => {}
        }
        next = Instant::now() + INTERVAL;
        match ask(peer).await {
            Ok(now) => {
                trouble = None;
                // Another process began its counters anew.
                seen.retain(|before| before.process.id == now.process.id);
                seen.push_back(now);
                if seen.len() > RATE_SPAN {
                    seen.pop_front();
                }
            }
            Err(error) => trouble = Some(format!("what is below is old: {error}")),
        }
    }
}
