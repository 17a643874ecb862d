//! What goes wrong with the archive, by what the caller should do.

use schemas::{ErrorCode, Fault, HasCode, HasFault};

use crate::error_codes;

/// Why the archive did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    /// The store is away, full or slow (outage: retry with backoff; nothing was committed).
    #[error("{action} `{path}`: {detail}")]
    Outage {
        /// What was being done.
        action: &'static str,
        /// Path below the archive's root.
        path: String,
        /// What the store answered.
        detail: String,
    },
    /// The store does not let us (an outage: rights are granted, and clocks are set, while we wait; nothing was committed).
    #[error(
        "{action} `{path}`: permission denied ({detail}); check the rights on `archive.url` and its credentials"
    )]
    Refused {
        /// What was being done.
        action: &'static str,
        /// Path below the archive's root.
        path: String,
        /// What the store answered.
        detail: String,
    },
    /// Stored bytes are not what was written (corruption: they were left in place; restore them from a copy, or rebuild them from the log).
    #[error("`{path}` is damaged: {detail}; it was left in place, restore it from a copy")]
    Corruption {
        /// Path below the archive's root.
        path: String,
        /// What was expected and what was found.
        detail: String,
    },
    /// The settings are wrong (bad configuration).
    #[error("{0}")]
    BadConfig(String),
    /// A mistake of ours: rows that don't fit their columns, a task that died.
    #[error("archive: {0}")]
    Bug(String),
}

impl HasFault for ArchiveError {
    fn fault(&self) -> Fault {
        match self {
            ArchiveError::Outage { .. } | ArchiveError::Refused { .. } => Fault::Outage,
            ArchiveError::Corruption { .. } => Fault::Corruption,
            ArchiveError::BadConfig(_) => Fault::BadConfig,
            ArchiveError::Bug(_) => Fault::Bug,
        }
    }
}

impl HasCode for ArchiveError {
    fn code(&self) -> &'static ErrorCode {
        match self {
            ArchiveError::Outage { .. } => &error_codes::ARCHIVE_UNAVAILABLE,
            ArchiveError::Corruption { .. } => &error_codes::ARCHIVE_DAMAGED,
            ArchiveError::Refused { .. } | ArchiveError::BadConfig(_) => {
                &error_codes::ARCHIVE_SETTINGS
            }
            ArchiveError::Bug(_) => &error_codes::ARCHIVE_BUG,
        }
    }
}

impl ArchiveError {
    /// The error of a store's answer: a refusal of rights, or something else that may pass.
    pub(crate) fn from_store(action: &'static str, path: &str, error: object_store::Error) -> Self {
        let detail = causes(&error);
        let refused = matches!(
            error,
            object_store::Error::PermissionDenied { .. }
                | object_store::Error::Unauthenticated { .. }
        );
        if refused || is_refusal(&detail) {
            return ArchiveError::Refused {
                action,
                path: path.to_owned(),
                detail,
            };
        }
        ArchiveError::Outage {
            action,
            path: path.to_owned(),
            detail,
        }
    }

    /// The error of a file that the chain names and that is not there.
    pub(crate) fn missing(path: &str) -> Self {
        ArchiveError::Corruption {
            path: path.to_owned(),
            detail: "it is missing, though the chain names it".to_owned(),
        }
    }
}

/// An error with its causes, outermost first.
pub(crate) fn causes(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        next = cause.source();
    }
    plain(&text)
}

/// A text with each XML answer of an S3 server in it as its code and message: `AccessDenied: Access Denied.`
fn plain(text: &str) -> String {
    let between = |from: &str, text: &str, to: &str| {
        let (_, rest) = text.split_once(from)?;
        Some(rest.split_once(to)?.0.to_owned())
    };
    let Some((before, answer)) = text.split_once("<?xml") else {
        return text.to_owned();
    };
    let Some((answer, after)) = answer.split_once("</Error>") else {
        return text.to_owned();
    };
    let code = between("<Code>", answer, "</Code>");
    let message = between("<Message>", answer, "</Message>");
    match (code, message) {
        (Some(code), Some(message)) => format!("{before}{code}: {message}{}", plain(after)),
        _ => text.to_owned(),
    }
}

/// Whether a store refused to do something, where `object_store` tells of it as of any other failure: it does of listings.
fn is_refusal(detail: &str) -> bool {
    ["status code: 401 ", "status code: 403 "]
        .iter()
        .any(|status| detail.contains(status))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_xml_answer_is_told_in_words() {
        let answer = "PUT http://h/b - 404 Not Found: <?xml version=\"1.0\"?>\n<Error><Code>NoSuchBucket</Code><Message>The bucket does not exist</Message><Key>k</Key></Error> (again)";
        assert_eq!(
            plain(answer),
            "PUT http://h/b - 404 Not Found: NoSuchBucket: The bucket does not exist (again)"
        );
        for other in [
            "",
            "no answer",
            "<?xml cut <Code>A</Code>",
            "<?xml?></Error>",
        ] {
            assert_eq!(plain(other), other);
        }
    }

    #[test]
    fn a_refusal_is_known_whatever_was_asked_and_waited_out() {
        let of = |status: &str| {
            let source =
                format!("GET http://h/b - Server returned non-2xx status code: {status}: x");
            let error = object_store::Error::Generic {
                store: "S3",
                source: source.into(),
            };
            let error = ArchiveError::from_store("listing", "chain", error);
            (error.fault(), error.code().id)
        };
        assert_eq!(of("403 Forbidden"), (Fault::Outage, "TW-ARCHIVE-003"));
        assert_eq!(of("401 Unauthorized"), (Fault::Outage, "TW-ARCHIVE-003"));
        assert_eq!(
            of("503 Service Unavailable"),
            (Fault::Outage, "TW-ARCHIVE-001")
        );
    }
}
