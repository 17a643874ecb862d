//! Who may do what over the network: tokens with scopes, and what each route asks for. Knows no route and opens no socket.

mod authorization;
mod registry;
mod token;

#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::Response;
use axum::routing::MethodRouter;
use ingest::Sender;
use jiff::Timestamp;
use schemas::{ErrorCode, Fault, HasCode, HasFault};
use serde::{Deserialize, Serialize};

use crate::config::TokenLimits;
use crate::error_codes;
use crate::http::problem::problem_of;
use crate::telemetry::{self, Metric};

pub(crate) use registry::{Entry, Registry, RegistryError, write_private};
pub(crate) use token::{Issued, Token};

/// From where a request comes: in the extensions of each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Peer(pub(crate) IpAddr);

/// What a token may be used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scope {
    /// Send samples.
    Ingest,
    /// Ask: SQL, tail, status, metrics.
    Query,
    /// Everything.
    Admin,
}

impl Scope {
    /// All, as they are written on the command line.
    pub const ALL: [Scope; 3] = [Scope::Ingest, Scope::Query, Scope::Admin];

    /// As it is written: `ingest`, `query`, `admin`.
    pub fn name(self) -> &'static str {
        match self {
            Scope::Ingest => "ingest",
            Scope::Query => "query",
            Scope::Admin => "admin",
        }
    }
}

/// What a route asks of who uses it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    /// Nothing: it tells no more than that somebody is there, and how they are.
    Nothing,
    /// A token of this scope, or of `admin`.
    Scope(Scope),
}

/// A route with what it asks for: there is no other way to add one to the server, so none can be forgotten.
pub(crate) struct Route {
    pub(crate) path: &'static str,
    pub(crate) need: Need,
    pub(crate) methods: MethodRouter,
}

impl Route {
    pub(crate) fn new(path: &'static str, need: Need, methods: MethodRouter) -> Self {
        Route {
            path,
            need,
            methods,
        }
    }

    /// The handlers behind the guard.
    pub(crate) fn guarded(self, access: &Arc<Access>) -> MethodRouter {
        let Need::Scope(scope) = self.need else {
            let access = Arc::clone(access);
            return self
                .methods
                .layer(middleware::from_fn_with_state(access, greet));
        };
        self.methods.layer(middleware::from_fn_with_state(
            (Arc::clone(access), scope),
            guard,
        ))
    }
}

/// The rules of one instance.
pub(crate) struct Access {
    /// Whether everybody who reaches the server may do everything.
    anonymous: bool,
    registry: Arc<Registry>,
    /// The token of this run, which whoever can read the data directory's files may use.
    local: Option<Issued>,
    /// What single tokens may send.
    limits: TokenLimits,
}

/// Why a request is not let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error(
        "this needs a token: send `Authorization: Bearer TOKEN` (also taken: `Token TOKEN`, or Basic with the token as password); `tidewatch token create` makes one"
    )]
    Missing,
    #[error(
        "the Authorization header is of no kind that is taken: expected `Bearer TOKEN`, `Token TOKEN`, or Basic with the token as password"
    )]
    Unreadable,
    #[error("the token is not known here; `tidewatch token list` names those that are")]
    Unknown,
    #[error("the token has expired; make a new one by `tidewatch token create`")]
    Expired,
    #[error("the token was revoked; make a new one by `tidewatch token create`")]
    Revoked,
    #[error("the token lacks the scope `{}`; make one that has it by `tidewatch token create --scope {}`", .0.name(), .0.name())]
    Scope(Scope),
}

impl HasFault for Refusal {
    fn fault(&self) -> Fault {
        Fault::BadInput
    }
}

impl HasCode for Refusal {
    fn code(&self) -> &'static ErrorCode {
        match self {
            Refusal::Scope(_) => &error_codes::TOKEN_SCOPE,
            Refusal::Missing
            | Refusal::Unreadable
            | Refusal::Unknown
            | Refusal::Expired
            | Refusal::Revoked => &error_codes::TOKEN,
        }
    }
}

impl Access {
    /// Rules over a registry. `local` is a token besides, with all scopes, for this process's life.
    pub(crate) fn new(
        anonymous: bool,
        registry: Arc<Registry>,
        local: Option<Issued>,
        limits: TokenLimits,
    ) -> Self {
        Access {
            anonymous,
            registry,
            local,
            limits,
        }
    }

    /// As what the limits of senders hold for who sends from an address.
    fn sender(&self, who: Who, from: Option<IpAddr>) -> Sender {
        match (who, from) {
            (Who::Token { id, name }, _) => {
                Sender::new(format!("token {id}")).with_limits(self.limits.of(&id, &name))
            }
            (Who::Local, _) => Sender::new("the local token"),
            (Who::Anybody, Some(address)) => Sender::new(format!("address {address}")),
            (Who::Anybody, None) => Sender::default(),
        }
    }

    /// Who sends a request with these headers, if they may do what `scope` allows.
    ///
    /// Where everybody may, the headers are not looked at: agents send tokens of the system that was there before.
    pub(crate) fn check(
        &self,
        scope: Scope,
        headers: &HeaderMap,
        now: Timestamp,
    ) -> Result<Who, Refusal> {
        if self.anonymous {
            return Ok(Who::Anybody);
        }
        let header = headers.get(header::AUTHORIZATION).ok_or(Refusal::Missing)?;
        let token = authorization::read(header).ok_or(Refusal::Unreadable)?;
        let token = Token::parse(&token).ok_or(Refusal::Unknown)?;
        let local = self.local.as_ref();
        if local.is_some_and(|local| local.token.equals(&token)) {
            return Ok(Who::Local);
        }
        let entry = self.registry.find(&token).ok_or(Refusal::Unknown)?;
        if entry.revoked.is_some() {
            return Err(Refusal::Revoked);
        }
        if entry.expires.is_some_and(|expires| expires <= now) {
            return Err(Refusal::Expired);
        }
        if entry.allows(scope) {
            Ok(Who::Token {
                id: entry.id,
                name: entry.name,
            })
        } else {
            Err(Refusal::Scope(scope))
        }
    }
}

/// Notes, in the extensions of a request that needs no token, that who sends it might ask for samples, too.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct MayAsk;

/// Who may do what they ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Who {
    /// Nobody needs to say it.
    Anybody,
    /// Who can read the data directory's files.
    Local,
    /// The owner of the token with this id, and the name that its maker gave it.
    Token { id: String, name: String },
}

/// The sections of limits that belong to none of these tokens, or only to such as have ended.
pub(crate) fn sections_without_token<'a>(
    limits: &'a TokenLimits,
    tokens: &[Entry],
    now: Timestamp,
) -> Vec<&'a str> {
    let is_of = |token: &Entry, name: &str| token.id == name || token.name == name;
    limits
        .iter()
        .filter(|(name, _)| {
            let mut of_it = tokens.iter().filter(|token| is_of(token, name));
            !of_it.any(|token| token.is_valid(now))
        })
        .map(|(_, own)| own.section())
        .collect()
}

/// The file in which an instance leaves its local token.
pub(crate) fn local_token_file(data_dir: &Path) -> std::path::PathBuf {
    data_dir.join("local-token")
}

/// Lets a request through, or says why not.
async fn guard(
    State((access, scope)): State<(Arc<Access>, Scope)>,
    mut request: Request,
    next: Next,
) -> Response {
    match access.check(scope, request.headers(), Timestamp::now()) {
        Ok(who) => {
            let from = request.extensions().get::<Peer>().map(|peer| peer.0);
            request.extensions_mut().insert(access.sender(who, from));
            next.run(request).await
        }
        Err(refusal) => refused(refusal),
    }
}

/// Lets everybody through; notes whether they might ask for more.
async fn greet(State(access): State<Arc<Access>>, mut request: Request, next: Next) -> Response {
    let may = access.check(Scope::Query, request.headers(), Timestamp::now());
    if may.is_ok() {
        request.extensions_mut().insert(MayAsk);
    }
    next.run(request).await
}

/// 403 for a token that may not, 401 for everything else, with the ways to present one.
fn refused(refusal: Refusal) -> Response {
    telemetry::count(
        Metric::AccessRefusalsTotal,
        &[("reason", reason(refusal))],
        1,
    );
    if let Refusal::Scope(_) = refusal {
        return problem_of(StatusCode::FORBIDDEN, &refusal);
    }
    let mut response = problem_of(StatusCode::UNAUTHORIZED, &refusal);
    for way in ["Bearer realm=\"tidewatch\"", "Basic realm=\"tidewatch\""] {
        response
            .headers_mut()
            .append(header::WWW_AUTHENTICATE, HeaderValue::from_static(way));
    }
    response
}

fn reason(refusal: Refusal) -> &'static str {
    match refusal {
        Refusal::Missing => "missing",
        Refusal::Unreadable => "unreadable",
        Refusal::Unknown => "unknown",
        Refusal::Expired => "expired",
        Refusal::Revoked => "revoked",
        Refusal::Scope(_) => "scope",
    }
}
