//! The codes of errors of this room, and the book of all rooms' codes: `docs/errors.md`, `tidewatch explain`.

use std::fmt::Write;

use schemas::ErrorCode;

schemas::error_codes! {
    CONFIG_UNREADABLE = "TW-CONFIG-001", "A file of the configuration can't be read",
        means: "Nothing was started.",
        expected: "A file of UTF-8 text that this user may read.",
        fix: "Correct the path behind `--config`, or the setting that the message names, or the rights of the file.";
    CONFIG_SYNTAX = "TW-CONFIG-002", "The configuration file is no TOML",
        means: "Nothing of the file was used, and nothing was started.",
        expected: "TOML: `[section]`, then `key = value`; texts in quotes.",
        fix: "Correct the line and column that the message names. packaging/tidewatch.toml, which `tidewatch config --template` prints, is a file to start from.";
    CONFIG_UNKNOWN = "TW-CONFIG-003", "A section, key or variable is not known",
        means: "It would have no effect, so nothing was started: a mistyped limit is no limit.",
        expected: "A name that `tidewatch config` prints.",
        fix: "Write the nearest valid name, which the message tells, or remove the line.";
    CONFIG_TYPE = "TW-CONFIG-004", "A setting has the wrong type or unit",
        means: "Nothing was started.",
        expected: "Durations with a unit (\"250ms\", \"10s\", \"1h30m\"), sizes with a unit (\"16MiB\", \"1GB\"), whole numbers without quotes, true or false.",
        fix: "Write the value as the message says.";
    CONFIG_RANGE = "TW-CONFIG-005", "A setting is outside of its range, or does not fit another one",
        means: "Nothing was started.",
        expected: "A value within the range that the message names.",
        fix: "Change the value, or the other setting that the message names.";
    SECRET_FILE = "TW-CONFIG-006", "The file of a secret can't be used",
        means: "A setting names a file that holds a password, and no password could be read from it. Nothing was started.",
        expected: "A file of one line, which the user of the process may read.",
        fix: "Correct the setting that the message names, the file, or its rights.";
    USAGE = "TW-COMMAND-001", "The command line is wrong",
        means: "Nothing was done.",
        expected: "What `tidewatch COMMAND --help` describes.",
        fix: "Correct the argument that the message names.";
    NO_INSTANCE = "TW-COMMAND-002", "No instance answers",
        means: "The command asks a running instance, and none was found at the address.",
        expected: "`tidewatch run` at the address of setting `server.listen`, of the data directory, or of `--url`.",
        fix: "Start one, or name its address by `--url http://HOST:PORT`.";
    ADDRESS = "TW-COMMAND-003", "The address can't be listened on",
        means: "Nothing was started.",
        expected: "A free address of this machine.",
        fix: "Stop the program that listens there, or choose another address by `--listen HOST:PORT`; port 0 takes a free one.";
    DATA_DIRECTORY = "TW-COMMAND-004", "The data directory can't be used",
        means: "Nothing was started.",
        expected: "A directory that this user can write to, or whose parent allows to make it.",
        fix: "Correct the rights, or name another by `--data-dir` (setting `data.dir`).";
    UNFINISHED_STOP = "TW-COMMAND-005", "The last checkpoint did not end in time",
        means: "The process ended without it. Nothing is lost: the next start reads the log again from the checkpoint before.",
        expected: "A last checkpoint within 9.5 s.",
        fix: "Nothing; if it happens at each stop, the archive's store is slow.";
    STOPPED_PARTITIONS = "TW-COMMAND-006", "Partitions had stopped before the end",
        means: "What the log holds for them is not in the archive yet.",
        expected: "Partitions that run until they are told to stop.",
        fix: "Look up the code of the reason that the message tells.";
    TOKEN = "TW-ACCESS-001", "A token is needed, or the one that came is not valid",
        means: "The request was not carried out, and nothing of it was kept.",
        expected: "`Authorization: Bearer TOKEN`, `Token TOKEN`, or Basic with the token as password; a token that `tidewatch token list` shows as valid.",
        fix: "Make one by `tidewatch token create --scope ingest` (or query, admin) where the instance runs, and give it to the client.";
    TOKEN_SCOPE = "TW-ACCESS-002", "The token may not do this",
        means: "The request was not carried out, and nothing of it was kept.",
        expected: "A token whose scopes hold the one that the message names: ingest sends samples, query asks, admin may do everything.",
        fix: "Make another token by `tidewatch token create --scope SCOPE`; the scopes of a token never change.";
    TOKENS_FILE = "TW-ACCESS-003", "The file of tokens can't be used",
        means: "A command changed nothing; an instance does not start, or keeps the tokens that it knew.",
        expected: "The JSON that `tidewatch token create` writes, readable by the user of the instance.",
        fix: "Correct the rights, restore the file, or remove it and make new tokens.";
    NOTHING_WITH_A_CEILING = "TW-REPORT-001", "Nothing with a ceiling was found",
        means: "A capacity report has nothing to tell, and none was written.",
        expected: "Rollups of metrics that tell what is used and what there is, by the names that OpenTelemetry, node_exporter or Telegraf give them, or that end in `_utilization`, `_used_percent`, or `_used` beside `_limit`.",
        fix: "Look what is there by `tidewatch sql \"SELECT DISTINCT metric FROM rollups_5m\"`; a new instance has its first rollups after some minutes. Name another data directory by `--data-dir`.";
    PREVIOUS_REPORT = "TW-REPORT-002", "The previous report can't be read",
        means: "Nothing was written.",
        expected: "A capacity report that `tidewatch report capacity --format json` wrote.",
        fix: "Name such a file by `--previous`, or leave the flag out.";
    CHECKS_FAILED = "TW-DOCTOR-001", "A check of `tidewatch doctor` failed",
        means: "Something is wrong, or will be soon. Each failed check names its cause and what fixes it.",
        expected: "Every check ok or a warning.",
        fix: "Do what stands behind `fix:`, the topmost first; then run `tidewatch doctor` again.";
    DISK_SPACE = "TW-DOCTOR-002", "The disk of the data directory has no room",
        means: "The log takes nothing more below `bus.free_space_min`, and clients get 503.",
        expected: "More free space than is needed; both numbers stand in the message.",
        fix: "Free some space, move the data directory to a larger disk, or lower `bus.retention_size` and the `aggregates` retentions.";
    FILE_LIMIT = "TW-DOCTOR-003", "Too few file descriptors are allowed",
        means: "Under load, connections are refused and files can't be opened.",
        expected: "At least one for each of `server.connections_max`, and 512 for files.",
        fix: "Raise it: `ulimit -n 65536` in the shell, `LimitNOFILE=65536` in the systemd unit; or lower `server.connections_max`.";
    CLOCK = "TW-DOCTOR-004", "This machine's clock is wrong",
        means: "Records carry times that this clock has not reached, so it is behind, or the log's machine is or was ahead; or it was never set, and then nothing starts. Samples may count as late or as from the future.",
        expected: "Clocks within a few seconds of each other.",
        fix: "Synchronise the clocks of this machine and of the brokers (chrony, systemd-timesyncd); `timedatectl` tells the state. What a clock that was ahead leaves behind passes when it is where it was: docs/operating.md tells of it.";
    NOT_READY = "TW-DOCTOR-005", "The running instance is not ready",
        means: "It answers, but not every partition runs. What it acknowledges is durable all the same.",
        expected: "Every partition in phase `running`.",
        fix: "Look up the code of the reason in its log; `tidewatch status` shows the partitions.";
    STUCK = "TW-DOCTOR-006", "A partition of the running instance is held by something",
        means: "Its task has not come round to look for work, which it does several times a second: a disk or a store hangs, or a step never ends.",
        expected: "A turn every second.",
        fix: "Look at the disk and the archive's store. A restart is safe; with the systemd unit the watchdog does it.";
    BROKER_VERSION = "TW-DOCTOR-007", "The brokers are too old",
        means: "They can't store what Tidewatch sends (zstd).",
        expected: "Kafka 2.1 or later; tested with 4.3.",
        fix: "Upgrade the brokers.";
    NO_LEADER = "TW-DOCTOR-008", "Partitions of a topic have no leader",
        means: "They can't be read or written until a broker leads them. Nothing is lost.",
        expected: "A leader for each partition.",
        fix: "Start the brokers that hold their replicas; `kafka-topics.sh --describe --under-replicated-partitions` names them.";
    TOPIC_SETTING = "TW-DOCTOR-009", "A topic has a setting that breaks a promise",
        means: "The topic was made by someone else, or changed.",
        expected: "message.timestamp.type=LogAppendTime, cleanup.policy=delete, max.message.bytes of at least 4 MiB and 128 KiB.",
        fix: "Change it by `kafka-configs.sh --alter`; the check tells the whole command.";
    SERVER_TLS = "TW-TLS-001", "The certificate of this server can't be used",
        means: "A server that speaks TLS shows a certificate and proves that it has its key. The program does not start; one that runs goes on with what it had.",
        expected: "Two PEM files that belong together, `server.tls.certificate_file` (our own certificate first) and `server.tls.key_file` (not encrypted), of a certificate that is valid now.",
        fix: "Correct what the message names. `openssl x509 -in FILE -noout -subject -dates` shows a certificate; with `server.tls.self_signed = true` one is made.";
    PLAIN_HTTP = "TW-TLS-002", "Plain HTTP was sent to a port that speaks TLS",
        means: "Nothing was read of the request.",
        expected: "`https://` and a client that trusts the certificate of this server.",
        fix: "Change the address of the sender to https://. For a certificate of our own making give it `tls/certificate.pem` of the data directory as authority.";
}

/// All codes of all rooms, in the order of the book.
pub fn all() -> impl Iterator<Item = &'static ErrorCode> {
    [
        ERROR_CODES,
        ingest::error_codes::ERROR_CODES,
        query::error_codes::ERROR_CODES,
        bus::error_codes::ERROR_CODES,
        sinks::error_codes::ERROR_CODES,
        pipeline::error_codes::ERROR_CODES,
        processors::error_codes::ERROR_CODES,
        schemas::error_codes::ERROR_CODES,
        analytics::error_codes::ERROR_CODES,
        scores::error_codes::ERROR_CODES,
        schemas::GENERAL_ERROR_CODES,
    ]
    .into_iter()
    .flatten()
    .copied()
}

/// The code of an id, in any case; `None` if there is none.
pub fn find(id: &str) -> Option<&'static ErrorCode> {
    all().find(|code| code.id.eq_ignore_ascii_case(id.trim()))
}

/// The page of a code, as text for a terminal.
pub fn page(code: &ErrorCode) -> String {
    format!(
        "{}: {}\n\n{}\n\nExpected: {}\nWhat to do: {}\n",
        code.id, code.title, code.means, code.expected, code.fix
    )
}

/// The book, in Markdown: what `docs/errors.md` holds.
pub fn book() -> String {
    let mut text = String::from(
        "# Errors\n\nEvery error has a code that stays. It stands in front of the message on the command line, in the body (`error.code`, or in front of the message) and the header\n\
         `tidewatch-error` of an HTTP answer, and in the field `code` of a log line. `tidewatch explain CODE` prints a page.\n\n\
         This file is generated from the code: `tidewatch explain --all > docs/errors.md`. A test compares it.\n",
    );
    let mut room = "";
    for code in all() {
        let own = code.id.rsplit_once('-').map_or("", |(room, _)| room);
        if own != room {
            room = own;
            let _ = writeln!(text, "\n## {room}");
        }
        let _ = writeln!(
            text,
            "\n### {}: {}\n\n{}\n\n- Expected: {}\n- What to do: {}",
            code.id, code.title, code.means, code.expected, code.fix
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::path::Path;

    use super::*;

    #[test]
    fn ids_are_unique_well_formed_and_in_order() {
        let mut seen = HashSet::new();
        let mut last = ("", 0);
        for code in all() {
            assert!(seen.insert(code.id), "{} stands twice", code.id);
            let (room, number) = code.id.rsplit_once('-').unwrap();
            let name = room.strip_prefix("TW-").unwrap();
            assert!(
                !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_uppercase()),
                "{}",
                code.id
            );
            assert_eq!(number.len(), 3, "{}", code.id);
            let number: u32 = number.parse().unwrap();
            assert_eq!(
                number,
                if room == last.0 { last.1 + 1 } else { 1 },
                "{} comes after {}-{:03}",
                code.id,
                last.0,
                last.1
            );
            last = (room, number);
            for text in [code.title, code.means, code.expected, code.fix] {
                assert!(!text.trim().is_empty(), "{} says too little", code.id);
            }
            assert!(
                !code.title.ends_with('.') && code.fix.ends_with('.'),
                "{}: a title is no sentence, what to do is one",
                code.id
            );
        }
    }

    #[test]
    fn pages_that_refer_to_others_refer_to_ones_that_are_there() {
        for code in all() {
            for word in code.fix.split([' ', '.', ',', ';']) {
                if word.starts_with("TW-") {
                    assert!(find(word).is_some(), "{} refers to {word}", code.id);
                }
            }
        }
    }

    #[test]
    fn the_book_is_what_the_code_says() {
        let place = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors.md");
        let found = std::fs::read_to_string(place).unwrap_or_default();
        assert!(
            found == book(),
            "docs/errors.md differs from the code; write it anew: tidewatch explain --all > docs/errors.md"
        );
    }
}
