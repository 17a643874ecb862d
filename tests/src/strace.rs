//! A trace of system calls as `strace -f -y` writes it, read back as events with a beginning and an end.

use std::path::{Path, PathBuf};

/// One system call. Calls of several threads overlap: `start` and `end` are line numbers of the trace.
#[derive(Debug, Clone)]
pub struct Call {
    /// Its name: `fsync`.
    pub name: String,
    /// The text between the parentheses.
    pub arguments: String,
    /// What it returned; `None` if the trace ends before.
    pub result: Option<i64>,
    /// Line where it began.
    pub start: usize,
    /// Line where it returned.
    pub end: usize,
    thread: String,
}

impl Call {
    /// Whether it returned without an error.
    pub fn succeeded(&self) -> bool {
        self.result.is_some_and(|result| result >= 0)
    }

    /// Whether it is one of these calls.
    pub fn is_one_of(&self, names: &[&str]) -> bool {
        names.contains(&self.name.as_str())
    }

    /// The file descriptor that it works on, with what `-y` says of it: `(7, "/path")`.
    pub fn descriptor(&self) -> Option<(u32, &str)> {
        let (number, rest) = self.arguments.split_once('<')?;
        Some((number.parse().ok()?, rest.split_once('>')?.0))
    }

    /// The quoted texts among its arguments: the paths of a `rename` or `linkat`.
    pub fn quoted(&self) -> Vec<&str> {
        self.arguments.split('"').skip(1).step_by(2).collect()
    }

    /// Source and destination of a successful link or rename.
    pub fn published(&self) -> Option<(&Path, &Path)> {
        let is_publication = self.is_one_of(&["link", "linkat", "rename", "renameat", "renameat2"])
            && self.succeeded();
        match self.quoted()[..] {
            [from, to] if is_publication => Some((Path::new(from), Path::new(to))),
            _ => None,
        }
    }

    /// The file or directory that a successful `fsync` or `fdatasync` made durable.
    pub fn synced(&self) -> Option<&Path> {
        let is_sync = self.is_one_of(&["fsync", "fdatasync"]) && self.succeeded();
        self.descriptor()
            .filter(|_| is_sync)
            .map(|(_, path)| Path::new(path))
    }
}

/// A whole trace, in the order in which the calls began.
#[derive(Debug)]
pub struct Trace(pub Vec<Call>);

impl Trace {
    /// Arguments for `strace` that make what [`Trace::parse`] reads.
    pub fn command(output: &Path) -> Vec<String> {
        let calls = "trace=fsync,fdatasync,link,linkat,rename,renameat,renameat2,write,pwrite64,writev,pwritev,sendto,sendmsg,read,recvfrom,recvmsg,readv";
        ["strace", "-f", "-y", "-s", "64", "-e", calls, "-o"]
            .iter()
            .map(|&s| s.to_owned())
            .chain([output.display().to_string()])
            .collect()
    }

    /// Reads a trace.
    pub fn parse(text: &str) -> Self {
        let mut calls: Vec<Call> = Vec::new();
        for (number, line) in text.lines().enumerate() {
            let Some((thread, rest)) = line.split_once(' ') else {
                continue;
            };
            let rest = rest.trim_start();
            if let Some(resumed) = rest.strip_prefix("<... ") {
                let Some((name, tail)) = resumed.split_once(" resumed>") else {
                    continue;
                };
                if let Some(call) = calls
                    .iter_mut()
                    .rev()
                    .find(|c| c.thread == thread && c.name == name && c.result.is_none())
                {
                    let (arguments, result) = split_result(tail);
                    call.arguments.push_str(arguments);
                    (call.result, call.end) = (result, number);
                }
                continue;
            }
            let Some((name, tail)) = rest.split_once('(') else {
                continue;
            };
            if !name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') {
                continue;
            }
            let (arguments, result) = match tail.strip_suffix(" <unfinished ...>") {
                Some(arguments) => (arguments, None),
                None => split_result(tail),
            };
            calls.push(Call {
                name: name.to_owned(),
                arguments: arguments.to_owned(),
                result,
                start: number,
                end: if result.is_some() { number } else { usize::MAX },
                thread: thread.to_owned(),
            });
        }
        Trace(calls)
    }

    /// The first publication (link or rename) whose destination is `path`.
    pub fn publication_of(&self, path: &Path) -> Option<(&Call, PathBuf)> {
        self.0.iter().find_map(|call| {
            call.published()
                .filter(|(_, to)| *to == path)
                .map(|(from, _)| (call, from.to_owned()))
        })
    }

    /// Whether `path` was made durable by a sync that began after line `after` and returned before line `before`.
    pub fn is_synced_between(&self, path: &Path, after: usize, before: usize) -> bool {
        self.0
            .iter()
            .any(|call| call.start > after && call.end < before && call.synced() == Some(path))
    }
}

/// `args) = 0` as (`args`, 0).
fn split_result(tail: &str) -> (&str, Option<i64>) {
    let Some((arguments, result)) = tail.rsplit_once(" = ") else {
        return (tail, None);
    };
    let arguments = arguments.trim_end().strip_suffix(')').unwrap_or(arguments);
    (
        arguments,
        result
            .split([' ', '<'])
            .next()
            .and_then(|number| number.parse().ok()),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlapping_calls_keep_their_own_ends() {
        let trace = Trace::parse(
            "10 fsync(7</d/archive/a#1> <unfinished ...>\n\
             11 sendto(9<socket:[4]>, \"HTTP/1.1 204 No Content\\r\\n\"..., 90, MSG_NOSIGNAL, NULL, 0) = 90\n\
             10 <... fsync resumed>)              = 0\n\
             10 linkat(AT_FDCWD</d>, \"/d/archive/a#1\", AT_FDCWD</d>, \"/d/archive/a\", 0) = 0\n\
             10 fsync(7</d/archive>) = -1 EIO (Input/output error)\n\
             11 --- SIGTERM {si_signo=SIGTERM} ---\n",
        );
        assert_eq!(trace.0.len(), 4);
        assert_eq!(
            (trace.0[0].start, trace.0[0].end, trace.0[0].result),
            (0, 2, Some(0))
        );
        assert_eq!(trace.0[0].synced(), Some(Path::new("/d/archive/a#1")));
        assert_eq!(trace.0[1].descriptor(), Some((9, "socket:[4]")));
        let (link, from) = trace.publication_of(Path::new("/d/archive/a")).unwrap();
        assert!(trace.is_synced_between(&from, 0, link.start) || trace.0[0].start == 0);
        assert_eq!(trace.0[3].synced(), None, "a sync that failed is none");
    }
}
