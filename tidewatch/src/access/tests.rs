//! Every route with every kind of token, taken from the routes themselves; the registry's file; the header's forms.

use axum::body::Body;
use axum::http::Method;
use jiff::SignedDuration;
use rstest::rstest;
use tower::ServiceExt;

use super::*;
use crate::http::{self, tests::context};

/// A registry in a fresh directory, with a way to put tokens into it.
struct Rig {
    directory: tempfile::TempDir,
}

impl Rig {
    fn new() -> Rig {
        Rig {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self) -> std::path::PathBuf {
        self.directory.path().join("access/tokens.json")
    }

    /// A new token that ends after so many seconds, if any.
    fn issue(&self, scopes: &[Scope], expires_s: Option<i64>) -> Issued {
        let issued = Token::issue().unwrap();
        let now = Timestamp::now();
        let entry = Entry {
            id: issued.token.id().to_owned(),
            name: String::new(),
            scopes: scopes.to_vec(),
            sha256: issued.token.hash_text(),
            created: now,
            expires: expires_s.map(|seconds| now + SignedDuration::from_secs(seconds)),
            revoked: None,
        };
        Registry::change(&self.path(), |entries| {
            entries.push(entry);
            Ok(())
        })
        .unwrap();
        issued
    }

    fn access(&self, anonymous: bool) -> Access {
        Access::new(
            anonymous,
            Arc::new(Registry::open(&self.path()).unwrap()),
            None,
            TokenLimits::default(),
        )
    }
}

fn headers(authorization: &str) -> HeaderMap {
    HeaderMap::from_iter([(
        header::AUTHORIZATION,
        HeaderValue::from_str(authorization).unwrap(),
    )])
}

/// What stands in a path where the route has a parameter.
fn concrete(path: &str) -> String {
    path.replace("{what}", "samples")
}

#[tokio::test(flavor = "multi_thread")]
async fn every_route_asks_for_what_it_declares() {
    let rig = Rig::new();
    let [ingest, query, admin] = Scope::ALL.map(|scope| rig.issue(&[scope], Some(3_600)).text);
    let expired = rig.issue(&[Scope::Admin], Some(-1)).text;
    let revoked = rig.issue(&[Scope::Admin], None);
    Registry::change(&rig.path(), |entries| {
        let entry = entries
            .iter_mut()
            .find(|entry| entry.id == revoked.token.id());
        entry.unwrap().revoked = Some(Timestamp::now());
        Ok(())
    })
    .unwrap();
    let unknown = Token::issue().unwrap().text;
    let access = Arc::new(rig.access(false));
    let context = context(rig.directory.path(), &[]).await;
    let routes = || http::routes(&context, http::tests::receivers(&context));
    let declared: Vec<(&str, Need)> = routes()
        .iter()
        .map(|route| (route.path, route.need))
        .collect();
    assert!(declared.len() >= 14, "{declared:?}");
    let router = http::router(Arc::clone(&context), &access, routes());
    for (path, need) in declared {
        let cases = [
            ("none", None, 401),
            ("unknown", Some(&unknown), 401),
            ("expired", Some(&expired), 401),
            ("revoked", Some(&revoked.text), 401),
            (
                "ingest",
                Some(&ingest),
                if need == Need::Scope(Scope::Ingest) {
                    0
                } else {
                    403
                },
            ),
            (
                "query",
                Some(&query),
                if need == Need::Scope(Scope::Query) {
                    0
                } else {
                    403
                },
            ),
            ("admin", Some(&admin), 0),
        ];
        for (case, token, refused) in cases {
            for method in [Method::GET, Method::POST] {
                let mut request = Request::builder().method(&method).uri(concrete(path));
                if let Some(token) = token {
                    request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
                }
                let response = router
                    .clone()
                    .oneshot(request.body(Body::empty()).unwrap())
                    .await
                    .unwrap();
                let status = response.status().as_u16();
                let place = format!("{method} {path} with {case}: {status}");
                if need == Need::Nothing || refused == 0 {
                    assert!(![401, 403].contains(&status), "{place}");
                } else {
                    assert_eq!(status, refused, "{place}");
                    let told = response.headers().contains_key(header::WWW_AUTHENTICATE);
                    assert_eq!(told, status == 401, "{place}");
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn example_values_are_for_who_may_ask() {
    use http_body_util::BodyExt;
    use ingest::admission::{Admission, SeriesLimits};
    use ingest::door::{Batcher, Place, TimeUnit};

    let limits = SeriesLimits {
        values_max: 1,
        ..SeriesLimits::default()
    };
    let admission = Arc::new(Admission::new(limits, 0));
    let mut door = Batcher::new(1, 1 << 20, 10).with_admission(Arc::clone(&admission));
    for user in ["ada", "bob"] {
        let metric = door.metric("logins").unwrap();
        let labels = schemas::Labels::try_new([("user", user)]).unwrap();
        let labels = door.label_set(labels).unwrap();
        door.push(
            metric,
            labels,
            None,
            5,
            TimeUnit::Seconds,
            1.0,
            Place::Collected,
        )
        .unwrap();
    }
    let rig = Rig::new();
    let [ingest, query] = [Scope::Ingest, Scope::Query].map(|scope| rig.issue(&[scope], None).text);
    let context = context(rig.directory.path(), &[]).await;
    let saved = admission.unsaved().unwrap();
    context.wiring.admission.restore(&saved).unwrap();
    let router = |anonymous| {
        let access = Arc::new(rig.access(anonymous));
        http::router(
            Arc::clone(&context),
            &access,
            http::routes(&context, Vec::new()),
        )
    };
    for (anonymous, token, shown) in [
        (true, None, true),
        (false, None, false),
        (false, Some(&ingest), false),
        (false, Some(&query), true),
    ] {
        let mut request = Request::builder().uri("/readyz?verbose");
        if let Some(token) = token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request.body(Body::empty()).unwrap();
        let answer = router(anonymous).oneshot(request).await.unwrap();
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        let told: serde_json::Value = serde_json::from_slice(&body).unwrap();
        let label = &told["folded_labels"][0];
        assert_eq!(label["label"], "user", "{told}");
        let examples = label["examples"].as_array().unwrap();
        assert_eq!(!examples.is_empty(), shown, "{token:?} {told}");
    }
}

#[test]
fn everybody_may_where_nobody_is_asked() {
    let access = Rig::new().access(true);
    // Agents bring the token of the system that was there before.
    for headers in [HeaderMap::new(), headers("Token my-old-token")] {
        assert_eq!(
            access.check(Scope::Admin, &headers, Timestamp::now()),
            Ok(Who::Anybody)
        );
    }
}

#[rstest]
#[case::bearer("Bearer TOKEN", Ok(()))]
#[case::small_letters("bearer TOKEN", Ok(()))]
#[case::influx("Token TOKEN", Ok(()))]
#[case::spaces("Bearer   TOKEN ", Ok(()))]
#[case::basic("Basic BASE64", Ok(()))]
#[case::bare("TOKEN", Err(Refusal::Unreadable))]
#[case::empty("", Err(Refusal::Unreadable))]
#[case::digest("Digest TOKEN", Err(Refusal::Unreadable))]
#[case::basic_without_base64("Basic !!!", Err(Refusal::Unreadable))]
#[case::basic_without_password("Basic bm9ib2R5", Err(Refusal::Unreadable))]
#[case::other("Bearer hunter2", Err(Refusal::Unknown))]
#[case::id_alone("Bearer tw_00000000_", Err(Refusal::Unknown))]
#[case::longer("Bearer TOKEN0", Err(Refusal::Unknown))]
fn a_token_comes_in_any_of_three_forms(
    #[case] header: &str,
    #[case] expected: Result<(), Refusal>,
) {
    use base64::Engine as _;
    let rig = Rig::new();
    let text = rig.issue(&[Scope::Query], None).text;
    let basic = base64::engine::general_purpose::STANDARD.encode(format!("anyone:{text}"));
    let header = header.replace("TOKEN", &text).replace("BASE64", &basic);
    let answer = rig
        .access(false)
        .check(Scope::Query, &headers(&header), Timestamp::now());
    let id = Token::parse(&text).unwrap().id().to_owned();
    let name = String::new();
    let expected = expected.map(|()| Who::Token { id, name });
    assert_eq!(answer, expected, "{header}");
}

#[test]
fn a_right_id_with_a_wrong_secret_is_unknown() {
    let rig = Rig::new();
    let text = rig.issue(&[Scope::Admin], None).text;
    let last = if text.ends_with('0') { '1' } else { '0' };
    let forged = format!("{}{last}", &text[..text.len() - 1]);
    let answer = rig.access(false).check(
        Scope::Query,
        &headers(&format!("Bearer {forged}")),
        Timestamp::now(),
    );
    assert_eq!(answer, Err(Refusal::Unknown));
}

#[test]
fn the_file_holds_no_secret_and_is_its_owners_alone() {
    use std::os::unix::fs::PermissionsExt;
    let rig = Rig::new();
    let text = rig.issue(&[Scope::Ingest], None).text;
    let kept = std::fs::read_to_string(rig.path()).unwrap();
    let secret = text.rsplit('_').next().unwrap();
    assert!(!kept.contains(secret));
    let mode = std::fs::metadata(rig.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!format!("{:?}", Token::parse(&text).unwrap()).contains(secret));
}

#[rstest]
#[case::no_json("hunter2", "is damaged")]
#[case::later_version(r#"{"version":2,"tokens":[]}"#, "found version 2")]
#[case::unknown_key(r#"{"version":1,"tokens":[],"x":1}"#, "unknown field `x`")]
#[case::short_hash(
    r#"{"version":1,"tokens":[{"id":"a","name":"","scopes":[],"sha256":"00","created":"2026-01-01T00:00:00Z"}]}"#,
    "64 hexadecimal digits"
)]
fn a_damaged_file_is_refused_and_left_as_it_is(#[case] text: &str, #[case] expected: &str) {
    let rig = Rig::new();
    std::fs::create_dir_all(rig.path().parent().unwrap()).unwrap();
    std::fs::write(rig.path(), text).unwrap();
    let opened = Registry::open(&rig.path()).unwrap_err().to_string();
    assert!(opened.contains(expected), "{opened}");
    let changed = Registry::change(&rig.path(), |_| Ok(()));
    assert!(changed.is_err());
    assert_eq!(std::fs::read_to_string(rig.path()).unwrap(), text);
}

#[test]
fn tokens_made_at_once_are_all_kept() {
    let rig = Rig::new();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| rig.issue(&[Scope::Ingest], None));
        }
    });
    assert_eq!(Registry::open(&rig.path()).unwrap().entries().len(), 8);
}

#[test]
fn a_token_sends_within_the_section_of_its_id_or_name() {
    use ingest::admission::Limit;
    let file = "[limits.tokens.fleet]\nseries_max = 7\n[limits.tokens.00c0ffee]\nbody_max = \"2KiB\"\n\
        [limits.tokens.late]\nsamples_max = 5\n";
    let config = crate::config::Config::from_layers(Some(("t.toml", file)), [], &[]).unwrap();
    let access = Access {
        limits: config.token_limits.clone(),
        ..Rig::new().access(false)
    };
    let sender = |id: &str, name: &str| {
        let (id, name) = (id.to_owned(), name.to_owned());
        access.sender(Who::Token { id, name }, None)
    };
    for (id, name, limit, max) in [
        ("00000001", "fleet", Limit::SenderSeries, Some(7)),
        ("00000002", "fleet", Limit::SenderSeries, Some(7)),
        ("00c0ffee", "fleet", Limit::Body, Some(2048)),
        ("00c0ffee", "fleet", Limit::SenderSeries, None),
        ("00000003", "", Limit::SenderSeries, None),
    ] {
        let sender = sender(id, name);
        assert_eq!(sender.name(), format!("token {id}"));
        let own = sender.own().unwrap();
        assert_eq!(own.get(limit), max, "{id} {name}");
    }
    let local = access.sender(Who::Local, None);
    assert_eq!(local.own(), None);

    let now = Timestamp::now();
    let entry = |id: &str, name: &str| Entry {
        id: id.to_owned(),
        name: name.to_owned(),
        scopes: vec![Scope::Ingest],
        sha256: String::new(),
        created: now,
        expires: None,
        revoked: None,
    };
    let ended = Entry {
        expires: Some(now - SignedDuration::from_secs(1)),
        ..entry("00000005", "late")
    };
    let revoked = Entry {
        revoked: Some(now),
        ..entry("00000006", "late")
    };
    let without = |tokens: &[Entry]| sections_without_token(&config.token_limits, tokens, now);
    let tokens = [
        entry("00c0ffee", ""),
        entry("00000004", "fleet"),
        ended,
        revoked,
    ];
    assert_eq!(without(&tokens), ["limits.tokens.late"]);
    assert_eq!(without(&tokens[..1]).len(), 2);
    assert_eq!(without(&[]).len(), 3);
}
